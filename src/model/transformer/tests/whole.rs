//! All weights as parameters: their gradients by differences, their places, and the same bits however they are computed.

use std::collections::BTreeSet;

use super::super::super::gguf::TensorType;
use super::super::super::gguf::tiny::Variant;
use super::super::super::weights::WeightFiles;
use super::*;

fn load(variant: &Variant) -> WholeModel {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    variant.write(&path, 5, TensorType::F32).unwrap();
    WholeModel::load(&Base::open(&WeightFiles::Gguf(path)).unwrap(), |_| ()).unwrap()
}

/// Two rows with a common beginning and one without, whose tokens fill no whole panels.
fn rows() -> [TokenRow; 3] {
    let row = |first: u32, length: u32| {
        let ids: Vec<u32> = (0..18).chain((0..length).map(|at| 3 + (first + at * 37) % 250)).collect();
        TokenRow { trained: (0..ids.len()).map(|token| token > 15).collect(), ids }
    };
    let alone = TokenRow { ids: vec![9, 200, 7, 7, 31], trained: vec![true; 5] };
    [row(5, 9), row(60, 6), alone]
}

fn batch() -> Batch {
    Batch::new((0..).zip(&rows()))
}

fn step(batch: &Batch) -> GradientStep {
    GradientStep::new(1.0 / batch.trained_tokens() as f32, Activations::Kept)
}

fn gradient(model: &WholeModel, batch: &Batch, step: &GradientStep) -> (f64, Vec<f32>) {
    let mut gradient = vec![0.0; model.numbers()];
    (model.loss_and_gradient(batch, step, &mut gradient).unwrap(), gradient)
}

/// Returns all numbers of a model, one after the other.
fn numbers(model: &WholeModel) -> Vec<f32> {
    model.tensors().iter().flat_map(|tensor| tensor.numbers.to_vec()).collect()
}

/// Returns the mean loss when all numbers are moved along a direction.
fn moved(model: &mut WholeModel, before: &[f32], direction: &[f32], size: f32, of: (&Batch, &GradientStep)) -> f64 {
    let there: Vec<f32> = before.iter().zip(direction).map(|(number, direction)| number + size * direction).collect();
    model.set(&there);
    let loss = gradient(model, of.0, of.1).0;
    model.set(before);
    loss * f64::from(of.1.weight)
}

/// Returns two directions within the tensors that `chosen` says: the steepest, and one of random signs.
///
/// Zeros that fill a band up are no parameters, and stay.
fn directions(model: &WholeModel, gradient: &[f32], chosen: impl Fn(Parameter) -> bool) -> [Vec<f32>; 2] {
    let tensors = model.tensors();
    let places = tensors.iter().flat_map(|tensor| std::iter::repeat_n(chosen(tensor.parameter), tensor.numbers.len()));
    let own = places.zip(gradient).map(|(is_chosen, number)| if is_chosen { *number } else { 0.0 });
    let own: Vec<f32> = own.collect();
    let length = own.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    let root = (own.iter().filter(|number| **number != 0.0).count() as f32).sqrt();
    let sign = |at: usize| if (at * 2_654_435_761) & 64 == 0 { 1.0 } else { -1.0 };
    let any = own.iter().enumerate().map(|(at, own)| if *own == 0.0 { 0.0 } else { sign(at) / root });
    [own.iter().map(|number| (f64::from(*number) / length) as f32).collect(), any.collect()]
}

/// Checks the gradient of the tensors that `chosen` says.
fn check(
    model: &mut WholeModel,
    (batch, step): (&Batch, &GradientStep),
    what: &str,
    chosen: impl Fn(Parameter) -> bool,
) {
    let (before, (_, gradient)) = (numbers(model), gradient(model, batch, step));
    for direction in directions(model, &gradient, chosen) {
        let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        let size = 0.02;
        let [above, below] = [size, -size].map(|size| moved(model, &before, &direction, size, (batch, step)));
        let found = (above - below) / f64::from(2.0 * size);
        assert!((found - expected).abs() < 2e-4 + 0.02 * expected.abs(), "{what}: {found} is not {expected}");
    }
}

#[test]
fn every_kind_of_tensor_of_every_architecture_has_the_gradient_that_differences_show() {
    let batch = batch();
    for (name, variant) in Variant::ALL {
        let mut model = load(&variant);
        let step = step(&batch);
        let kinds: BTreeSet<Parameter> =
            model.tensors().iter().map(|tensor| of_first_block(tensor.parameter)).collect();
        for kind in kinds {
            let what = format!("{name}, {kind:?}");
            check(&mut model, (&batch, &step), &what, |parameter| of_first_block(parameter) == kind);
        }
    }
}

/// Returns the parameter of the first block for that of any.
fn of_first_block(parameter: Parameter) -> Parameter {
    match parameter {
        Parameter::Block(_, part) => Parameter::Block(0, part),
        other => other,
    }
}

#[test]
fn noise_and_smoothed_labels_have_the_gradient_that_differences_show() {
    let batch = batch();
    let step = GradientStep { noise: Some(Noise { alpha: 5.0, seed: 2 }), label_smoothing: 0.1, ..step(&batch) };
    for variant in [Variant::LLAMA, Variant { tied: false, ..Variant::LLAMA }] {
        let mut model = load(&variant);
        for parameter in [Parameter::Embedding, Parameter::Norm, Parameter::Head] {
            let is_there = model.tensors().iter().any(|tensor| tensor.parameter == parameter);
            if is_there {
                check(&mut model, (&batch, &step), &format!("{parameter:?}"), |other| other == parameter);
            }
        }
    }
}

#[test]
fn every_parameter_has_a_gradient_and_what_fills_bands_up_has_none() {
    let (rows, batch) = (rows(), batch());
    for (name, variant) in Variant::ALL {
        let model = load(&variant);
        let (_, gradient) = gradient(&model, &batch, &step(&batch));
        assert!(gradient.iter().all(|number| number.is_finite()), "{name}");
        let mut rest = &gradient[..];
        for tensor in model.tensors() {
            let (own, more) = rest.split_at(tensor.numbers.len());
            rest = more;
            let shape = tensor.shape();
            let without = own.iter().filter(|number| **number == 0.0).count();
            // The embedding of a token that nothing follows has one only where the table is the output projection as well.
            let absent = if tensor.parameter == Parameter::Embedding && !variant.tied {
                let is_followed =
                    |id: usize| rows.iter().any(|row| row.ids[..row.ids.len() - 1].contains(&(id as u32)));
                (0..shape[0]).filter(|id| !is_followed(*id)).count() * shape[1]
            } else {
                0
            };
            let filling = own.len() - shape.iter().product::<usize>();
            assert_eq!(without, filling + absent, "{name}, {:?}", tensor.parameter);
        }
    }
}

#[test]
fn threads_and_recomputed_activations_change_no_bit_of_any_weights_gradient() {
    let batch = batch();
    for (name, variant) in Variant::ALL {
        let model = load(&variant);
        let bits = |threads: usize, activations| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let step = GradientStep { activations, ..step(&batch) };
            let (loss, gradient) = pool.install(|| gradient(&model, &batch, &step));
            (loss.to_bits(), gradient.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let one = bits(1, Activations::Kept);
        assert!(bits(2, Activations::Kept) == one, "{name}");
        assert!(bits(3, Activations::Recomputed) == one, "{name}");
        assert!(bits(2, Activations::Within(1 << 18)) == one, "{name}");
    }
}

#[test]
fn gradients_of_parts_add_up_to_that_of_the_whole_batch() {
    let model = load(&Variant::LLAMA);
    let rows: Vec<TokenRow> = (0..3)
        .map(|row| TokenRow {
            ids: (0..7 + row).map(|at| 3 + (row * 50 + at * 11) % 200).collect(),
            trained: vec![true; 7 + row as usize],
        })
        .collect();
    let together = Batch::new((0..).zip(&rows));
    let step = step(&together);
    let (loss, whole) = gradient(&model, &together, &step);
    let (mut sum, mut parts) = (0.0, vec![0.0; model.numbers()]);
    for row in &rows {
        sum += model.loss_and_gradient(&Batch::new([(0, row)]), &step, &mut parts).unwrap();
    }
    assert!((sum / loss - 1.0).abs() < 1e-6, "{sum} is not {loss}");
    let size = whole.iter().fold(0.0_f32, |size, number| size.max(number.abs()));
    for (place, (part, whole)) in parts.iter().zip(&whole).enumerate() {
        assert!((part - whole).abs() < 1e-5 * size, "{place}: {part} is not {whole}");
    }
}

#[test]
fn tensors_come_in_their_order_by_the_names_of_transformers_and_only_matrices_decay() {
    for (_, variant) in Variant::ALL {
        let mut model = load(&variant);
        let names: Vec<String> = model.tensors().iter().map(|tensor| tensor.parameter.name()).collect();
        assert_eq!(names[..2], ["model.embed_tokens.weight", "model.layers.0.input_layernorm.weight"]);
        let last = if variant.tied { "model.norm.weight" } else { "lm_head.weight" };
        assert_eq!(names.last().map(String::as_str), Some(last));
        assert!(model.tensors().is_sorted_by_key(|tensor| tensor.parameter));
        let plain = ["layernorm", "norm.weight", "bias"];
        for tensor in model.tensors() {
            let name = tensor.parameter.name();
            assert_eq!(tensor.parameter.decays(), !plain.iter().any(|part| name.contains(part)), "{name}");
        }
        let lengths: Vec<usize> = model.tensors().iter().map(|tensor| tensor.numbers.len()).collect();
        assert_eq!(model.parts().iter().map(|part| part.numbers.len()).collect::<Vec<_>>(), lengths);
        let query_norm = Parameter::Block(1, BlockParameter::QueryNorm);
        assert_eq!(model.tensors().iter().any(|tensor| tensor.parameter == query_norm), variant.head_norms);
    }
}

#[test]
fn steps_lower_the_loss_and_a_batch_of_nothing_loses_nothing() {
    let mut model = load(&Variant::LLAMA);
    let batch = batch();
    let mut optimizer = AdamW::new(model.numbers(), 0.01);
    let losses: Vec<f64> = (0..6)
        .map(|_| {
            let (loss, mut gradient) = gradient(&model, &batch, &step(&batch));
            clip(&mut gradient, 1.0);
            optimizer.step(model.parts(), &gradient, 1e-3);
            loss
        })
        .collect();
    assert!(losses[5] < losses[0] / 2.0, "{losses:?}");
    // What fills bands up never moved.
    let filling: usize =
        model.tensors().iter().map(|tensor| tensor.numbers.iter().filter(|number| **number == 0.0).count()).sum();
    let padded: usize =
        model.tensors().iter().map(|tensor| tensor.numbers.len() - tensor.shape().iter().product::<usize>()).sum();
    assert_eq!(filling, padded);
    let nothing = TokenRow { ids: vec![7], trained: vec![false] };
    let (loss, gradient) = gradient(&model, &Batch::new([(0, &nothing)]), &GradientStep::new(1.0, Activations::Kept));
    assert!(loss == 0.0 && gradient.iter().all(|number| *number == 0.0));
}
