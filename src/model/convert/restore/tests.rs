//! Folders to GGUFs and back, for each architecture.

use std::path::PathBuf;

use safetensors::SafeTensors;

use super::super::tests::{own_logits, row};
use super::super::{FolderSource, Merge, MergeFolder, Merged, merge, merge_folder, usual_float};
use super::*;
use crate::model::gguf::{FileType, TensorType, tiny};

/// Folders of the fixtures.
const FOLDERS: [&str; 4] = ["tiny-llama", "architectures/qwen2", "architectures/qwen3", "architectures/mistral"];

fn files(folder: &str) -> BTreeMap<String, PathBuf> {
    let entries =
        fs_err::read_dir(Path::new("tests/fixtures").join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path)).collect()
}

/// Writes the weights of a base as one file of safetensors.
fn weights(base: &WeightFiles, output: &Path, float: Option<Float>) -> PathBuf {
    fs_err::create_dir_all(output).unwrap();
    let how = &mut MergeFolder { adapter: None, float, shard_bytes: u64::MAX, threads: 2, progress: &mut |_, _| true };
    merge_folder(base, output, how).unwrap().0.remove("model.safetensors").unwrap()
}

fn gguf(files: &BTreeMap<String, PathBuf>, output: &Path, float: FileType) -> Merged {
    let how = &mut Merge { adapter: None, float, threads: 2, earlier: None, progress: &mut |_, _| true };
    merge(&FolderSource::open(files).unwrap(), output, how).unwrap()
}

/// Writes the whole folder that a GGUF becomes, and returns its files.
fn restored(path: &Path, output: &Path) -> BTreeMap<String, PathBuf> {
    let weights = weights(&WeightFiles::Gguf(path.to_owned()), output, None);
    let mut files = BTreeMap::from([("model.safetensors".to_owned(), weights)]);
    for (name, bytes) in restored_files(path, usual_float(path).unwrap().float).unwrap() {
        fs_err::write(output.join(&name), bytes).unwrap();
        files.insert(name.clone(), output.join(name));
    }
    files
}

#[test]
fn tensors_have_the_same_bytes_and_a_second_gguf_the_same_keys() {
    let space = tempfile::tempdir().unwrap();
    let at = |name: &str| space.path().join(name);
    for folder in FOLDERS {
        for (float, file_type) in
            [(Float::F32, FileType::F32), (Float::F16, FileType::F16), (Float::BF16, FileType::BF16)]
        {
            let mut original = files(folder);
            let first = weights(&WeightFiles::Folder(original.clone()), &at("first"), Some(float));
            original.insert("model.safetensors".into(), first.clone());
            gguf(&original, &at("first.gguf"), file_type);
            let restored = restored(&at("first.gguf"), &at("second"));
            let [first, second] = [&first, &restored["model.safetensors"]].map(|path| fs_err::read(path).unwrap());
            let [first, second] = [&first, &second].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
            assert_eq!(first.len(), second.len());
            for (name, view) in first.tensors() {
                assert_eq!(view, second.tensor(&name).unwrap(), "{folder}: {name}");
            }
            gguf(&restored, &at("second.gguf"), file_type);
            let [first, second] = ["first.gguf", "second.gguf"].map(|name| Header::read(&at(name)).unwrap());
            assert_eq!(first.tensors, second.tensors, "{folder}");
            let keys = |header: &Header| header.metadata.iter().cloned().collect::<BTreeMap<_, _>>();
            let (first, second) = (keys(&first), keys(&second));
            assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>(), "{folder}");
            for (key, value) in first {
                assert_eq!(value, second[&key], "{folder}: {key}");
            }
        }
    }
}

#[test]
fn every_variant_computes_the_same_from_its_folder_and_reads_text_the_same() {
    let space = tempfile::tempdir().unwrap();
    let path = space.path().join("base.gguf");
    for (name, variant) in tiny::Variant::ALL {
        variant.write(&path, 3, TensorType::F32).unwrap();
        if variant.rope_factors {
            let error = restored_files(&path, Float::F32).unwrap_err().to_string();
            assert!(error.contains("rotary factors that no rule of Llama 3 gives"), "{error}");
            continue;
        }
        let files = restored(&path, &space.path().join("folder"));
        let [from, to] = [WeightFiles::Gguf(path.clone()), WeightFiles::Folder(files)].map(|f| Base::open(&f).unwrap());
        assert_eq!(from.config(), to.config(), "{name}");
        assert_eq!(own_logits(&from, None, &row()), own_logits(&to, None, &row()), "{name}");
        for text in ["<|im_start|>user\nthe thing 123<|im_end|>\n", "  ünïcode 🦙 in\tthe\r\n"] {
            let ids = |base: &Base| base.tokenizer().unwrap().encode(text).unwrap();
            assert_eq!(ids(&from), ids(&to), "{name}: {text:?}");
        }
        let chat = [from, to].map(|base| base.template().unwrap());
        assert_eq!(format!("{:?}", chat[0]), format!("{:?}", chat[1]), "{name}");
    }
}

#[test]
fn quantised_weights_are_decoded_to_16_bits() {
    let space = tempfile::tempdir().unwrap();
    let [base, path] = ["base.gguf", "model.gguf"].map(|name| space.path().join(name));
    tiny::write(&base, &tiny::tensors(3), TensorType::F16).unwrap();
    let how =
        &mut Merge { adapter: None, float: FileType::Q8_0, threads: 1, earlier: None, progress: &mut |_, _| true };
    merge(&GgufSource::open(&base).unwrap(), &path, how).unwrap();
    let usual = usual_float(&path).unwrap();
    assert_eq!((usual.float, usual.decoded.map(TensorType::name)), (Float::F16, Some("Q8_0")));
    assert_eq!(usual_float(&base).unwrap().decoded, None);
    let files = restored(&path, &space.path().join("folder"));
    let config: Json = serde_json::from_slice(&fs_err::read(&files["config.json"]).unwrap()).unwrap();
    assert_eq!(config["torch_dtype"], "float16");
    let logits = [WeightFiles::Gguf(path), WeightFiles::Folder(files)]
        .map(|f| own_logits(&Base::open(&f).unwrap(), None, &row()));
    let pairs = logits[0].iter().flatten().zip(logits[1].iter().flatten());
    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst > 0.0 && worst < 2e-2, "{worst}");
}

#[test]
fn ends_and_sampling_are_told_and_a_beginning_is_put_where_the_file_says_so() {
    let space = tempfile::tempdir().unwrap();
    let path = space.path().join("base.gguf");
    let set = |keys: &[(&str, Value)]| {
        let tensors = tiny::tensors(3);
        let mut metadata = tiny::metadata();
        metadata.retain(|(key, _)| keys.iter().all(|(set, _)| set != key));
        metadata.extend(keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        tiny::write_with(&path, &metadata, &tensors, TensorType::F32).unwrap();
    };
    set(&[
        ("tokenizer.ggml.add_bos_token", Value::Bool(true)),
        ("tokenizer.ggml.eot_token_id", Value::U32(0)),
        ("general.sampling.temp", Value::F32(0.6)),
        ("general.sampling.top_k", Value::I32(20)),
        ("llama.attention.sliding_window", Value::U32(64)),
    ]);
    let files = restored(&path, &space.path().join("folder"));
    let json = |name: &str| serde_json::from_slice::<Json>(&fs_err::read(&files[name]).unwrap()).unwrap();
    let generation = serde_json::json!({
        "bos_token_id": 1, "pad_token_id": 2, "eos_token_id": [2, 0], "temperature": 0.6, "top_k": 20, "do_sample": true,
    });
    assert_eq!(json("generation_config.json"), generation);
    let config = json("config.json");
    assert_eq!((&config["model_type"], &config["sliding_window"]), (&"mistral".into(), &64.into()));
    assert_eq!(json("tokenizer_config.json")["bos_token"], "<|im_start|>");
    let base = Base::open(&WeightFiles::Folder(files)).unwrap();
    assert_eq!(base.tokenizer().unwrap().encode_with_additions("the").unwrap()[0], 1);
}

#[test]
fn biases_that_transformers_does_not_have_are_refused() {
    let space = tempfile::tempdir().unwrap();
    let path = space.path().join("base.gguf");
    let variant = tiny::Variant { biases: &["attn_q", "attn_k", "attn_v"], ..tiny::Variant::LLAMA };
    variant.write(&path, 3, TensorType::F32).unwrap();
    let error = restored_files(&path, Float::F32).unwrap_err().to_string();
    assert!(error.contains("biases in a part of its attention, which transformers does not have"), "{error}");
}
