//! Limits in tokens of the base model.

use std::path::Path;

use super::*;
use crate::model::weights::{Base, WeightFiles};
use crate::node::InputRole;
use crate::record::{Document, RecordSet};

#[test]
fn sections_are_cut_by_the_tokens_of_the_base_model() {
    let bench = Bench::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama");
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];
    let paths = names.iter().map(|name| ((*name).to_owned(), folder.join(name))).collect();
    let tokenizer = Base::open(&WeightFiles::Folder(paths)).unwrap().tokenizer().unwrap();
    let files = names.iter().map(|name| ((*name).to_owned(), bench.store.put_file(&folder.join(name)).unwrap()));
    let model = Artifact::Folder { files: files.collect() };
    let document =
        Document { id: "a.md".into(), path: "a.md".into(), content: [LONG; 9].join("\n\n"), ..Document::default() };
    let records = write(&bench.store, [Record::Document(document)]).unwrap();
    let settings = Conversations.canonical(&json!({"max-answer-tokens": 200})).unwrap();
    let inputs = vec![
        bench.input(InputRole::From, "docs", "records", Some(Artifact::Records(records)), json!({})),
        bench.input(InputRole::Model, "model", "weights", Some(model), json!({})),
    ];
    let outcome = bench.run(&Conversations, &settings, inputs, &[]).unwrap();
    let Artifact::Records(rows) = outcome.outputs["rows"] else { panic!("rows are records") };
    let rows = RecordSet::open(&bench.store, &rows).unwrap();
    let lengths: Vec<usize> = rows
        .records()
        .map(|record| match record.unwrap() {
            Record::Row(row) => tokenizer.encode(&row.turns[1].text).unwrap().len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(lengths.len() > 1 && lengths.iter().all(|length| *length <= 200), "{lengths:?}");
    assert_eq!(outcome.report[0].what, "section made into several rows: longer than 200 tokens");
}
