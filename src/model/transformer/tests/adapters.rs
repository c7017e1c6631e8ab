//! Each kind of adapter: its gradients by differences, and its training held against PEFT's.

use super::super::super::lora::{Init, LoraConfig};
use super::super::super::optimizer::Schedule;
use super::*;

/// Makes a new adapter of `config` for the tiny model.
pub(super) fn new_adapter(tiny: &Tiny, config: &LoraConfig) -> Adapter {
    let weight = |layer, projection| tiny.model.weight(layer, projection);
    Adapter::new(tiny_base().config(), config, 1, weight).unwrap()
}

/// Every kind, small: plain, rsLoRA with patterns, DoRA, PiSSA, both.
pub(super) fn kinds() -> Vec<LoraConfig> {
    let plain = LoraConfig { rank: 4, alpha: 8.0, ..LoraConfig::default() };
    let pissa = Init::Pissa { iterations: 8 };
    let ranks = [("up_proj".to_owned(), 2), ("q_proj".to_owned(), 8)];
    vec![
        plain.clone(),
        LoraConfig { rslora: true, alpha: 2.0, rank_pattern: ranks.into(), init: Init::Gaussian, ..plain.clone() },
        LoraConfig { dora: true, ..plain.clone() },
        LoraConfig { init: pissa, ..plain.clone() },
        LoraConfig { dora: true, init: pissa, ..plain },
    ]
}

/// Returns the slope of the loss along a direction within some parameters by differences, and the direction.
///
/// DoRA's divisors are constants in the gradient and not in the loss: along `A` and `B` the loss is compared with the
/// magnitudes changed as much as the divisors, so that their quotient stays.
fn slope(tiny: &Tiny, places: &[Range<usize>], step: &GradientStep, batch: &Batch) -> (f64, Vec<f32>) {
    let mut direction = vec![0.0; tiny.adapter.parameters().len()];
    for index in places.iter().flat_map(Clone::clone) {
        direction[index] = if (index * 2_654_435_761) & 64 == 0 { 1.0_f32 } else { -1.0 };
    }
    let size = 2e-3_f32;
    let norms = tiny.model.norms(&tiny.adapter);
    let at = |sign: f32| {
        let mut moved = tiny.adapter.clone();
        for (parameter, direction) in moved.parameters_mut().iter_mut().zip(&direction) {
            *parameter += sign * size * direction;
        }
        let moved_norms = tiny.model.norms(&moved);
        for (module, (norms, moved_norms)) in tiny.adapter.modules().iter().zip(norms.iter().zip(moved_norms)) {
            for ((place, norm), moved_norm) in module.magnitude().into_iter().flatten().zip(norms).zip(moved_norms) {
                moved.parameters_mut()[place] *= moved_norm / norm;
            }
        }
        let mut unused = vec![0.0; direction.len()];
        tiny.model.loss_and_gradient(&moved, batch, step, &mut unused).unwrap() * f64::from(step.weight)
    };
    ((at(1.0) - at(-1.0)) / (2.0 * f64::from(size)), direction)
}

#[test]
fn every_parameter_of_every_kind_has_the_gradient_that_differences_show() {
    let mut tiny = tiny();
    let batch = tiny.batch([0, 3]);
    let weight = 1.0 / batch.trained_tokens() as f32;
    let plain = GradientStep::new(weight, Activations::Kept);
    let dropout = Some(Dropout { rate: 0.3, seed: 1 });
    let noise = Some(Noise { alpha: 5.0, seed: 2 });
    for config in kinds() {
        for step in [plain, GradientStep { dropout, noise, label_smoothing: 0.1, ..plain }] {
            tiny.adapter = new_adapter(&tiny, &config);
            tiny.stir();
            let mut gradient = vec![0.0; tiny.adapter.parameters().len()];
            tiny.model.loss_and_gradient(&tiny.adapter, &batch, &step, &mut gradient).unwrap();
            assert!(gradient.iter().all(|number| number.is_finite() && *number != 0.0), "{config:?}");
            for projection in Projection::ALL {
                let modules = tiny.adapter.modules().iter().filter(|module| module.projection == projection);
                let modules: Vec<_> = modules.copied().collect();
                let places =
                    |of: fn(&Module) -> Option<Range<usize>>| modules.iter().filter_map(of).collect::<Vec<_>>();
                // Within a kind of matrix as a whole, so that rounding stays small.
                for places in
                    [places(|module| Some(module.a())), places(|module| Some(module.b())), places(Module::magnitude)]
                {
                    let (found, direction) = slope(&tiny, &places, &step, &batch);
                    let products = gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d));
                    let expected: f64 = products.sum();
                    let right = (found - expected).abs() < 2e-3 + 0.02 * expected.abs();
                    assert!(right, "{config:?}, {step:?}, {projection:?}: {found} is not {expected}");
                }
            }
        }
    }
}

#[test]
fn a_new_adapter_of_any_kind_changes_nothing() {
    let tiny = tiny();
    let batch = tiny.batch([0, 1, 2, 3]);
    let base = tiny.model.loss(None, &batch).unwrap();
    for config in kinds() {
        let loss = tiny.model.loss(Some(&new_adapter(&tiny, &config)), &batch).unwrap();
        assert!((loss / base - 1.0).abs() < 1e-6, "{config:?}: {loss} is not {base}");
    }
}

#[test]
fn what_was_trained_beside_a_changed_base_is_written_for_the_original_one() {
    let mut tiny = tiny();
    let batch = tiny.batch([0, 1, 2, 3]);
    let folder = tempfile::tempdir().unwrap();
    for config in kinds() {
        for rslora in [false, true] {
            tiny.adapter = new_adapter(&tiny, &LoraConfig { rslora, ..config.clone() });
            tiny.stir();
            for (name, bytes) in tiny.adapter.to_peft(0.0).unwrap() {
                fs_err::write(folder.path().join(name), bytes).unwrap();
            }
            let files = ["adapter_config.json", "adapter_model.safetensors"].map(|name| folder.path().join(name));
            let read = Adapter::from_peft(tiny_base().config(), &files[0], &files[1]).unwrap();
            let [trained, read] = [&tiny.adapter, &read].map(|adapter| tiny.model.loss(Some(adapter), &batch).unwrap());
            assert!((read / trained - 1.0).abs() < 1e-5, "{config:?}: {read} is not {trained}");
        }
    }
}

#[test]
fn threads_and_recomputed_activations_change_no_bit_of_any_kind() {
    let mut tiny = tiny();
    let batch = tiny.batch(0..8);
    for config in kinds() {
        let bits = [(1, Activations::Kept), (2, Activations::Kept), (3, Activations::Recomputed)];
        let bits = bits.map(|(threads, activations)| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                tiny.adapter = new_adapter(&tiny, &config);
                tiny.stir();
                let (loss, gradient) = tiny.gradient(&batch, activations, Some(Dropout { rate: 0.1, seed: 5 }));
                (loss.to_bits(), gradient.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            })
        });
        assert!(bits[0] == bits[1] && bits[0] == bits[2], "{config:?}");
    }
}

/// A variant of `tests/fixtures/tiny-llama`, trained by PEFT.
struct Variant {
    folder: std::path::PathBuf,
    expected: serde_json::Value,
}

impl Variant {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama/variants").join(name);
        let expected = serde_json::from_slice(&fs_err::read(folder.join("expected.json")).unwrap()).unwrap();
        Self { folder, expected }
    }

    /// Reads the adapter at the start (`initial`) or at the end (the folder itself).
    fn adapter(&self, at: &str) -> Adapter {
        let folder = self.folder.join(at);
        let files = ["adapter_config.json", "adapter_model.safetensors"].map(|name| folder.join(name));
        Adapter::from_peft(tiny_base().config(), &files[0], &files[1]).unwrap()
    }

    fn number(&self, key: &str) -> f64 {
        self.expected[key].as_f64().unwrap()
    }

    /// Takes PEFT's steps and compares each one's loss and norm.
    fn train(&self, tiny: &mut Tiny) {
        let schedule: Schedule = serde_json::from_value(self.expected["schedule"].clone()).unwrap();
        let mut optimizer = AdamW::new(tiny.adapter.parameters().len(), self.number("weight-decay"));
        let steps = self.expected["steps"].as_array().unwrap();
        for (step, expected) in steps.iter().enumerate() {
            let batch = tiny.batch([2 * step, 2 * step + 1]);
            let weight = 1.0 / batch.trained_tokens() as f32;
            let how = GradientStep {
                label_smoothing: self.number("label-smoothing") as f32,
                ..GradientStep::new(weight, Activations::Kept)
            };
            let mut gradient = vec![0.0; tiny.adapter.parameters().len()];
            let loss = tiny.model.loss_and_gradient(&tiny.adapter, &batch, &how, &mut gradient).unwrap();
            let norm = clip(&mut gradient, 1.0);
            let (count, warmup) = (steps.len() as u64, self.number("warmup-steps") as u64);
            let rate = schedule.rate(self.number("learning-rate"), step as u64, count, warmup);
            optimizer.step(tiny.adapter.parts(self.number("loraplus-ratio")), &gradient, rate);
            for (found, name) in [(loss * f64::from(weight), "loss"), (norm, "grad-norm")] {
                let expected = expected[name].as_f64().unwrap();
                let difference = (found / expected - 1.0).abs();
                assert!(difference < 1e-4, "{:?}, step {step}: {name} {found}, PEFT has {expected}", self.folder);
            }
        }
    }
}

fn norm(numbers: impl Iterator<Item = f32>) -> f64 {
    numbers.map(|number| f64::from(number) * f64::from(number)).sum::<f64>().sqrt()
}

#[test]
fn ten_steps_of_each_kind_lose_what_pefts_lose_and_end_where_pefts_end() {
    let mut tiny = tiny();
    for name in ["rslora", "dora", "patterns"] {
        let variant = Variant::new(name);
        let start = variant.adapter("initial");
        tiny.adapter = start.clone();
        variant.train(&mut tiny);
        let end = variant.adapter("");
        let moved = norm(end.parameters().iter().zip(start.parameters()).map(|(end, start)| end - start));
        let apart = norm(end.parameters().iter().zip(tiny.adapter.parameters()).map(|(end, ours)| end - ours));
        assert!(apart < 1e-3 * moved, "{name}: {apart} of {moved}");
    }
}

#[test]
fn pissa_from_our_own_start_loses_what_pefts_loses_and_ends_where_pefts_ends() {
    let mut tiny = tiny();
    let variant = Variant::new("pissa");
    let config = LoraConfig { rank: 4, alpha: 8.0, init: Init::Pissa { iterations: 16 }, ..LoraConfig::default() };
    tiny.adapter = new_adapter(&tiny, &config);
    variant.train(&mut tiny);
    // The signs of singular vectors are free, so what is compared is what the adapters add to the original weights.
    let added = |adapter: &Adapter| {
        let mut added = Vec::new();
        for module in adapter.modules() {
            for row in 0..module.outputs {
                let mut numbers = vec![0.0; module.inputs];
                adapter.low_rank(module).add_to_row(row, 1.0, &mut numbers);
                if let Some(removed) = adapter.removed(module) {
                    removed.add_to_row(row, -1.0, &mut numbers);
                }
                added.extend(numbers);
            }
        }
        added
    };
    let (theirs, ours) = (added(&variant.adapter("")), added(&tiny.adapter));
    let (moved, apart) = (norm(theirs.iter().copied()), norm(theirs.iter().zip(&ours).map(|(a, b)| a - b)));
    assert!(apart < 1e-3 * moved, "{apart} of {moved}");
}

#[test]
fn blocks_below_the_first_adapted_one_keep_nothing() {
    let row = TokenRow { ids: (0..512).map(|at| at % 300).collect(), trained: vec![true; 512] };
    let batch = Batch::new([(0, &row)]);
    let most = |layers| {
        // Each has a workspace of its own.
        let tiny = tiny();
        let adapter = new_adapter(&tiny, &LoraConfig { rank: 4, layers, ..LoraConfig::default() });
        let mut gradient = vec![0.0; adapter.parameters().len()];
        let step = GradientStep::new(1.0, Activations::Kept);
        tiny.model.loss_and_gradient(&adapter, &batch, &step, &mut gradient).unwrap();
        tiny.model.workspace.most() as u64
    };
    let [both, last] = [None, Some(vec![1])].map(most);
    let a_block = block_bytes(tiny_base().config(), 0, batch.tokens()) / 4;
    assert!(both > last + a_block / 2, "{both} numbers, {last} without the first of two blocks of {a_block}");
}
