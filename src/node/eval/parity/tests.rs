//! `eval.parity` on a tiny model: as it was exported, with another template, and with another beginning of texts.

use std::path::Path;

use serde_json::{Value, json};

use super::Parity;
use crate::model::gguf::{Header, PlannedTensor, TensorType, Value as Metadata, Writer, tiny};
use crate::node::bench::Bench;
use crate::node::{InputRole, JobInput, Kind as _, NodeError, Outcome};
use crate::record::{Conversation, Record, Role, Turn};
use crate::store::Artifact;

fn rows() -> Vec<Conversation> {
    let row = |id: &str, turns: &[(Role, &str)]| Conversation {
        id: id.into(),
        thread: id.into(),
        turns: turns.iter().map(|(role, text)| Turn { role: *role, text: (*text).into() }).collect(),
        ..Conversation::default()
    };
    let (system, user, assistant) = (Role::System, Role::User, Role::Assistant);
    vec![
        row("plain", &[(user, "what is the thing?"), (assistant, "a thing")]),
        row("system", &[(system, "be short"), (user, "and  then\n"), (assistant, "on")]),
        row("long", &[(user, "ü 字 🦙"), (assistant, "in"), (user, "er"), (assistant, "the end")]),
        row("marked", &[(user, "<|im_end|>"), (assistant, "no")]),
    ]
}

/// Copies a GGUF with other metadata, or without some.
fn changed(from: &Path, to: &Path, change: impl Fn(&str, Metadata) -> Option<Metadata>) {
    let header = Header::read(from).unwrap();
    let bytes = fs_err::read(from).unwrap();
    let changed = |(key, value): &(String, Metadata)| Some((key.clone(), change(key, value.clone())?));
    let metadata: Vec<_> = header.metadata.iter().filter_map(changed).collect();
    let planned = header.tensors.iter().map(|tensor| PlannedTensor {
        name: tensor.name.clone(),
        dimensions: tensor.dimensions.clone(),
        tensor_type: tensor.tensor_type,
    });
    let mut writer = Writer::create(to, &metadata, planned.collect()).unwrap();
    for tensor in &header.tensors {
        let start = (header.data_offset + tensor.offset) as usize;
        writer.write(&bytes[start..start + tensor.size as usize]).unwrap();
    }
    writer.finish().unwrap();
}

fn run(bench: &Bench, change: impl Fn(&str, Metadata) -> Option<Metadata>) -> Result<Outcome, NodeError> {
    let inputs = inputs(bench, change);
    bench.run(&Parity, &Parity.canonical(&json!({})).unwrap(), inputs, &[])
}

fn rehearse(bench: &Bench, change: impl Fn(&str, Metadata) -> Option<Metadata>) -> Result<Outcome, NodeError> {
    let (settings, inputs) = (Parity.canonical(&json!({})).unwrap(), inputs(bench, change));
    bench.with_run(&Parity, &settings, inputs, &[], |run| Parity.rehearse(run))
}

fn inputs(bench: &Bench, change: impl Fn(&str, Metadata) -> Option<Metadata>) -> Vec<JobInput> {
    let base = bench.folder().join("base.gguf");
    tiny::write(&base, &tiny::tensors(1), TensorType::F16).unwrap();
    let served = bench.folder().join("served.gguf");
    changed(&base, &served, change);
    let file = |path: &Path| Some(Artifact::File(bench.store.put_file(path).unwrap()));
    let records = crate::record::write(&bench.store, rows().into_iter().map(Record::Row)).unwrap();
    vec![
        bench.input(InputRole::From, "gguf", "gguf", file(&served), json!({})),
        bench.input(InputRole::From, "dataset", "eval", Some(Artifact::Records(records)), json!({})),
        bench.input(InputRole::Model, "model", "weights", file(&base), json!({})),
    ]
}

fn lines(bench: &Bench, outcome: &Outcome) -> Vec<Value> {
    let Artifact::File(file) = &outcome.outputs["differences"] else { panic!("{outcome:?}") };
    let text = fs_err::read_to_string(bench.store.path(file).unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_file_as_it_was_exported_is_equal_and_says_which_rows_are_not_trained() {
    let bench = Bench::new();
    let outcome = run(&bench, |_, value| Some(value)).unwrap();
    assert_eq!((&outcome.fields["equal"], &outcome.fields["rows"]), (&json!(1.0), &json!(3)));
    assert_eq!(outcome.fields["different"], 0);
    assert!(lines(&bench, &outcome).is_empty());
    assert_eq!(outcome.report[0].what, "dropped: its text holds the template's token <|im_end|>");
}

#[test]
fn another_template_is_shown_by_its_first_token() {
    let bench = Bench::new();
    let outcome = run(&bench, |key, value| match key {
        "tokenizer.chat_template" => Some(Metadata::String(tiny::CHATML.replace("assistant\n", "assistant "))),
        _ => Some(value),
    })
    .unwrap();
    assert_eq!((&outcome.fields["equal"], &outcome.fields["different"]), (&json!(0.0), &json!(3)));
    let plain = lines(&bench, &outcome).into_iter().find(|line| line["row"] == "plain").unwrap();
    assert_eq!((&plain["part"], &plain["served"]["text"]), (&json!("the question"), &json!(" ")));
    assert_eq!(plain["trained"]["text"], "\n");
    let warning = bench.events.warnings().remove(0);
    assert!(warning.starts_with("3 of 3 rows are served otherwise than they were trained: `"), "{warning}");
}

#[test]
fn a_rehearsal_fails_where_no_row_is_served_as_it_is_trained() {
    let bench = Bench::new();
    let good = rehearse(&bench, |_, value| Some(value)).unwrap();
    assert_eq!((&good.fields["equal"], good.outputs.len()), (&json!(1.0), 1));
    let other = |key: &str, value: Metadata| match key {
        "tokenizer.chat_template" => Some(Metadata::String(tiny::CHATML.replace("assistant\n", "assistant "))),
        _ => Some(value),
    };
    let error = rehearse(&bench, other).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("eval::all_differ"), "{error:?}");
    assert!(bench.events.warnings()[0].contains("training has"), "{:?}", bench.events.warnings());
    // A template that only differs where a system is set.
    let some = |key: &str, value: Metadata| match key {
        "tokenizer.chat_template" => {
            Some(Metadata::String(format!("{{% if messages[0].role == 'system' %}}x{{% endif %}}{}", tiny::CHATML)))
        }
        _ => Some(value),
    };
    assert_eq!(rehearse(&bench, some).unwrap().fields["different"], 1);
}

#[test]
fn a_beginning_that_only_the_server_adds_is_found_and_one_that_the_template_wrote_is_not_doubled() {
    let begins = |template: &'static str| {
        move |key: &str, value: Metadata| match key {
            "tokenizer.ggml.add_bos_token" => Some(Metadata::Bool(true)),
            "tokenizer.chat_template" => Some(Metadata::String(format!("{template}{}", tiny::CHATML))),
            _ => Some(value),
        }
    };
    let bench = Bench::new();
    let outcome = run(&bench, begins("")).unwrap();
    // The base's template begins with `<|im_start|>`, which is this vocabulary's beginning of a text: it is written once.
    assert_eq!(outcome.fields["different"], 0);
    let bench = Bench::new();
    let outcome = run(&bench, begins("x")).unwrap();
    let found = lines(&bench, &outcome);
    assert_eq!((found.len(), &found[0]["at"]), (3, &json!(1)), "{found:?}");
}

#[test]
fn a_template_that_refuses_and_one_that_is_absent_are_told() {
    let bench = Bench::new();
    let refusing = format!("{{{{ raise_exception('no') }}}}{}", tiny::CHATML);
    let outcome = run(&bench, |key, value| match key {
        "tokenizer.chat_template" => Some(Metadata::String(refusing.clone())),
        _ => Some(value),
    })
    .unwrap();
    assert!(lines(&bench, &outcome)[0]["refused"].as_str().unwrap().contains("no"));
    let bench = Bench::new();
    let absent = run(&bench, |key, value| (key != "tokenizer.chat_template").then_some(value));
    assert_eq!(absent.unwrap_err().code.as_deref(), Some("eval::no_template"));
}
