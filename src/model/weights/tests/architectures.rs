//! Each architecture: forward as llama.cpp computes it, backward as differences show it.

use std::path::Path;

use super::super::{Base, Storage, WeightFiles};
use crate::llama::{Context, ContextOptions, Model};
use crate::model::gguf::tiny::{Variant, write_with};
use crate::model::gguf::{TensorType, Value};
use crate::model::lora::{Adapter, LoraConfig};
use crate::model::rows::TokenRow;
use crate::model::transformer::{Activations, Batch, GradientStep, Transformer};

fn row(length: u32) -> TokenRow {
    let ids: Vec<u32> = (0..length).map(|at| 3 + at * 37 % 250).collect();
    TokenRow { trained: vec![true; ids.len()], ids }
}

/// Returns the largest divergence of what is computed from what llama.cpp computes, over the tokens of a row.
fn apart(path: &Path) -> f64 {
    let row = row(48);
    let base = Base::open(&WeightFiles::Gguf(path.to_owned())).unwrap();
    let model = Transformer::load(&base, Storage::Dense, |_| ()).unwrap();
    let ours = model.logits(None, &Batch::new([(0, &row)])).unwrap();
    let model = Model::load(path).unwrap();
    let options = ContextOptions { length: 64, threads: 2, interrupt: &|| false };
    let tokens: Vec<i32> = row.ids.iter().map(|id| *id as i32).collect();
    let theirs = Context::new(&model, &options).unwrap().all_logits(&tokens).unwrap();
    ours.iter().zip(&theirs).map(|(ours, theirs)| divergence(theirs, ours)).fold(0.0, f64::max)
}

/// The Kullback-Leibler divergence of the distribution `b` from `a`.
fn divergence(a: &[f32], b: &[f32]) -> f64 {
    let logs = |row: &[f32]| {
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        row.iter().map(|&logit| f64::from(logit) - sum.ln()).collect::<Vec<_>>()
    };
    logs(a).iter().zip(logs(b)).map(|(a, b)| a.exp() * (a - b)).sum()
}

#[test]
fn each_architecture_computes_what_llama_cpp_computes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for (name, variant) in Variant::ALL {
        for matrix in [TensorType::F32, TensorType::F16] {
            variant.write(&path, 3, matrix).unwrap();
            let worst = apart(&path);
            assert!(worst < 1e-4, "{name} in {matrix}: {worst}");
            println!("{name} in {matrix}: {worst:.1e}");
        }
    }
}

#[test]
#[expect(clippy::float_cmp, reason = "a power of two divides exactly")]
fn a_rotary_scaling_is_computed_as_llama_cpp_computes_it_or_refused_by_its_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let variant = Variant::ALL[0].1;
    let write = |keys: &[(&str, Value)]| {
        let mut metadata = variant.metadata();
        metadata.extend(keys.iter().map(|(key, value)| (format!("llama.rope.{key}"), value.clone())));
        write_with(&path, &metadata, &variant.tensors(3), TensorType::F32).unwrap();
    };
    let kind = |name: &str| ("scaling.type", Value::String(name.into()));
    let factor = ("scaling.factor", Value::F32(4.0));
    let divided = |keys: &[(&str, Value)]| {
        write(keys);
        let worst = apart(&path);
        assert!(worst < 1e-4, "{keys:?}: {worst}");
        // The first pair of features turns by one radian a position, unless that is divided.
        1.0 / Base::open(&WeightFiles::Gguf(path.clone())).unwrap().config().rope_frequencies[0]
    };
    assert_eq!(divided(&[]), 1.0);
    assert_eq!(divided(&[kind("linear"), factor.clone()]), 4.0);
    assert_eq!(divided(&[kind("none"), factor.clone()]), 1.0);
    assert_eq!(divided(std::slice::from_ref(&factor)), 4.0);
    assert_eq!(divided(&[("scale_linear", Value::F32(4.0))]), 4.0);
    assert_eq!(divided(&[("scaling.factor", Value::F32(0.0))]), 1.0);
    let refused = |keys: &[(&str, Value)]| {
        write(keys);
        Base::open(&WeightFiles::Gguf(path.clone())).unwrap_err().to_string()
    };
    for found in ["yarn", "longrope"] {
        let said = refused(&[kind(found), factor.clone(), ("scaling.original_context_length", Value::U32(128))]);
        assert!(said.starts_with(&format!("the base model has rotary scaling of the type `{found}`, ")), "{said}");
    }
    assert!(refused(&[("scaling.type", Value::U32(2))]).contains("the type `unknown`"));
    assert!(refused(&[kind("linear")]).contains("no usable `llama.rope.scaling.factor`"));
}

#[test]
fn the_gradient_through_biases_and_head_norms_is_that_of_differences() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let row = row(24);
    for (name, variant) in
        Variant::ALL.into_iter().filter(|(_, variant)| variant.head_norms || !variant.biases.is_empty())
    {
        variant.write(&path, 5, TensorType::F32).unwrap();
        let base = Base::open(&WeightFiles::Gguf(path.clone())).unwrap();
        let model = Transformer::load(&base, Storage::Dense, |_| ()).unwrap();
        let config = LoraConfig { rank: 2, alpha: 4.0, ..LoraConfig::default() };
        let weight = |layer, projection| model.weight(layer, projection);
        let mut adapter = Adapter::new(base.config(), &config, 1, weight).unwrap();
        for (place, parameter) in adapter.parameters_mut().iter_mut().enumerate() {
            *parameter += ((place * 7919 % 1009) as f32 / 504.5 - 1.0) * 0.05;
        }
        let batch = Batch::new([(0, &row)]);
        let weight = 1.0 / batch.trained_tokens() as f32;
        let gradient = |activations| {
            let mut gradient = vec![0.0; adapter.parameters().len()];
            let step = GradientStep::new(weight, activations);
            model.loss_and_gradient(&adapter, &batch, &step, &mut gradient).unwrap();
            gradient
        };
        let gradient_kept = gradient(Activations::Kept);
        assert_eq!(gradient_kept, gradient(Activations::Recomputed), "{name}");
        for module in adapter.modules() {
            for place in [module.a(), module.b()] {
                // Along the gradient itself, where the loss changes most: rounding stays small beside it.
                let slope = &gradient_kept[place.clone()];
                let length = slope.iter().map(|number| f64::from(number * number)).sum::<f64>().sqrt();
                let size = 2e-2;
                let at = |sign: f64| {
                    let mut moved = adapter.clone();
                    for (parameter, slope) in moved.parameters_mut()[place.clone()].iter_mut().zip(slope) {
                        *parameter += (sign * size / length * f64::from(*slope)) as f32;
                    }
                    model.loss(Some(&moved), &batch).unwrap() / batch.trained_tokens() as f64
                };
                let found = (at(1.0) - at(-1.0)) / (2.0 * size);
                assert!((found / length - 1.0).abs() < 0.02, "{name} {module:?}: {found} is not {length}");
            }
        }
    }
}
