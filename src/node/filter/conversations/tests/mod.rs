//! Conversations from records of each kind: what holds for all of them. Threads and documents have files of their own.

mod documents;
mod lengths;
mod settings;
mod switches;
mod threads;
#[cfg(feature = "train")]
mod tokens;

use super::*;
use crate::node::bench::{Bench, report};
use crate::record::{Conversation, Form, Role, import, import_correction, write};

const LONG: &str = "The proxy keeps idle connections for a minute, and the application closes them earlier, so that the \
                    next request fails; set the idle timeout of the application above that of the proxy.";

fn issues(bench: &Bench, issues: &[Value]) -> RecordsRef {
    records(bench, Form::Issues, issues)
}

fn records(bench: &Bench, form: Form, values: &[Value]) -> RecordsRef {
    let records = values.iter().map(|value| import(form, value.to_string().as_bytes(), Some("o/r")).unwrap());
    write(&bench.store, records.collect::<Vec<_>>()).unwrap()
}

fn run(bench: &Bench, settings: &Value, inputs: &[(&str, RecordsRef)]) -> (Vec<Conversation>, Vec<String>) {
    let outcome = bench.run_on(&Conversations, settings, inputs).unwrap();
    let rows = bench.read(&outcome, "rows").into_iter().map(|record| match record {
        Record::Row(row) => row,
        other => panic!("{other:?}"),
    });
    (rows.collect(), report(&outcome))
}

/// Runs on one issue and returns its rows as `role: text` lines.
#[track_caller]
fn issue(author: &Value, comments: &[(Value, &str)]) -> (Vec<Vec<String>>, Vec<String>) {
    let bench = Bench::new();
    let comments: Vec<Value> = comments.iter().map(|(author, body)| json!({"author": author, "body": body})).collect();
    let issue =
        json!({"number": 1, "title": "Requests fail now and then", "body": "", "author": author, "comments": comments});
    let (rows, report) = run(&bench, &json!({}), &[("issues", issues(&bench, &[issue]))]);
    let lines = |row: &Conversation| {
        let turns = row.turns.iter().map(|turn| format!("{:?}: {}", turn.role, turn.text));
        std::iter::once(row.id.clone()).chain(turns).collect()
    };
    (rows.iter().map(lines).collect(), report)
}

#[test]
fn corrections_supersede_by_id_and_by_question_and_equal_rows_count_once() {
    let bench = Bench::new();
    let row = |source: &str, question: &str, answer: &str| json!({"instruction": question, "output": answer, "source": source});
    let rows = records(
        &bench,
        Form::Rows,
        &[
            row("a", "What is it?", "Wrong."),
            row("b", "Where is it?", "Wrong too."),
            row("c", "Who is it?", "Ann."),
            row("d", "Who is it?", "Ann."),
            row("o/r#9", "When is it?", "Never."),
        ],
    );
    let correction = |line: &str| Record::Correction(import_correction(line.as_bytes()).unwrap());
    let corrections = [
        correction(r#"{"id":"fix-1","instruction":"what is it","output":"A tool."}"#),
        correction(
            r#"{"id":"fix-2","instruction":"Where does it live?","output":"Here.","supersedes":["b","o/r#9","o/r#99"]}"#,
        ),
    ];
    let corrections = write(&bench.store, corrections).unwrap();
    let (rows, report) = run(&bench, &json!({}), &[("rows", rows), ("corrections", corrections)]);
    let left: Vec<(&str, &str)> = rows.iter().map(|row| (row.id.as_str(), row.turns[1].text.as_str())).collect();
    assert_eq!(left, [("c", "Ann."), ("fix-1", "A tool."), ("fix-2", "Here.")]);
    assert_eq!(
        report,
        [
            "rows: read: 5",
            "rows: rows: 1",
            "rows: dropped row: exact duplicate: 1",
            "rows: dropped row: superseded by a correction: 3",
            "corrections: read: 2",
            "corrections: rows: 2",
            "corrections: correction supersedes an id that no row here has: 1",
        ]
    );
}

#[test]
fn markers_in_rows_corrections_and_threads_are_neutralised_and_counted() {
    let bench = Bench::new();
    let text = "say <|im_end|><|eot_id|> [INST] </s> <start_of_turn> <div> a < b";
    let neutral = "say <| im_end |><| eot_id |> [ INST ] < /s > < start_of_turn > <div> a < b";
    let set = records(&bench, Form::Rows, &[json!({"instruction": "q\u{202e}\u{0}", "output": text, "source": "x"})]);
    let correction = format!("{{\"id\":\"fix\",\"instruction\":\"what?\",\"output\":\"{text}!\"}}");
    let correction = Record::Correction(import_correction(correction.as_bytes()).unwrap());
    let thread = json!({"number": 1, "title": "How does <|im_start|>system work?", "author": "ann",
        "comments": [{"author": "bob", "body": format!("{LONG} {text}")}]});
    let inputs =
        [("rows", set), ("fixes", write(&bench.store, [correction]).unwrap()), ("issues", issues(&bench, &[thread]))];
    let (rows, report) = run(&bench, &json!({}), &inputs);
    let answers: Vec<&str> = rows.iter().map(|row| row.turns[1].text.as_str()).collect();
    assert_eq!(answers, [&format!("{neutral}!"), &format!("{LONG} {neutral}"), neutral]);
    assert_eq!(rows[1].turns[0].text, "How does <| im_start |>system work?");
    assert_eq!(rows[2].turns[0].text, "q␀");
    assert_eq!(
        report,
        [
            "rows: read: 1",
            "rows: rows: 1",
            "rows: control characters neutralised: 1",
            "rows: invisible characters taken out: 1",
            "rows: template markers neutralised: 5",
            "fixes: read: 1",
            "fixes: rows: 1",
            "fixes: template markers neutralised: 5",
            "issues: read: 1",
            "issues: rows: 1",
            "issues: answers that explain most: 1",
            "issues: template markers neutralised: 6",
        ]
    );
}

#[test]
fn markers_that_the_settings_keep_stay() {
    let bench = Bench::new();
    let set = records(&bench, Form::Rows, &[json!({"instruction": "q", "output": "<think>so</think>", "source": "x"})]);
    let (rows, _) = run(&bench, &json!({"keep-markers": ["<think>", "</think>"]}), &[("rows", set)]);
    assert_eq!(rows[0].turns[1].text, "<think>so</think>");
}

#[test]
fn the_weight_of_a_correction_reaches_its_row() {
    let bench = Bench::new();
    let line = r#"{"id":"fix","instruction":"What is it?","output":"A tool.","weight":2.5}"#;
    let correction = Record::Correction(import_correction(line.as_bytes()).unwrap());
    let (rows, _) = run(&bench, &json!({}), &[("fixes", write(&bench.store, [correction]).unwrap())]);
    assert_eq!(rows[0].weight, Some(2.5));
}

#[test]
fn one_edited_record_is_one_record_processed() {
    let bench = Bench::new();
    let issue = |n: u32, word: &str| {
        json!({"number": n, "title": format!("Requests fail now and then {n}"), "author": "ann",
            "comments": [{"author": "bob", "body": format!("{word} {n}. {LONG}")}]})
    };
    let mut all: Vec<Value> = (0..2_000).map(|n| issue(n, "Yes")).collect();
    let first = run(&bench, &json!({}), &[("issues", issues(&bench, &all))]);
    all[77] = issue(77, "No");
    let second = run(&bench, &json!({}), &[("issues", issues(&bench, &all))]);
    let changed: Vec<&str> =
        first.0.iter().zip(&second.0).filter(|(a, b)| a != b).map(|(a, _)| a.id.as_str()).collect();
    assert_eq!(changed, ["o/r#77:answer"]);
    let notes = bench.events.notes();
    assert!(notes.iter().any(|note| note.contains("1 of 2000 records new or changed")), "{notes:?}");
}

#[test]
fn going_on_from_a_former_reduction_gives_what_a_new_start_gives() {
    let warm = Bench::new();
    let row = |n: usize| json!({"instruction": format!("Question {}?", n % 70), "output": format!("{}", n % 50), "source": format!("s{n}")});
    let fix = |n: usize| {
        let text = format!(
            "{{\"id\":\"fix-{n}\",\"instruction\":\"question {n}\",\"output\":\"{n}\",\"supersedes\":[\"s{}\"]}}",
            n + 1
        );
        Record::Correction(import_correction(text.as_bytes()).unwrap())
    };
    let mut values: Vec<Value> = (0..400).map(row).collect();
    let mut fixes = vec![fix(3)];
    for edit in 0..5 {
        match edit {
            1 => values[0] = json!({"instruction": "Another?", "output": "Yes.", "source": "s0"}),
            2 => fixes.push(fix(9)),
            3 => drop(fixes.remove(0)),
            4 => drop(values.drain(1..9)),
            _ => {}
        }
        let cold = Bench::new();
        let outcomes = [&warm, &cold].map(|bench| {
            let fixes = write(&bench.store, fixes.clone()).unwrap();
            let rows = records(bench, Form::Rows, &values);
            bench.run_on(&Conversations, &json!({}), &[("rows", rows), ("corrections", fixes)]).unwrap()
        });
        assert_eq!(outcomes[0], outcomes[1], "after edit {edit}");
        assert!(outcomes[0].report.iter().any(|count| count.what.contains("duplicate")));
    }
}

#[test]
fn the_rows_of_version_5_are_pinned() {
    let bench = Bench::new();
    let comments = json!([{"author": "bob", "body": LONG}]);
    let issue = json!({"number": 1, "title": "Requests fail now and then", "author": "ann", "comments": comments});
    let document =
        json!({"path": "a.md", "title": "T", "content": format!("# T\n\n{LONG}\n\n## Usage\n\n{LONG} Twice.")});
    let inputs = [("issues", issues(&bench, &[issue])), ("docs", records(&bench, Form::Documents, &[document]))];
    let outcome = bench.run_on(&Conversations, &json!({}), &inputs).unwrap();
    assert_eq!(
        Bench::records(&outcome, "rows").root.to_string(),
        "2b8ff635c5bbf25227afe49aab76db3d8cd7e3a438b55c42ed48d4543bfd0443"
    );
}
