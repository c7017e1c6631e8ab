//! Merged folders held against PEFT's.

use safetensors::SafeTensors;
use serde_json::Value;

use super::*;
use crate::model::weights::Folder;

/// What names the files of a model whose weights are in several.
const INDEX: &str = "model.safetensors.index.json";

fn fixture(folder: &str, names: &[&str]) -> BTreeMap<String, PathBuf> {
    let folder = Path::new("tests/fixtures").join(folder);
    names.iter().map(|name| ((*name).to_owned(), folder.join(name))).collect()
}

fn base() -> BTreeMap<String, PathBuf> {
    fixture("tiny-llama", &["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
}

fn run(
    base: &WeightFiles,
    adapter: &PeftAdapter,
    output: &Path,
    (float, shard_bytes, threads): (Option<Float>, u64, usize),
) -> Result<(BTreeMap<String, PathBuf>, Merged), ConvertError> {
    let how = &mut MergeFolder { adapter: Some(adapter), float, shard_bytes, threads, progress: &mut |_, _| true };
    merge_folder(base, output, how)
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn merged_weights_are_pefts_for_every_kind_of_adapter_and_all_others_are_the_bases() {
    let folder = tempfile::tempdir().unwrap();
    let original = fs_err::read("tests/fixtures/tiny-llama/model.safetensors").unwrap();
    let original = SafeTensors::deserialize(&original).unwrap();
    for variant in ["rslora", "dora", "patterns", "pissa"] {
        let place = format!("tiny-llama/variants/{variant}");
        let files = fixture(&place, &["adapter_config.json", "adapter_model.safetensors"]);
        let adapter = PeftAdapter::read(&files).unwrap();
        let (found, merged) = run(&WeightFiles::Folder(base()), &adapter, folder.path(), (None, u64::MAX, 2)).unwrap();
        assert_eq!(merged.changed, adapter.modules.len());
        let bytes = fs_err::read(&found["model.safetensors"]).unwrap();
        let ours = SafeTensors::deserialize(&bytes).unwrap();
        let theirs = fs_err::read(format!("tests/fixtures/{place}/merged.safetensors")).unwrap();
        for (module, view) in SafeTensors::deserialize(&theirs).unwrap().tensors() {
            let ours = numbers(ours.tensor(&format!("{module}.weight")).unwrap().data());
            let pairs = ours.iter().zip(numbers(view.data()));
            let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-6, "{variant}, {module}: {worst}");
        }
        for (name, view) in original.tensors() {
            if !adapter.modules.contains_key(name.trim_end_matches(".weight")) {
                assert_eq!(ours.tensor(&name).unwrap().data(), view.data(), "{name} was not trained");
            }
        }
    }
}

#[test]
fn files_and_threads_change_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = fixture("tiny-llama/adapter", &["adapter_config.json", "adapter_model.safetensors"]);
    let adapter = PeftAdapter::read(&adapter).unwrap();
    let one = run(&WeightFiles::Folder(base()), &adapter, folder.path(), (Some(Float::BF16), u64::MAX, 1)).unwrap().0;
    let one = fs_err::read(&one["model.safetensors"]).unwrap();
    let one = SafeTensors::deserialize(&one).unwrap();
    let most = 20_000;
    let (files, merged) =
        run(&WeightFiles::Folder(base()), &adapter, folder.path(), (Some(Float::BF16), most, 3)).unwrap();
    let index: Value = serde_json::from_slice(&fs_err::read(&files[INDEX]).unwrap()).unwrap();
    assert_eq!(index["metadata"]["total_size"], merged.parameters * 2);
    let names: Vec<&String> = files.keys().filter(|name| *name != INDEX).collect();
    assert!(names.len() > 2 && names[0].starts_with("model-00001-of-0000"), "{names:?}");
    let mut seen = 0;
    for name in names {
        let bytes = fs_err::read(&files[name]).unwrap();
        assert!(bytes.len() as u64 <= most + 2_000, "{name}");
        for (tensor, view) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
            assert_eq!(index["weight_map"][&tensor], **name);
            assert_eq!(view.data(), one.tensor(&tensor).unwrap().data(), "{tensor}");
            seen += 1;
        }
    }
    assert_eq!((seen, one.len()), (merged.tensors, merged.tensors));
    let others = base().into_iter().filter(|(name, _)| name != "model.safetensors");
    let reopened = Folder::open(&others.chain(files).collect());
    assert_eq!(reopened.unwrap().tensors().len(), merged.tensors, "it can be a base itself");
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = crate::model::convert::sample::config("");
    let modules = [("model.layers.0.self_attn.q_proj", 256, 256)];
    let files = crate::model::convert::sample::write_adapter(folder.path(), &modules, &config);
    let adapter = PeftAdapter::read(&files).unwrap();
    let error =
        run(&WeightFiles::Folder(base()), &adapter, folder.path(), (None, u64::MAX, 1)).unwrap_err().to_string();
    assert!(error.contains("as 256 × 256, in the base model it is 32 × 32"), "{error}");
}
