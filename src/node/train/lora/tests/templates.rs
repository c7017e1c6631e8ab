//! Trainings in the formats of published models.

use std::path::Path;

use super::*;
use crate::record::{Conversation, Role, Turn};

/// Opens the answers behind the last question with an empty thought, and no earlier ones, as Qwen 3's does.
const THINKING: &str = "{%- set ns = namespace(last=-1) %}{%- for message in messages %}\
    {%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}\
    {%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}\
    {%- if message.role == 'assistant' and loop.index0 > ns.last %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}\
    {{- message.content + '<|im_end|>\n' }}{%- endfor %}\
    {%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}";

/// Returns how many tokens are trained of a conversation of so many answers.
fn trained_tokens(template: &str, answers: usize) -> u64 {
    let bench = Bench::new();
    let mut model = model(&bench);
    let Artifact::Folder { files } = &mut model.artifact else { panic!("the fixture is a folder") };
    files.insert("chat_template.jinja".into(), bench.store.put_file_bytes(template.as_bytes()).unwrap());
    let turn = |role, text: &str| Turn { role, text: text.to_owned() };
    let mut turns = vec![
        turn(Role::User, "What is one?"),
        turn(Role::Assistant, "the one after the one before"),
        turn(Role::User, "And two?"),
        turn(Role::Assistant, "two"),
    ];
    turns.truncate(2 * answers);
    let row = Record::Row(Conversation { id: "row".into(), turns, ..Conversation::default() });
    let settings = settings(&json!({"epochs": 1, "max-tokens": 512}));
    let (outputs, _) = both::trained(&bench, &LORA, &settings, vec![rows(&bench, vec![row]), model]);
    let warnings = bench.events.warnings();
    assert!(!warnings.iter().any(|warning| warning.contains("left out")), "{warnings:?}");
    metrics(&bench, &outputs)[0]["trained-tokens"].as_u64().unwrap()
}

#[test]
fn every_answer_of_a_conversation_is_trained_in_the_formats_of_published_models() {
    for name in ["llama-3.1", "mistral", "qwen-2.5", "smollm2"] {
        let [one, both] = [1, 2].map(|answers| trained_tokens(&published(name), answers));
        // "two" and the end of its turn at the least.
        assert!(one > 15 && both >= one + 4, "{name}: {one}, then {both}");
    }
}

#[test]
fn the_last_answer_is_trained_where_a_template_renders_earlier_ones_otherwise() {
    let [one, last] = [1, 2].map(|answers| trained_tokens(THINKING, answers));
    // An empty thought has some twenty tokens here.
    assert!(last > 4 && last + 15 < one, "{last} beside {one}");
}

fn published(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/templates");
    fs_err::read_to_string(folder.join(format!("{name}.jinja"))).unwrap()
}
