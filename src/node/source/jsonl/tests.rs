//! Files of JSON lines as people have them.

use super::*;
use crate::node::testing::{Bench, report};
use crate::record::write;

fn read(bench: &Bench, lines: &str, settings: &Value) -> Result<(Vec<Record>, Vec<String>), NodeError> {
    bench.file("data.jsonl", lines);
    let outcome = bench.run(&Jsonl, settings, &[])?;
    Ok((bench.read(&outcome, "records"), report(&outcome)))
}

fn ids(records: &[Record]) -> Vec<&str> {
    records.iter().map(Record::id).collect()
}

#[test]
fn rows_of_one_source_are_numbered_and_identical_lines_count_once() {
    let bench = Bench::new();
    let row = |answer: &str| format!("{{\"instruction\":\"q\",\"output\":\"{answer}\",\"source\":\"s\"}}\n");
    let lines = [row("one"), row("two"), row("one"), row("three")].concat();
    let (records, report) = read(&bench, &lines, &json!({"path": "data.jsonl"})).unwrap();
    assert_eq!(ids(&records), ["s", "s~2", "s~3"]);
    assert_eq!(report, ["dropped: identical line: 1", "kept with a number: another row has the same source: 2"]);
}

#[test]
fn of_two_versions_of_an_issue_the_later_line_counts() {
    let bench = Bench::new();
    let issue = |title: &str| format!("{{\"repo\":\"o/r\",\"number\":1,\"title\":\"{title}\"}}\n");
    let lines = [issue("old"), issue("new"), issue("new")].concat();
    let (records, report) = read(&bench, &lines, &json!({"path": "data.jsonl", "as": "issues"})).unwrap();
    let [Record::Issue(issue)] = records.as_slice() else { panic!("{records:?}") };
    assert_eq!(issue.title, "new");
    assert_eq!(report, ["dropped: identical line: 1", "dropped: a later line has the same id: 1"]);
}

#[test]
fn a_bad_line_is_named_with_its_number_or_skipped_and_counted() {
    let bench = Bench::new();
    let good = "{\"instruction\":\"q\",\"output\":\"a\"}\n";
    let lines = format!("{good}\n{{\"instruction\": 1}}\n{good}{{\"instruction\":\"q\",\"out");
    let error = read(&bench, &lines, &json!({"path": "data.jsonl"})).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::jsonl::bad_line"));
    assert!(error.message.contains("data.jsonl:3` is not a row"), "{}", error.message);
    let (records, report) = read(&bench, &lines, &json!({"path": "data.jsonl", "on-bad-line": "skip"})).unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(report, ["dropped: identical line: 1", "dropped: line is no record: 2"]);
}

#[test]
fn a_torn_last_line_is_called_so() {
    let bench = Bench::new();
    let lines = "{\"instruction\":\"q\",\"output\":\"a\"}\n{\"instruction\":\"q\",\"out";
    let error = read(&bench, lines, &json!({"path": "data.jsonl"})).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::jsonl::torn_line"));
    assert!(error.message.contains("data.jsonl:2`"), "{}", error.message);
}

#[test]
fn gzip_is_known_by_its_content_and_an_absent_optional_file_is_empty() {
    use std::io::Write as _;
    let bench = Bench::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"{\"path\":\"a.md\",\"content\":\"x\"}\n").unwrap();
    bench.file("data.jsonl", packed.finish().unwrap());
    let settings = json!({"path": "data.jsonl", "as": "documents", "repo": "o/r"});
    let outcome = bench.run(&Jsonl, &settings, &[]).unwrap();
    assert_eq!(ids(&bench.read(&outcome, "records")), ["o/r/a.md"]);
    let outcome = bench.run(&Jsonl, &json!({"path": "absent.jsonl", "optional": true}), &[]).unwrap();
    assert!(bench.read(&outcome, "records").is_empty());
}

#[test]
fn misspelt_settings_get_suggestions() {
    let problems = Jsonl.canonical(&json!({"path": "x", "on-bad-lines": "skip", "as": "issue"})).unwrap_err();
    let help: Vec<Option<&str>> = problems.iter().map(|problem| problem.help.as_deref()).collect();
    assert!(help.contains(&Some("did you mean `on-bad-line`?")), "{problems:?}");
}

#[test]
fn an_edited_file_gives_the_set_that_a_new_start_gives() {
    let warm = Bench::new();
    let settings = json!({"path": "data.jsonl"});
    let line = |n: usize, answer: &str| {
        format!("{{\"instruction\":\"q{n}\",\"output\":\"{answer}\",\"source\":\"s{}\"}}\n", n % 3_900)
    };
    let mut lines: Vec<String> = (0..4_000).map(|n| line(n, &"x".repeat(n % 300 + 1))).collect();
    for edit in 0..6 {
        match edit {
            1 => lines[2_000] = line(2_000, "another"),
            2 => drop(lines.remove(3)),
            3 => lines.push(line(17, "a third of this source")),
            4 => lines.swap(10, 3_000),
            5 => lines.push(lines[5].clone()),
            _ => {}
        }
        let text = lines.concat();
        let cold = Bench::new();
        cold.file("data.jsonl", &text);
        warm.file("data.jsonl", &text);
        let again = warm.run(&Jsonl, &settings, &[]).unwrap();
        let anew = cold.run(&Jsonl, &settings, &[]).unwrap();
        assert_eq!(again, anew, "after edit {edit}");
        assert_eq!(Bench::records(&again, "records"), write(&warm.store, cold.read(&anew, "records")).unwrap());
    }
}

#[test]
fn the_records_of_version_1_are_pinned() {
    let bench = Bench::new();
    bench.file("data.jsonl", "{\"repo\":\"o/r\",\"number\":1,\"title\":\"t\",\"author\":\"a\",\"comments\":[]}\n");
    let outcome = bench.run(&Jsonl, &json!({"path": "data.jsonl", "as": "issues"}), &[]).unwrap();
    assert_eq!(
        Bench::records(&outcome, "records").root.to_string(),
        "4537efa38bafc6a816d4fda95b337d5e31662dd1e34cdc24f5fce51aba0ee05c"
    );
}
