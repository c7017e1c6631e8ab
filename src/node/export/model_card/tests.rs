//! `export.model-card` of GGUFs and of an adapter.

use std::path::Path;

use serde_json::{Value, json};
use sha2::Digest as _;

use super::ModelCard;
use crate::node::bench::Bench;
use crate::node::{InputRole, JobInput, Kind as _, NodeError};
use crate::store::{Artifact, hexadecimal};

const TINY: &str = "tests/fixtures/tiny-llama";

fn gguf(bench: &Bench) -> JobInput {
    let file = bench.store.put_file(&Path::new(TINY).join("reference.gguf")).unwrap();
    bench.input(InputRole::From, "gguf", "gguf", Some(Artifact::File(file)), json!({}))
}

fn adapter(bench: &Bench) -> JobInput {
    let put =
        |name: &str| (name.to_owned(), bench.store.put_file(&Path::new(TINY).join("adapter").join(name)).unwrap());
    let files = ["adapter_config.json", "adapter_model.safetensors"].map(put).into();
    bench.input(InputRole::From, "expert", "adapter", Some(Artifact::Folder { files }), json!({}))
}

fn card(bench: &Bench, settings: &Value, inputs: Vec<JobInput>) -> Result<String, NodeError> {
    let outcome = bench.run(&ModelCard, &ModelCard.canonical(settings).unwrap(), inputs, &[])?;
    let Artifact::Folder { files } = &outcome.outputs["card"] else { panic!("{outcome:?}") };
    assert_eq!(files.keys().collect::<Vec<_>>(), ["README.md"]);
    Ok(fs_err::read_to_string(bench.store.path(&files["README.md"]).unwrap()).unwrap())
}

#[test]
fn a_card_tells_of_data_settings_evaluations_licence_and_each_file() {
    let bench = Bench::new();
    let settings = json!({
        "base": "hf:HuggingFaceTB/SmolLM2-135M-Instruct@main", "title": "Expert", "license": "apache-2.0",
        "language": ["en"], "tags": ["support"], "description": "Answers questions.",
        "training": {"Conversations": "8"}, "evaluation": {"Held-out loss": "1.25"},
    });
    let text = card(&bench, &settings, vec![gguf(&bench), adapter(&bench)]).unwrap();
    let head = "---\nbase_model: \"HuggingFaceTB/SmolLM2-135M-Instruct\"\nbase_model_relation: finetune\n\
                license: \"apache-2.0\"\nlanguage:\n- \"en\"\npipeline_tag: text-generation\ntags:\n- \"lora\"\n\
                - \"gguf\"\n- \"tunesmith\"\n- \"support\"\n---\n\n# Expert\n\nAnswers questions.\n";
    assert!(text.starts_with(head), "{text}");
    let bytes = fs_err::read(Path::new(TINY).join("reference.gguf")).unwrap();
    let file = format!("| {} | `{}` |", bytes.len(), hexadecimal(&sha2::Sha256::digest(&bytes)));
    let header = crate::model::gguf::Header::read(&Path::new(TINY).join("reference.gguf")).unwrap();
    let parameters = format!("| Parameters | {} |", header.parameters());
    let rows = ["| Architecture | llama |", "| LoRA rank | 4 |", "| Conversations | 8 |", "| Held-out loss | 1.25 |"];
    let quantised = "| Quantisation | Bits a weight | Bytes | SHA-256 |\n| --- | --- | --- | --- |\n| F16 | ";
    let end = "Licence: apache-2.0. That of the base model holds as well.\nMade with tunesmith.\n";
    for part in rows.iter().chain(&[parameters.as_str(), &file, quantised, end, "merged into it"]) {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text, card(&bench, &settings, vec![gguf(&bench), adapter(&bench)]).unwrap(), "it repeats itself");
}

#[test]
fn an_adapter_alone_has_a_card_of_its_own_and_no_place_is_told() {
    let bench = Bench::new();
    let text = card(&bench, &json!({"base": "dir:/home/me/model"}), vec![adapter(&bench)]).unwrap();
    assert!(text.contains("library_name: peft") && text.contains("AutoPeftModelForCausalLM"), "{text}");
    assert!(!text.contains("/home/me") && !text.contains("## Files"), "{text}");
    let error = card(&bench, &json!({}), Vec::new()).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("export::nothing_to_describe"));
}

#[test]
fn settings_that_cannot_work_are_refused_all_at_once() {
    let problems = ModelCard.canonical(&json!({"title": "a\nb", "licence": "x", "base-model": " "})).unwrap_err();
    let paths: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
    assert_eq!(paths, ["licence"]);
    let problems = ModelCard.canonical(&json!({"title": "a\nb", "base-model": " "})).unwrap_err();
    let paths: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
    assert_eq!(paths, ["title", "base-model"]);
}
