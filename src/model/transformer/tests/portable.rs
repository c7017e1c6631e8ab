//! The portable path held against the fused one: on the CPU, or on the GPU that the program is built for.

use candle_core::DType;

use super::super::super::Device;
use super::super::super::gguf::TensorType;
use super::super::super::gguf::tiny::Variant;
use super::super::super::lora::LoraConfig;
use super::super::super::weights::WeightFiles;
use super::adapters::{kinds, new_adapter};
use super::*;

/// Where the portable path computes.
const DEVICE: Device = if cfg!(feature = "cuda") { Device::Cuda(0) } else { Device::Cpu };

/// Both paths over one model.
struct Pair {
    fused: Transformer,
    portable: Portable,
}

impl Pair {
    fn new(base: &Base, storage: Storage) -> Self {
        Self::with_numbers(base, storage, DType::F32)
    }

    fn with_numbers(base: &Base, storage: Storage, numbers: DType) -> Self {
        let load = || Transformer::load(base, storage, |_| ()).unwrap();
        Self { fused: load(), portable: Portable::with_numbers(load(), DEVICE, numbers).unwrap() }
    }

    fn tiny() -> Self {
        Self::new(&tiny_base(), Storage::Dense)
    }

    /// Returns an adapter whose every parameter has a gradient.
    fn adapter(&self, base: &Base, config: &LoraConfig) -> Adapter {
        let weight = |layer, projection| self.fused.weight(layer, projection);
        stirred(Adapter::new(base.config(), config, 1, weight).unwrap())
    }

    fn fused(&self, adapter: &Adapter, batch: &Batch, step: &GradientStep) -> (f64, Vec<f32>) {
        let mut gradient = vec![0.0; adapter.parameters().len()];
        (self.fused.loss_and_gradient(adapter, batch, step, &mut gradient).unwrap(), gradient)
    }

    fn portable(&self, adapter: &Adapter, batch: &Batch, step: &GradientStep) -> (f64, Vec<f32>) {
        let mut gradient = vec![0.0; adapter.parameters().len()];
        (self.portable.loss_and_gradient(adapter, batch, step, &mut gradient).unwrap(), gradient)
    }

    /// Checks the loss and each module's gradients, blocks computed again or not.
    #[track_caller]
    fn check(&self, adapter: &Adapter, batch: &Batch, step: &GradientStep, what: &str) {
        let expected = self.fused(adapter, batch, step);
        let found = self.portable(adapter, batch, &GradientStep { activations: Activations::Recomputed, ..*step });
        close(adapter, &found, &expected, (1e-5, 1e-4), what);
        let kept = self.portable(adapter, batch, &GradientStep { activations: Activations::Kept, ..*step });
        assert!(kept == found, "{what}: blocks that are computed again give other gradients");
        let [fused, portable] =
            [self.fused.loss(Some(adapter), batch).unwrap(), self.portable.loss(Some(adapter), batch).unwrap()];
        assert!((portable / fused - 1.0).abs() < 1e-5, "{what}: without a gradient {portable} is not {fused}");
    }
}

pub(super) fn stirred(mut adapter: Adapter) -> Adapter {
    for (place, parameter) in adapter.parameters_mut().iter_mut().enumerate() {
        *parameter += ((place * 7919 % 1009) as f32 / 504.5 - 1.0) * 0.05;
    }
    adapter
}

/// Checks a loss and the gradient of each matrix, and that every parameter has a gradient.
#[track_caller]
fn close(
    adapter: &Adapter,
    (loss, gradient): &(f64, Vec<f32>),
    (expected_loss, expected): &(f64, Vec<f32>),
    (loss_error, gradient_error): (f64, f64),
    what: &str,
) {
    let off = (loss / expected_loss - 1.0).abs();
    assert!(off < loss_error, "{what}: the loss {loss} is not {expected_loss}");
    assert!(gradient.iter().all(|number| number.is_finite() && *number != 0.0), "{what}: a parameter has no gradient");
    let norm = |numbers: &mut dyn Iterator<Item = f32>| {
        numbers.map(|number| f64::from(number) * f64::from(number)).sum::<f64>().sqrt()
    };
    for module in adapter.modules() {
        for place in [module.a(), module.b()].into_iter().chain(module.magnitude()) {
            let (found, expected) = (&gradient[place.clone()], &expected[place.clone()]);
            let apart = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
            let length = norm(&mut expected.iter().copied());
            assert!(
                apart < gradient_error * length,
                "{what}: {} {place:?} is off by {apart} of {length}",
                module.name()
            );
        }
    }
}

/// Returns a row of so many tokens, all but the first of which are trained.
fn row(first: u32, length: u32) -> TokenRow {
    let ids: Vec<u32> = (0..length).map(|at| 3 + (first + at * 37) % 250).collect();
    TokenRow { trained: vec![true; ids.len()], ids }
}

/// Rows with and without a common beginning, one of a single token, one of none.
fn mixed_rows() -> Vec<TokenRow> {
    let shared = |own: u32| {
        let mut ids = row(1, 20).ids;
        ids.extend(row(own, 9).ids);
        TokenRow { trained: (0..ids.len()).map(|token| token > 17).collect(), ids }
    };
    vec![shared(5), row(9, 24), shared(60), row(3, 1), TokenRow::default(), shared(111)]
}

fn mean(batch: &Batch) -> GradientStep {
    GradientStep::new(1.0 / batch.trained_tokens() as f32, Activations::Recomputed)
}

#[test]
fn each_architecture_has_the_loss_and_the_gradients_of_the_fused_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let rows = mixed_rows();
    let batch = Batch::new((0..).zip(&rows));
    let config = LoraConfig { rank: 2, alpha: 4.0, ..LoraConfig::default() };
    for (name, variant) in Variant::ALL {
        for (matrix, storage) in [(TensorType::F32, Storage::Dense), (TensorType::F16, Storage::AsStored)] {
            variant.write(&path, 5, matrix).unwrap();
            let base = Base::open(&WeightFiles::Gguf(path.clone())).unwrap();
            let pair = Pair::new(&base, storage);
            pair.check(&pair.adapter(&base, &config), &batch, &mean(&batch), &format!("{name}, {matrix}"));
        }
    }
}

#[test]
fn each_kind_of_adapter_has_the_gradients_of_the_fused_path_with_dropout_noise_and_smoothing() {
    let mut tiny = tiny();
    let pair = Pair::tiny();
    let batch = tiny.batch([0, 3, 5]);
    let plain = mean(&batch);
    let (dropout, noise) = (Some(Dropout { rate: 0.3, seed: 1 }), Some(Noise { alpha: 5.0, seed: 2 }));
    for config in kinds() {
        for step in [plain, GradientStep { dropout, noise, label_smoothing: 0.1, ..plain }] {
            tiny.adapter = stirred(new_adapter(&tiny, &config));
            pair.check(&tiny.adapter, &batch, &step, &format!("{config:?}, {step:?}"));
        }
    }
}

#[test]
fn a_base_that_stays_quantised_has_the_gradients_of_the_fused_path() {
    let folder = tempfile::tempdir().unwrap();
    let base = Base::open(&tiny_gguf(folder.path())).unwrap();
    let pair = Pair::new(&base, Storage::AsStored);
    let tiny = tiny();
    let batch = tiny.batch([0, 3, 5]);
    for config in kinds() {
        pair.check(&pair.adapter(&base, &config), &batch, &mean(&batch), &format!("{config:?}"));
    }
}

#[test]
fn blocks_and_projections_without_an_adapter_pass_the_gradient_on() {
    use super::super::super::lora::TargetModules;
    let tiny = tiny();
    let (pair, base) = (Pair::tiny(), tiny_base());
    let batch = tiny.batch([1, 2]);
    let only = |name: &str| TargetModules::Names(vec![name.to_owned()]);
    let plain = LoraConfig { rank: 2, ..LoraConfig::default() };
    for layers in [vec![0], vec![1]] {
        pair.check(
            &pair.adapter(&base, &LoraConfig { layers: Some(layers.clone()), ..plain.clone() }),
            &batch,
            &mean(&batch),
            &format!("{layers:?}"),
        );
    }
    for name in ["k_proj", "o_proj", "down_proj"] {
        let adapter = pair.adapter(&base, &LoraConfig { targets: only(name), ..plain.clone() });
        pair.check(&adapter, &batch, &mean(&batch), name);
    }
}

#[test]
fn rows_and_targets_that_take_several_parts_lose_what_they_lose_at_once() {
    let pair = Pair::tiny();
    let rows = [row(7, 700), row(7, 520), row(2, 30)];
    let batch = Batch::new((0..).zip(&rows));
    assert!(batch.trained_tokens() > 1024 && batch.segments().iter().any(|segment| segment.tokens.len() > 512));
    let adapter = pair.adapter(&tiny_base(), &LoraConfig { rank: 2, ..LoraConfig::default() });
    pair.check(&adapter, &batch, &mean(&batch), "long rows");
}

#[test]
fn products_in_sixteen_bits_give_nearly_the_same() {
    let tiny = tiny();
    let base = tiny_base();
    let batch = tiny.batch([0, 3, 5]);
    for storage in [Storage::Dense, Storage::AsStored] {
        let pair = Pair::with_numbers(&base, storage, DType::BF16);
        for config in kinds() {
            let adapter = pair.adapter(&base, &config);
            let dropout = Some(Dropout { rate: 0.1, seed: 1 });
            let step = GradientStep { dropout, ..mean(&batch) };
            let (found, expected) = (pair.portable(&adapter, &batch, &step), pair.fused(&adapter, &batch, &step));
            close(&adapter, &found, &expected, (2e-3, 5e-2), &format!("{storage:?}, {config:?}"));
            assert_ne!(found.0.to_bits(), expected.0.to_bits());
        }
    }
}

#[test]
fn logits_are_those_of_the_fused_path() {
    let tiny = tiny();
    let pair = Pair::tiny();
    let batch = tiny.batch([0, 1]);
    for adapter in [None, Some(&tiny.adapter)] {
        let [fused, portable] =
            [pair.fused.logits(adapter, &batch).unwrap(), pair.portable.logits(adapter, &batch).unwrap()];
        assert_eq!((fused.len(), fused[0].len()), (portable.len(), portable[0].len()));
        let numbers = fused.iter().flatten().zip(portable.iter().flatten());
        let worst = numbers.fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
        assert!(worst < 1e-4, "{worst}");
        let mut text = GrowingText::portable(&pair.portable, adapter, &batch.ids()[..1]);
        batch.ids()[1..].iter().for_each(|id| text.push(*id));
        let whole = TokenRow { ids: batch.ids().to_vec(), trained: vec![false; batch.tokens()] };
        let whole = pair.portable.logits(adapter, &Batch::new([(0, &whole)])).unwrap();
        let numbers = text.logits().unwrap().into_iter().zip(whole.last().unwrap());
        assert!(numbers.fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs())) < 1e-5);
    }
}

#[test]
fn steps_of_a_training_lose_what_those_of_the_fused_path_lose() {
    let tiny = tiny();
    let pair = Pair::tiny();
    let losses = |portable: bool| {
        let mut adapter = tiny.adapter.clone();
        let mut optimizer = AdamW::new(adapter.parameters().len(), 0.01);
        let steps = (0..8).map(|number| {
            let batch = tiny.batch([2 * number, 2 * number + 1]);
            let step = GradientStep { dropout: Some(Dropout { rate: 0.1, seed: number as u64 }), ..mean(&batch) };
            let of = if portable { Pair::portable } else { Pair::fused };
            let (loss, mut gradient) = of(&pair, &adapter, &batch, &step);
            clip(&mut gradient, 1.0);
            optimizer.step(adapter.parts(1.0), &gradient, 0.02);
            loss / batch.trained_tokens() as f64
        });
        steps.collect::<Vec<_>>()
    };
    let (fused, portable) = (losses(false), losses(true));
    assert!(fused[7] < fused[0] - 0.2, "{fused:?}");
    for (fused, portable) in fused.iter().zip(&portable) {
        assert!((portable / fused - 1.0).abs() < 1e-4, "{portable} is not {fused}");
    }
}

#[test]
fn nothing_to_train_costs_nothing_and_unknown_tokens_are_refused() {
    let (tiny, pair) = (tiny(), Pair::tiny());
    for rows in [vec![], vec![TokenRow::default()], vec![TokenRow { ids: vec![7], trained: vec![false] }]] {
        let batch = Batch::new((0..).zip(&rows));
        let (loss, gradient) = pair.portable(&tiny.adapter, &batch, &GradientStep::new(1.0, Activations::Kept));
        assert!(loss == 0.0 && gradient.iter().all(|number| *number == 0.0));
        assert_eq!(pair.portable.logits(None, &batch).unwrap().len(), batch.tokens());
        assert!(pair.portable.loss(None, &batch).unwrap() == 0.0);
    }
    let unknown = TokenRow { ids: vec![1, 1 << 20], trained: vec![true; 2] };
    let error = pair.portable.loss(None, &Batch::new([(0, &unknown)])).unwrap_err();
    assert!(matches!(error, ModelError::Adapter { .. }), "{error}");
}
