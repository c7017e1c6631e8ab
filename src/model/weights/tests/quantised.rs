//! GGUFs as bases: each type of weights, and damaged ones.

use std::path::Path;

use super::super::{Base, Storage, WeightFiles};
use crate::llama::{dequantize, quantize_rows};
use crate::model::gguf::tiny::{Tensor, Variant, write_with};
use crate::model::gguf::{PlannedTensor, TensorType, Value, Writer};
use crate::model::lora::{Adapter, LoraConfig};
use crate::model::rows::TokenRow;
use crate::model::transformer::{Activations, Batch, GradientStep, Transformer};

/// The types that a base's matrices may have.
const TYPES: [&str; 12] =
    ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"];

fn open(path: &Path) -> Base {
    Base::open(&WeightFiles::Gguf(path.to_owned())).unwrap()
}

fn batch() -> Batch {
    let ids: Vec<u32> = (0..40).map(|at| 3 + at * 37 % 250).collect();
    Batch::new([(0, &TokenRow { trained: vec![true; ids.len()], ids })])
}

fn is_vector(tensor: &Tensor) -> bool {
    tensor.dimensions.len() == 1
}

/// Writes a model with its matrices in a type, and returns the tensors that llama.cpp decodes from what was written.
fn write_in(kind: TensorType, tensors: &[Tensor], path: &Path) -> Vec<Tensor> {
    let type_of = |tensor: &Tensor| if is_vector(tensor) { TensorType::F32 } else { kind };
    let planned = tensors.iter().map(|tensor| PlannedTensor {
        name: tensor.name.clone(),
        dimensions: tensor.dimensions.clone(),
        tensor_type: type_of(tensor),
    });
    let mut writer = Writer::create(path, &Variant::LLAMA.metadata(), planned.collect()).unwrap();
    let written = tensors.iter().map(|tensor| {
        if is_vector(tensor) {
            let bytes: Vec<u8> = tensor.numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            writer.write(&bytes).unwrap();
            return tensor.clone();
        }
        let columns = tensor.dimensions[0] as usize;
        let mut bytes = vec![0; kind.bytes(tensor.numbers.len() as u64).unwrap() as usize];
        quantize_rows(kind.id(), &tensor.numbers, columns, None, &mut bytes).unwrap();
        writer.write(&bytes).unwrap();
        let mut numbers = vec![0.0; tensor.numbers.len()];
        dequantize(kind.id(), &bytes, &mut numbers).unwrap();
        Tensor { numbers, ..tensor.clone() }
    });
    let decoded = written.collect();
    writer.finish().unwrap();
    decoded
}

/// Returns the logits and a gradient of an adapter, as bits.
fn computed(base: &Base, storage: Storage) -> (Vec<Vec<u32>>, Vec<u32>) {
    let model = Transformer::load(base, storage, |_| ()).unwrap();
    let mut adapter =
        Adapter::new(base.config(), &LoraConfig::default(), 1, |layer, of| model.weight(layer, of)).unwrap();
    adapter.parameters_mut().iter_mut().enumerate().for_each(|(place, number)| *number += (place % 7) as f32 * 0.003);
    let mut gradient = vec![0.0; adapter.parameters().len()];
    let step = GradientStep::new(1.0, Activations::Kept);
    model.loss_and_gradient(&adapter, &batch(), &step, &mut gradient).unwrap();
    assert!(gradient.iter().all(|number| number.is_finite()) && gradient.iter().any(|number| *number != 0.0));
    let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
    (model.logits(Some(&adapter), &batch()).unwrap().iter().map(|row| bits(row)).collect(), bits(&gradient))
}

#[test]
fn each_type_of_weights_is_computed_with_as_llama_cpp_decodes_it() {
    let space = tempfile::tempdir().unwrap();
    let (stored, plain) = (space.path().join("stored.gguf"), space.path().join("plain.gguf"));
    let tensors = Variant::LLAMA.tensors(5);
    for name in TYPES {
        let decoded = write_in(TensorType::from_name(name).unwrap(), &tensors, &stored);
        write_with(&plain, &Variant::LLAMA.metadata(), &decoded, TensorType::F32).unwrap();
        let expected = computed(&open(&plain), Storage::Dense);
        for storage in [Storage::Dense, Storage::AsStored] {
            assert!(computed(&open(&stored), storage) == expected, "{name}, {storage:?}");
        }
    }
}

/// Opens and loads a model whose metadata and tensors were edited, and returns what is said about it.
fn said(edit: impl FnOnce(&mut Vec<(String, Value)>, &mut Vec<Tensor>)) -> Result<(), String> {
    let space = tempfile::tempdir().unwrap();
    let path = space.path().join("base.gguf");
    let (mut metadata, mut tensors) = (Variant::LLAMA.metadata(), Variant::LLAMA.tensors(5));
    edit(&mut metadata, &mut tensors);
    write_with(&path, &metadata, &tensors, TensorType::F16).unwrap();
    load(&path)
}

fn load(path: &Path) -> Result<(), String> {
    let base = Base::open(&WeightFiles::Gguf(path.to_owned()));
    let loaded = base.and_then(|base| Transformer::load(&base, Storage::AsStored, |_| ()));
    loaded.map(|_| ()).map_err(|error| error.to_string().replace(&path.display().to_string(), "BASE"))
}

#[test]
fn a_gguf_without_what_its_model_needs_is_refused_by_name() {
    said(|_, _| ()).unwrap();
    let without = |name: &'static str| said(move |_, tensors| tensors.retain(|tensor| tensor.name != name));
    assert_eq!(without("blk.1.ffn_up.weight").unwrap_err(), "the base model has no tensor `blk.1.ffn_up.weight`");
    let surplus = |_: &mut Vec<_>, tensors: &mut Vec<Tensor>| {
        tensors.push(Tensor { name: "blk.0.attn_sinks.weight".into(), dimensions: vec![4], numbers: vec![0.0; 4] });
    };
    let error = said(surplus).unwrap_err();
    assert!(error.contains("does not have: `blk.0.attn_sinks.weight`"), "{error}");
    let error = said(|_, tensors| {
        let keys = tensors.iter_mut().find(|tensor| tensor.name == "blk.0.attn_k.weight").unwrap();
        keys.dimensions.reverse();
    });
    let error = error.unwrap_err();
    assert!(error.contains("`blk.0.attn_k.weight` has the shape [256, 128]"), "{error}");
    let without = |name: &'static str| said(move |metadata, _| metadata.retain(|(key, _)| key != name));
    for key in ["llama.block_count", "llama.attention.head_count", "general.architecture"] {
        let error = without(key).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
    let error = said(|_, tensors| tensors[1].numbers[3] = f32::NAN).unwrap_err();
    assert_eq!(error, "tensor `blk.0.attn_q.weight` of `BASE` has a number that is infinite or none");
}

#[test]
fn a_gguf_that_was_cut_off_anywhere_is_an_error() {
    let space = tempfile::tempdir().unwrap();
    let path = space.path().join("base.gguf");
    write_in(TensorType::from_name("Q4_K").unwrap(), &Variant::LLAMA.tensors(5), &path);
    let whole = fs_err::read(&path).unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 60) {
        fs_err::write(&path, &whole[..length]).unwrap();
        load(&path).unwrap_err();
    }
}

#[test]
fn a_type_that_is_not_read_is_named() {
    let space = tempfile::tempdir().unwrap();
    let path = space.path().join("base.gguf");
    write_in(TensorType::from_name("IQ4_NL").unwrap(), &Variant::LLAMA.tensors(5), &path);
    let error = load(&path).unwrap_err();
    assert!(error.contains("IQ4_NL") && error.contains("token_embd.weight"), "{error}");
}
