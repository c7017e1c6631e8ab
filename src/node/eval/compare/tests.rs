//! `eval.compare` on a tiny model beside itself and beside another.

use std::path::Path;

use serde_json::{Value, json};

use super::Compare;
use crate::model::gguf::{TensorType, tiny};
use crate::node::bench::Bench;
use crate::node::{InputRole, JobInput, Kind as _};
use crate::store::Artifact;

fn gguf(bench: &Bench, seed: u64) -> Artifact {
    let path = bench.folder().join(format!("{seed}.gguf"));
    tiny::write(&path, &tiny::tensors(seed), TensorType::F16).unwrap();
    Artifact::File(bench.store.put_file(&path).unwrap())
}

fn inputs(bench: &Bench, tuned: u64) -> Vec<JobInput> {
    vec![
        bench.input(InputRole::From, "gguf", "gguf", Some(gguf(bench, tuned)), json!({})),
        bench.input(InputRole::Model, "model", "weights", Some(gguf(bench, 1)), json!({})),
    ]
}

#[test]
fn a_model_beside_itself_is_no_better_and_another_is_different() {
    let bench = Bench::new();
    let questions = bench.folder().join("questions.toml");
    fs_err::write(
        &questions,
        "[[question]]\nask = \"who?\"\nregex = \".\"\n[[question]]\nask = \"b\"\nany = [\"b\"]\n",
    )
    .unwrap();
    let settings = json!({"questions": "questions.toml", "max-answer-tokens": 6, "system": "You are short."});
    let settings = Compare.canonical(&settings).unwrap();
    let run = |tuned: u64| {
        let mut inputs = inputs(&bench, tuned);
        inputs.push(bench.rows("eval", 3));
        bench.run(&Compare, &settings, inputs, &[("questions", questions.clone())]).unwrap()
    };
    let same = run(1);
    assert_eq!(same.fields["loss"], same.fields["base-loss"]);
    assert!((4.0..8.0).contains(&same.fields["loss"].as_f64().unwrap()), "{:?}", same.fields);
    assert_eq!(same.fields["pass"], same.fields["base-pass"]);
    assert_eq!(same.fields["questions"], 2);
    let other = run(2);
    assert_ne!(other.fields["loss"], other.fields["base-loss"]);
    assert_eq!(other.fields["base-loss"], same.fields["base-loss"]);
    assert!(bench.events.warnings()[0].ends_with("prove nothing: who? · b"), "{:?}", bench.events.warnings());
    let Artifact::File(answers) = &other.outputs["answers"] else { panic!("{other:?}") };
    let text = fs_err::read_to_string(bench.store.path(answers).unwrap()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["ask"]), (2, &json!("who?")));
    assert_ne!(lines[0]["base"]["answer"], lines[0]["tuned"]["answer"]);
    assert_eq!(run(2), other, "it repeats itself");
}

#[test]
fn a_base_of_safetensors_is_converted_and_has_the_loss_of_its_gguf() {
    let bench = Bench::new();
    let folder = Path::new("tests/fixtures/tiny-llama");
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];
    let files = names.map(|name| (name.to_owned(), bench.store.put_file(&folder.join(name)).unwrap())).into();
    let gguf = Artifact::File(bench.store.put_file(&folder.join("reference.gguf")).unwrap());
    let inputs = vec![
        bench.input(InputRole::From, "gguf", "gguf", Some(gguf), json!({})),
        bench.input(InputRole::Model, "model", "weights", Some(Artifact::Folder { files }), json!({})),
        bench.rows("eval", 3),
    ];
    let settings = Compare.canonical(&json!({})).unwrap();
    let outcome = bench.run(&Compare, &settings, inputs, &[]).unwrap();
    assert_eq!(outcome.fields["loss"], outcome.fields["base-loss"]);
}

#[test]
fn rows_alone_give_losses_alone_and_nothing_is_refused() {
    let bench = Bench::new();
    let settings = Compare.canonical(&json!({})).unwrap();
    let error = bench.run(&Compare, &settings, inputs(&bench, 2), &[]).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("eval::nothing_to_compare"));
    let mut inputs = inputs(&bench, 2);
    inputs.push(bench.rows("eval", 3));
    let outcome = bench.run(&Compare, &settings, inputs, &[]).unwrap();
    let mut names: Vec<&str> = outcome.fields.keys().map(String::as_str).collect();
    names.retain(|name| !name.ends_with("-low") && !name.ends_with("-high"));
    assert_eq!((names, outcome.fields.len()), (vec!["base-loss", "loss", "loss-change"], 9));
    let change = |end: &str| outcome.fields[&format!("loss-change{end}")].as_f64().unwrap();
    let losses = outcome.fields["loss"].as_f64().unwrap() - outcome.fields["base-loss"].as_f64().unwrap();
    assert!((change("") - losses).abs() < 1e-9 && change("-low") <= losses && losses <= change("-high"));
}
