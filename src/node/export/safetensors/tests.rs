//! `export.safetensors` from artifacts to a folder that is a base itself.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::ExportSafetensors;
use crate::model::convert::{FolderSource, Merge, merge};
use crate::model::gguf::FileType;
use crate::model::weights::{Base, WeightFiles};
use crate::node::bench::Bench;
use crate::node::{InputRole, JobInput, Kind as _, NodeError, Outcome};
use crate::store::{Artifact, FileRef};

const BASE: [&str; 5] =
    ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];

/// Stores files of the tiny model in `tests/fixtures` as a folder.
fn fixture(bench: &Bench, folder: &str, names: &[&str]) -> Artifact {
    let folder = Path::new("tests/fixtures/tiny-llama").join(folder);
    let put = |name: &&str| ((*name).to_owned(), bench.store.put_file(&folder.join(name)).unwrap());
    Artifact::Folder { files: names.iter().map(put).collect() }
}

fn inputs(bench: &Bench) -> Vec<JobInput> {
    let adapter = fixture(bench, "adapter", &["adapter_config.json", "adapter_model.safetensors"]);
    vec![
        bench.input(InputRole::From, "expert", "adapter", Some(adapter), json!({})),
        bench.input(InputRole::Model, "model", "weights", Some(fixture(bench, "", &BASE)), json!({})),
    ]
}

fn run(bench: &Bench, settings: &Value, inputs: Vec<JobInput>) -> Result<Outcome, NodeError> {
    bench.run(&ExportSafetensors, &ExportSafetensors.canonical(settings).unwrap(), inputs, &[])
}

fn files(outcome: &Outcome) -> &BTreeMap<String, FileRef> {
    let Artifact::Folder { files } = &outcome.outputs["model"] else { panic!("{outcome:?}") };
    files
}

fn text(bench: &Bench, file: &FileRef) -> String {
    fs_err::read_to_string(bench.store.path(file).unwrap()).unwrap()
}

#[test]
fn the_folder_is_a_base_with_configuration_tokenizer_and_card() {
    let bench = Bench::new();
    let settings = json!({
        "base": "hf:HuggingFaceTB/SmolLM2-135M-Instruct@main", "dtype": "bf16", "title": "Expert: a \"test\"",
        "license": "apache-2.0", "language": ["en"], "tags": ["support"], "description": "Answers questions.",
        "training": {"Conversations": "8"}, "evaluation": {"Held-out loss": "1.25"},
    });
    let outcome = run(&bench, &settings, inputs(&bench)).unwrap();
    let names: Vec<&str> = files(&outcome).keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "README.md",
            "chat_template.jinja",
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    let config: Value = serde_json::from_str(&text(&bench, &files(&outcome)["config.json"])).unwrap();
    assert_eq!((&config["dtype"], &config["model_type"]), (&json!("bfloat16"), &json!("llama")));
    let base = Base::open(&WeightFiles::Folder(bench.store.paths(files(&outcome)).unwrap())).unwrap();
    base.tokenizer().unwrap();
    base.template().unwrap();
    let card = text(&bench, &files(&outcome)["README.md"]);
    let head = "---\nbase_model: \"HuggingFaceTB/SmolLM2-135M-Instruct\"\nbase_model_relation: finetune\n\
                license: \"apache-2.0\"\nlanguage:\n- \"en\"\nlibrary_name: transformers\n\
                pipeline_tag: text-generation\ntags:\n- \"lora\"\n- \"tunesmith\"\n- \"support\"\n---\n\n\
                # Expert: a \"test\"\n\nAnswers questions.\n";
    assert!(card.starts_with(head), "{card}");
    for row in ["| Stored as | BF16 |", "| LoRA rank | 4 |", "| Conversations | 8 |", "| Held-out loss | 1.25 |"] {
        assert!(card.contains(row), "{row}: {card}");
    }
    assert_eq!(outcome.fields["files"], 6);
    assert_eq!(outcome, run(&bench, &settings, inputs(&bench)).unwrap(), "it repeats itself");
}

#[test]
fn without_settings_the_weights_stay_as_the_base_has_them_and_no_place_is_told() {
    let bench = Bench::new();
    let outcome = run(&bench, &json!({"base": "dir:/home/me/model"}), inputs(&bench)).unwrap();
    let original = fs_err::metadata("tests/fixtures/tiny-llama/model.safetensors").unwrap().len();
    let ours = files(&outcome)["model.safetensors"].size;
    assert!(ours.abs_diff(original) < 1_000, "{ours} {original}");
    let card = text(&bench, &files(&outcome)["README.md"]);
    assert!(card.contains("beside its base model") && !card.contains("/home/me"), "{card}");
    let settings = |base: &str| ExportSafetensors.canonical(&json!({"base": base})).unwrap();
    assert_eq!(settings("dir:a"), settings("dir:b"), "where it lies is in no key");
}

#[test]
fn a_base_that_is_a_gguf_becomes_a_folder_too() {
    let bench = Bench::new();
    let path = bench.folder().join("base.gguf");
    let parts = BASE.map(|name| (name.to_owned(), Path::new("tests/fixtures/tiny-llama").join(name)));
    let source = FolderSource::open(&parts.into()).unwrap();
    let how =
        &mut Merge { adapter: None, float: FileType::Q8_0, threads: 1, earlier: None, progress: &mut |_, _| true };
    merge(&source, &path, how).unwrap();
    let mut gguf = inputs(&bench);
    gguf[1].artifact = Artifact::File(bench.store.put_file(&path).unwrap());
    let outcome = run(&bench, &json!({}), gguf).unwrap();
    let names: Vec<&str> = files(&outcome).keys().map(String::as_str).collect();
    let restored =
        ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(names[1..], restored);
    let base = Base::open(&WeightFiles::Folder(bench.store.paths(files(&outcome)).unwrap())).unwrap();
    base.tokenizer().unwrap();
    base.template().unwrap();
    let config: Value = serde_json::from_str(&text(&bench, &files(&outcome)["config.json"])).unwrap();
    assert_eq!((&config["torch_dtype"], &config["rope_scaling"]["factor"]), (&json!("float16"), &json!(8.0)));
    let card = text(&bench, &files(&outcome)["README.md"]);
    assert!(card.contains("| The base's weights | decoded from Q8_0 |"), "{card}");
    let notes = bench.events.notes();
    assert!(notes.iter().any(|note| note.contains("decoded from Q8_0 to F16")), "{notes:?}");
}

#[test]
fn what_cannot_be_merged_is_told() {
    let bench = Bench::new();
    let mut without = inputs(&bench);
    without.remove(0);
    let error = run(&bench, &json!({}), without).unwrap_err();
    assert_eq!(error.message, "a model is made from one adapter or one model, `from` names 0");
    let problems =
        ExportSafetensors.canonical(&json!({"shard-bytes": 5, "title": "a\nb", "license": " "})).unwrap_err();
    let paths: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
    assert_eq!(paths, ["shard-bytes", "title", "license"]);
}
