//! Rows against questions of a file and against held-out rows.

use serde_json::json;

use super::*;
use crate::node::bench::{Bench, report};
use crate::record::{Record, Turn, write};
use crate::store::RecordsRef;

fn rows(bench: &Bench, rows: &[(&str, &str, &str)]) -> RecordsRef {
    let turn = |role, text: &str| Turn { role, text: text.to_owned() };
    let rows = rows.iter().map(|(id, question, answer)| {
        Record::Row(Conversation {
            id: (*id).into(),
            thread: (*id).into(),
            turns: vec![turn(Role::User, question), turn(Role::Assistant, answer)],
            ..Conversation::default()
        })
    });
    write(&bench.store, rows.collect::<Vec<_>>()).unwrap()
}

const ANSWER: &str =
    "Run the installer with the flag for high availability, then wait for all three replicas to come up.";

fn train(bench: &Bench) -> RecordsRef {
    rows(
        bench,
        &[
            ("a", "Which ports does the proxy of Linkerd listen on?", "Four."),
            ("b", "How do I install it?", ANSWER),
            ("c", "How do I remove it?", "Run the uninstaller."),
        ],
    )
}

#[test]
fn rows_that_hold_a_question_of_the_file_are_dropped_and_the_question_is_named() {
    let bench = Bench::new();
    bench.file(
        "q.toml",
        "[[question]]\nask = \"Which ports does the proxy of Linkerd listen on\"\nexpect = [\"4140\"]\n",
    );
    let train = train(&bench);
    let outcome = bench.run_on(&Decontaminate, &json!({"questions": "q.toml"}), &[("train", train)]).unwrap();
    let said = "dropped row: holds the question `Which ports does the proxy of Linkerd listen on`: 1";
    assert_eq!(report(&outcome), [said]);
    assert_eq!(bench.read(&outcome, "dropped")[0].id(), "a");
    assert_eq!(outcome.fields["rows"], 2);
}

#[test]
fn rows_that_hold_the_question_or_the_answer_of_a_held_out_row_are_dropped() {
    let bench = Bench::new();
    let held =
        rows(&bench, &[("x", "And how is it removed?", ANSWER), ("y", "How do I remove it?", "Delete all of it.")]);
    let inputs = [("train", train(&bench)), ("held", held)];
    let outcome = bench.run_on(&Decontaminate, &json!({"against": ["held"]}), &inputs).unwrap();
    assert_eq!(
        report(&outcome),
        ["dropped row: holds a question of `held:records`: 1", "dropped row: holds an answer of `held:records`: 1"]
    );
    assert_eq!(bench.read(&outcome, "rows")[0].id(), "a");
}

#[test]
fn other_held_out_rows_give_another_decision() {
    let bench = Bench::new();
    let train = train(&bench);
    let settings = json!({"against": ["held:records"]});
    let left = |id: &str, question: &str| {
        let held = rows(&bench, &[(id, question, "-")]);
        bench.run_on(&Decontaminate, &settings, &[("train", train), ("held", held)]).unwrap().fields["rows"].clone()
    };
    assert_eq!([left("x", "How do I remove it?"), left("x", "Another?"), left("x", "How do I install it?")], [2, 3, 2]);
}

#[test]
fn what_can_not_be_held_against_rows_is_told() {
    let bench = Bench::new();
    let run = |against: &str| bench.run_on(&Decontaminate, &json!({"against": [against]}), &[("train", train(&bench))]);
    let unknown = run("hold").unwrap_err();
    assert_eq!(unknown.message, "`against` names `hold`, which is none of the inputs");
    assert_eq!(unknown.help.as_deref(), Some("`from` has `train:records`: add `hold` to it, too"));
    assert_eq!(run("train").unwrap_err().code.as_deref(), Some("filter::decontaminate::no_rows"));
    let codes = |settings: Value| {
        let problems = Decontaminate.canonical(&settings).unwrap_err();
        problems.into_iter().map(|problem| problem.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(json!({})), ["settings::missing"]);
    assert_eq!(codes(json!({"against": ["a"], "threshold": 0, "ngram-words": 0})), ["settings::out_of_range"; 2]);
}

#[test]
fn the_rows_of_version_1_are_pinned() {
    let bench = Bench::new();
    let held = rows(&bench, &[("x", "How do I remove it?", "-")]);
    let inputs = [("train", train(&bench)), ("held", held)];
    let outcome = bench.run_on(&Decontaminate, &json!({"against": ["held"]}), &inputs).unwrap();
    assert_eq!(
        Bench::records(&outcome, "rows").root.to_string(),
        "b4645bbcefbe74df7673d0c7a3b9d5c52baa3608bc82b8aa89a9b8e0c50def5c"
    );
}
