//! Adapters beside their base, held against the reference converter and against the merged model in llama.cpp.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::{Adapter, ConvertError, FolderSource, Merge, Source as _, merge, write_adapter_gguf};
use super::tiny_llama;
use crate::llama::{Context, ContextOptions, Model};
use crate::model::gguf::{FileType, Header, TensorType, Value};

const ALPHA: &str = "adapter.lora.alpha";

fn adapter_of(folder: &str) -> Adapter {
    let folder = Path::new("tests/fixtures/tiny-llama").join(folder);
    let files = ["adapter_config.json", "adapter_model.safetensors"];
    let files: BTreeMap<String, PathBuf> = files.map(|name| (name.to_owned(), folder.join(name))).into();
    Adapter::read(&files).unwrap()
}

fn options() -> ContextOptions<'static> {
    ContextOptions { length: 64, threads: 1, interrupt: &|| false }
}

/// `reference.gguf` is what llama.cpp's `convert_lora_to_gguf.py` makes of the same files. It names itself by its folder, and
/// takes no notice of rsLoRA: its alpha is that of the settings, 8.
#[test]
fn tensors_and_keys_are_those_of_the_reference_converter() {
    let space = tempfile::tempdir().unwrap();
    let output = space.path().join("adapter.gguf");
    let source = FolderSource::open(&tiny_llama()).unwrap();
    let written = write_adapter_gguf(&source, &adapter_of("variants/rslora"), TensorType::F32, &output).unwrap();
    let tensors = |path: &Path| -> BTreeMap<String, (Vec<u64>, String, Vec<u8>)> {
        let (header, bytes) = (Header::read(path).unwrap(), fs_err::read(path).unwrap());
        let one = |tensor: &crate::model::gguf::TensorInfo| {
            let start = (header.data_offset + tensor.offset) as usize;
            let bytes = bytes[start..start + tensor.size as usize].to_vec();
            (tensor.name.clone(), (tensor.dimensions.clone(), tensor.tensor_type.name().to_owned(), bytes))
        };
        header.tensors.iter().map(one).collect()
    };
    let reference = Path::new("tests/fixtures/tiny-llama/variants/rslora/reference.gguf");
    assert_eq!(tensors(&output), tensors(reference));
    assert_eq!(written.tensors, tensors(reference).len());
    let keys = |path: &Path| {
        let metadata = Header::read(path).unwrap().metadata;
        metadata.into_iter().filter(|(key, _)| !["general.name", ALPHA].contains(&key.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(keys(&output), keys(reference));
    let alpha = |path: &Path| Header::read(path).unwrap().get(ALPHA).cloned();
    assert_eq!((alpha(&output), alpha(reference)), (Some(Value::F32(16.0)), Some(Value::F32(8.0))));
}

#[test]
fn llama_cpp_computes_the_same_beside_the_base_as_from_the_merged_model() {
    let space = tempfile::tempdir().unwrap();
    let [base, merged, beside] = ["base", "merged", "beside"].map(|name| space.path().join(format!("{name}.gguf")));
    let source = FolderSource::open(&tiny_llama()).unwrap();
    let write = |adapter: Option<&Adapter>, output: &Path| {
        let float = FileType::F32;
        merge(&source, output, &mut Merge { adapter, float, threads: 1, earlier: None, progress: &mut |_, _| true })
            .unwrap()
    };
    write(None, &base);
    for folder in ["variants/rslora", "variants/patterns"] {
        let adapter = adapter_of(folder);
        write(Some(&adapter), &merged);
        write_adapter_gguf(&source, &adapter, TensorType::F32, &beside).unwrap();
        let (plain, whole) = (Model::load(&base).unwrap(), Model::load(&merged).unwrap());
        let logits = |model: &Model, adapter: Option<&Path>| {
            let mut context = Context::new(model, &options()).unwrap();
            assert!(adapter.is_none_or(|adapter| context.put_adapter(adapter)), "{folder}");
            context.all_logits(&[1, 40, 41, 42, 50]).unwrap()
        };
        let [with, without, merged] = [logits(&plain, Some(&beside)), logits(&plain, None), logits(&whole, None)];
        let furthest = |other: &[Vec<f32>]| {
            let pairs = merged.iter().flatten().zip(other.iter().flatten());
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max)
        };
        let (with, without) = (furthest(&with), furthest(&without));
        assert!(with < 1e-5 && without > 100.0 * with.max(1e-6), "{folder}: {with}, without it {without}");
    }
}

#[test]
fn what_llama_cpp_has_no_form_for_and_what_does_not_fit_are_refused() {
    let space = tempfile::tempdir().unwrap();
    let output = space.path().join("adapter.gguf");
    let source = FolderSource::open(&tiny_llama()).unwrap();
    let error = write_adapter_gguf(&source, &adapter_of("variants/dora"), TensorType::F16, &output).unwrap_err();
    assert!(matches!(error, ConvertError::NoForm { .. }), "{error}");
    let mut adapter = adapter_of("adapter");
    let (name, module) = adapter.modules.pop_first().unwrap();
    adapter.modules.insert(name.replace("blk.0", "blk.9"), module);
    let error = write_adapter_gguf(&source, &adapter, TensorType::F32, &output).unwrap_err();
    assert!(matches!(error, ConvertError::NoSuchTensor { .. }), "{error}");
    assert!(!output.exists() && !source.tensors().is_empty());
}
