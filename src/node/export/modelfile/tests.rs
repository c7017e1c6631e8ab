//! `export.modelfile` for a tiny ChatML model.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Modelfile;
use super::go::Turns;
use crate::model::gguf::{TensorType, tiny};
use crate::model::template::{ChatTemplate, Ending, Message};
use crate::node::bench::Bench;
use crate::node::{InputRole, Kind as _};
use crate::record::neutralised;
use crate::store::Artifact;

/// Published templates by name, with their beginning and their end of a text.
const TEMPLATES: [(&str, &str, &str); 5] = [
    ("gemma-2", "<bos>", "<eos>"),
    ("llama-3.1", "<|begin_of_text|>", "<|eot_id|>"),
    ("mistral", "<s>", "</s>"),
    ("qwen-2.5", "", "<|im_end|>"),
    ("smollm2", "", "<|im_end|>"),
];

#[derive(Deserialize)]
struct Conversation {
    name: String,
    /// What the first message was before it was made harmless.
    raw: Option<String>,
    messages: Vec<BTreeMap<String, String>>,
}

impl Conversation {
    fn messages(&self) -> Vec<Message> {
        let role = |name: &str| ["system", "user", "assistant"].into_iter().find(|role| *role == name).unwrap();
        let message = |message: &BTreeMap<_, String>| Message {
            role: role(&message["role"]),
            content: message["content"].clone(),
        };
        self.messages.iter().map(message).collect()
    }
}

fn fixture(name: &str) -> String {
    fs_err::read_to_string(Path::new("tests/fixtures/templates").join(name)).unwrap()
}

/// Go's engine has rendered what is in `rendered.json`: `tests/fixtures/templates/make.go`.
#[test]
fn gos_own_engine_renders_what_training_renders() {
    let conversations: Vec<Conversation> = serde_json::from_str(&fixture("conversations.json")).unwrap();
    let rendered: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(&fixture("rendered.json")).unwrap();
    let templates: Vec<(&str, &str, ChatTemplate)> = TEMPLATES
        .iter()
        .map(|(name, bos, eos)| {
            let source = fixture(&format!("{name}.jinja"));
            (*name, *bos, ChatTemplate::new(&source, Some((*bos).into()), Some((*eos).into())).unwrap())
        })
        .collect();
    let go = templates.iter().map(|(name, bos, template)| {
        let turns = Turns::of(template).unwrap_or_else(|| panic!("{name} is not translated"));
        ((*name).to_owned(), turns.without_beginning(bos).go().unwrap())
    });
    let go: BTreeMap<String, String> = go.collect();
    let known: BTreeMap<String, String> = serde_json::from_str(&fixture("go.json")).unwrap();
    assert!(go == known, "put this into go.json and run make.go:\n{}", serde_json::to_string_pretty(&go).unwrap());
    for (name, bos, template) in &templates {
        let mut compared = 0;
        for conversation in &conversations {
            if let Some(raw) = &conversation.raw {
                assert_eq!(neutralised(raw, &[]).0, conversation.messages[0]["content"], "as rows have it");
            }
            // Templates without a place for a system prompt refuse one.
            let Ok(text) = template.render(&conversation.messages(), Ending::GenerationPrompt) else { continue };
            let text = text.strip_prefix(bos).unwrap();
            assert_eq!(text, rendered[*name][&conversation.name], "{name}, {}", conversation.name);
            compared += 1;
        }
        let refused = if ["gemma-2", "mistral"].contains(name) { 3 } else { 0 };
        assert_eq!(compared + refused, conversations.len(), "{name}");
    }
}

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
