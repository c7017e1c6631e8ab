//! `eval.stops` on a tiny model that is made to end, and on one that is not.

use serde_json::{Value, json};

use super::Stops;
use crate::model::gguf::{TensorType, tiny};
use crate::node::bench::Bench;
use crate::node::{InputRole, JobInput, Kind as _};
use crate::store::Artifact;

/// Stores a model that always says token 2, `<|im_end|>`, or always token 5.
fn gguf(bench: &Bench, ends: bool) -> JobInput {
    let mut tensors = tiny::tensors(1);
    // Blocks add nothing, and the last norm lets only the first feature through: the embedding is the output matrix, too,
    // so a token's logit is a positive number times its own first feature.
    for tensor in &mut tensors {
        match tensor.name.as_str() {
            "output_norm.weight" => {
                tensor.numbers.fill(0.0);
                tensor.numbers[0] = 1.0;
            }
            name if name.contains("attn_output") || name.contains("ffn_down") => tensor.numbers.fill(0.0),
            _ => {}
        }
    }
    let said = if ends { 2 } else { 5 };
    for (token, row) in tensors[0].numbers.chunks_exact_mut(tiny::EMBEDDING as usize).enumerate() {
        row[0] = if token == said { 2.0 } else { 1.0 };
    }
    let path = bench.folder().join(format!("{ends}.gguf"));
    tiny::write(&path, &tensors, TensorType::F16).unwrap();
    let artifact = Artifact::File(bench.store.put_file(&path).unwrap());
    bench.input(InputRole::From, "gguf", "gguf", Some(artifact), json!({}))
}

#[test]
fn answers_that_end_are_counted_and_others_are_warned_of() {
    let bench = Bench::new();
    let questions = bench.folder().join("questions.toml");
    fs_err::write(&questions, "[[question]]\nask = \"who?\"\nregex = \".\"\n").unwrap();
    let settings = json!({"questions": "questions.toml", "max-answer-tokens": 5, "rows": 3, "system": "Be short."});
    let settings = Stops.canonical(&settings).unwrap();
    let run = |ends: bool| {
        let inputs = vec![gguf(&bench, ends), bench.rows("eval", 5)];
        bench.run(&Stops, &settings, inputs, &[("questions", questions.clone())]).unwrap()
    };
    let ended = run(true);
    assert_eq!((&ended.fields["ends"], &ended.fields["answers"]), (&json!(1.0), &json!(4)));
    assert!(ended.fields["ends-low"].as_f64().unwrap() < 0.6 && ended.fields["ends-high"] == 1.0, "{:?}", ended.fields);
    assert!(bench.events.warnings().is_empty());
    let endless = run(false);
    assert_eq!(endless.fields["ends"], 0.0);
    assert_eq!(bench.events.warnings(), ["4 of 4 answers do not end within 5 tokens, the first to: who?"]);
    let Artifact::File(answers) = &endless.outputs["answers"] else { panic!("{endless:?}") };
    let text = fs_err::read_to_string(bench.store.path(answers).unwrap()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["tokens"], &lines[0]["ended"]), (4, &json!(5), &json!(false)));
    assert!(lines[1]["ask"].as_str().unwrap().starts_with("what is "), "{}", lines[1]);
    assert_eq!(run(false), endless, "it repeats itself");
}

#[test]
fn one_model_and_something_to_ask_are_needed() {
    let bench = Bench::new();
    let settings = Stops.canonical(&json!({})).unwrap();
    let code = |inputs: Vec<JobInput>| bench.run(&Stops, &settings, inputs, &[]).unwrap_err().code.unwrap();
    assert_eq!(code(vec![gguf(&bench, false)]), "eval::nothing_to_ask");
    assert_eq!(code(vec![bench.rows("eval", 5)]), "eval::one_gguf");
    let problems = Stops.canonical(&json!({"max-answer-tokens": 0, "temperature": 11})).unwrap_err();
    assert_eq!(problems.len(), 2);
}
