//! Folders of each architecture, converted as llama.cpp's own converter does it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::super::{FolderSource, Merge, Source as _, merge};
use super::{divergence, own_logits, row, their_logits};
use crate::model::gguf::{FileType, Header, Value};
use crate::model::weights::{Base, WeightFiles};

const NAMES: [&str; 3] = ["qwen2", "qwen3", "mistral"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/architectures").join(name)
}

fn files(name: &str) -> BTreeMap<String, PathBuf> {
    let entries = fs_err::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path)).collect()
}

fn convert(files: &BTreeMap<String, PathBuf>, output: &Path, float: FileType) {
    let how = &mut Merge { adapter: None, float, threads: 2, earlier: None, progress: &mut |_, _| true };
    merge(&FolderSource::open(files).unwrap(), output, how).unwrap();
}

#[test]
fn each_tensor_of_each_type_has_the_bytes_of_the_reference_converter() {
    let space = tempfile::tempdir().unwrap();
    let output = space.path().join("ours.gguf");
    for name in NAMES {
        let reference = fs_err::read(folder(name).join("reference.json")).unwrap();
        let reference: BTreeMap<String, Vec<[String; 3]>> = serde_json::from_slice(&reference).unwrap();
        for (kind, expected) in reference {
            convert(&files(name), &output, FileType::from_name(&kind).unwrap());
            let (header, bytes) = (Header::read(&output).unwrap(), fs_err::read(&output).unwrap());
            let found: Vec<[String; 3]> = header
                .tensors
                .iter()
                .map(|tensor| {
                    let start = (header.data_offset + tensor.offset) as usize;
                    let digest = format!("{:x}", Sha256::digest(&bytes[start..start + tensor.size as usize]));
                    [tensor.name.clone(), tensor.tensor_type.name().to_owned(), digest]
                })
                .collect();
            assert_eq!(found, expected, "{name} as {kind}");
        }
    }
}

#[test]
fn each_key_has_the_value_of_the_reference_converter() {
    let space = tempfile::tempdir().unwrap();
    let output = space.path().join("ours.gguf");
    for name in NAMES {
        convert(&files(name), &output, FileType::F16);
        let keys = |path: &Path| -> BTreeMap<String, Value> {
            // The reference takes the folder's.
            let metadata = Header::read(path).unwrap().metadata.into_iter();
            metadata.filter(|(key, _)| key != "general.name").collect()
        };
        let (ours, reference) = (keys(&output), keys(&folder(name).join("reference.gguf")));
        assert_eq!(ours.keys().collect::<Vec<_>>(), reference.keys().collect::<Vec<_>>(), "{name}");
        for (key, value) in &reference {
            assert_eq!(&ours[key], value, "{name}: {key}");
        }
    }
}

#[test]
fn llama_cpp_computes_from_each_converted_folder_what_our_own_forward_pass_does_from_the_folder() {
    let space = tempfile::tempdir().unwrap();
    let output = space.path().join("ours.gguf");
    for name in NAMES {
        convert(&files(name), &output, FileType::F32);
        let ours = own_logits(&Base::open(&WeightFiles::Folder(files(name))).unwrap(), None, &row());
        for (ours, theirs) in ours.iter().zip(their_logits(&output, &row())) {
            let divergence = divergence(&theirs, ours);
            assert!(divergence < 1e-4, "{name}: {divergence}");
        }
    }
}

#[test]
fn a_sentence_piece_tokenizer_gives_the_ids_that_llama_cpp_gives() {
    use crate::llama::{Markers, Model};
    let path = folder("mistral").join("reference.gguf");
    let ours = Base::open(&WeightFiles::Gguf(path.clone())).unwrap().tokenizer().unwrap();
    let theirs = Model::load(&path).unwrap();
    for text in [
        "",
        " ",
        "Where is the store?",
        "  two spaces, and   three at the end   ",
        "[INST] Which command prints the reasons?[/INST] Run `tunesmith explain NODE`.</s>",
        "[INST][INST]a[/INST]",
        "<s>Γειά σου, κόσμε! 👋🏽 e\u{301} \u{200d}\t\r\n\n\n我想在apple工作",
        "▁ is what a space becomes; <unk> and <0x0A> are only text, or not",
        "nothing but\u{a0}odd\u{3000}spaces\u{2003}",
        "fn main() {\n    println!(\"{}\", 1_000);\n}\n",
        "aaaaaaaaaaaaaaaa                 eeeeeeeeeeee",
    ] {
        let found: Vec<i32> = ours.encode(text).unwrap().into_iter().map(|id| id as i32).collect();
        assert_eq!(found, theirs.tokenize(text, Markers::Parsed).unwrap(), "{text:?}");
        let ids = ours.encode(text).unwrap();
        if !text.contains('▁') && !text.contains("<0x0A>") {
            assert_eq!(ours.decode(&ids).unwrap(), text);
        }
    }
    assert_eq!(ours.marker_in("say [INST] again"), Some("[INST]"));
    assert_eq!(ours.id("</s>"), Some(2));
}

#[test]
fn a_tokenizer_that_does_not_fit_the_weights_is_refused() {
    let space = tempfile::tempdir().unwrap();
    let mut files = files("qwen2");
    let text = fs_err::read_to_string(&files["tokenizer.json"]).unwrap();
    let edited = space.path().join("tokenizer.json");
    assert_eq!(text.matches(": 299").count(), 1);
    fs_err::write(&edited, text.replace(": 299", ": 999")).unwrap();
    files.insert("tokenizer.json".into(), edited);
    let error = FolderSource::open(&files).map(|source| source.tensors().len()).unwrap_err().to_string();
    assert!(error.contains("a tokenizer with the id 999 for a vocabulary of 320 tokens"), "{error}");
    let error = Base::open(&WeightFiles::Folder(files)).unwrap().tokenizer().unwrap_err().to_string();
    assert_eq!(error, "the tokenizer has the id 999, the weights have 320 tokens");
}
