//! `export.modelfile` for a tiny ChatML model.

use serde_json::{Value, json};

use super::Modelfile;
use crate::model::gguf::{TensorType, tiny};
use crate::node::bench::Bench;
use crate::node::{InputRole, Kind as _};
use crate::store::Artifact;

#[test]
fn a_modelfile_has_all_that_ollama_needs() {
    let bench = Bench::new();
    let path = bench.folder().join("tiny.gguf");
    tiny::write(&path, &tiny::tensors(1), TensorType::F16).unwrap();
    let gguf = Artifact::File(bench.store.put_file(&path).unwrap());
    let settings = json!({
        "gguf": "expert.gguf",
        "system": "You are an expert.\nBe short.",
        "parameters": {"temperature": 0.3, "num_ctx": 4096, "stop": ["User:"]},
    });
    let settings = Modelfile.canonical(&settings).unwrap();
    let inputs = vec![bench.input(InputRole::From, "gguf", "gguf", Some(gguf), json!({}))];
    let outcome = bench.run(&Modelfile, &settings, inputs, &[]).unwrap();
    let Artifact::File(file) = &outcome.outputs["modelfile"] else { panic!("{outcome:?}") };
    let text = fs_err::read_to_string(bench.store.path(file).unwrap()).unwrap();
    insta::assert_snapshot!(text, @r#"
    FROM ./expert.gguf
    TEMPLATE """{{ if .System }}<|im_start|>system
    {{ .System }}<|im_end|>
    <|im_start|>user
    {{ else }}<|im_start|>user
    {{ end }}{{ range .Messages }}{{ if eq .Role "user" }}{{ .Content }}<|im_end|>
    <|im_start|>assistant
    {{ else if eq .Role "assistant" }}{{ .Content }}<|im_end|>
    <|im_start|>user
    {{ end }}{{ end }}"""
    SYSTEM """You are an expert.
    Be short."""
    PARAMETER stop """<|im_end|>"""
    PARAMETER stop """User:"""
    PARAMETER num_ctx 4096
    PARAMETER temperature 0.3
    "#);
    assert_eq!(bench.events.warnings(), Vec::<String>::new());
}

#[test]
fn unknown_parameters_and_wrong_types_are_refused() {
    let problem = |parameters: Value| {
        let problem = Modelfile.canonical(&json!({"parameters": parameters})).unwrap_err().remove(0);
        format!("{}: {}: {}", problem.path.join("."), problem.message, problem.help.unwrap())
    };
    assert_eq!(
        problem(json!({"temprature": 1})),
        "parameters.temprature: Ollama has no parameter `temprature`: did you mean `temperature`?"
    );
    assert_eq!(problem(json!({"top_k": "a"})), "parameters.top_k: parameter `top_k` is a number: write a number");
    assert!(problem(json!({"stop": [1]})).contains("an array of texts"));
}
