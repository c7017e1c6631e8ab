//! Files of JSON lines as people have them.

use super::*;
use crate::node::bench::{Bench, report};
use crate::record::write;

fn read(bench: &Bench, lines: &str, settings: &Value) -> Result<(Vec<Record>, Vec<String>), NodeError> {
    bench.file("data.jsonl", lines);
    let outcome = bench.run_on(&Jsonl, settings, &[])?;
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
    assert_eq!(
        report,
        ["dropped: identical line: 1", "dropped: line is no record: 1", "dropped: line was not written to its end: 1"]
    );
}

#[test]
fn a_torn_last_line_is_left_out_and_counted() {
    let bench = Bench::new();
    let lines = "{\"instruction\":\"q\",\"output\":\"a\"}\n{\"instruction\":\"q\",\"out";
    let (records, report) = read(&bench, lines, &json!({"path": "data.jsonl"})).unwrap();
    assert_eq!((records.len(), report), (1, vec!["dropped: line was not written to its end: 1".to_owned()]));
    // In the middle of a file it is no accident of the last write.
    let error = read(&bench, &format!("{lines}\n"), &json!({"path": "data.jsonl"})).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::jsonl::bad_line"));
}

#[test]
fn a_line_that_was_written_behind_a_torn_one_is_not_lost() {
    let bench = Bench::new();
    let issue = |n: u32| format!("{{\"repo\": \"o/r\", \"number\": {n}, \"title\": \"say {{\\\"repo\\\": 1}}\"}}");
    let lines = format!("{}\n{}{}\n", issue(1), &issue(2)[..30], issue(3));
    let (records, report) = read(&bench, &lines, &json!({"path": "data.jsonl", "as": "issues"})).unwrap();
    assert_eq!(ids(&records), ["o/r#1", "o/r#3"]);
    assert_eq!(report, ["dropped: line was not written to its end: 1"]);
}

/// As `json.dumps` of Python writes them: spaces after colons, and escapes for all that is not ASCII.
#[test]
fn the_files_of_the_old_scripts_are_taken_as_they_are() {
    let bench = Bench::new();
    let issue = r#"{"repo": "o/r", "number": 7, "title": "Caf\u00e9", "body": "", "state": "closed", "labels": ["bug"],
        "author": "ann", "created_at": "2020-01-01T00:00:00Z", "closed_at": null, "comments": [
        {"author": null, "body": "\ud83d\ude00", "created_at": "2020-01-02T00:00:00Z"}]}"#;
    let pull = r#"{"repo": "o/r", "number": 8, "title": "T", "body": "", "merged_at": "2020-01-03T00:00:00Z", "author": "bob",
        "labels": [], "comments": [], "review_threads": [[{"author": "ann", "body": "Why?"}, {"author": "bob", "body": "So."}]]}"#;
    let document = r##"{"repo": "o/r", "path": "docs/A.md", "content": "# A"}"##;
    let site =
        r#"{"repo": "linkerd.io", "path": "2/a", "url": "https://linkerd.io/2/a/", "title": "A", "content": "x"}"#;
    let row =
        r#"{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "source": "o/r#7"}"#;
    for (form, line, id) in [
        ("issues", issue, "o/r#7"),
        ("pulls", pull, "o/r#8"),
        ("documents", document, "o/r/docs/A.md"),
        ("documents", site, "linkerd.io/2/a"),
        ("rows", row, "o/r#7"),
    ] {
        let line = line.lines().map(str::trim_start).collect::<String>() + "\n";
        let (records, report) = read(&bench, &line, &json!({"path": "data.jsonl", "as": form})).unwrap();
        assert_eq!((ids(&records), report.len()), (vec![id], 0), "{line}");
        match &records[0] {
            Record::Issue(issue) => {
                assert_eq!((issue.title.as_str(), issue.author.login.as_deref()), ("Café", Some("ann")));
                assert_eq!((issue.comments[0].body.as_str(), &issue.comments[0].author.login), ("😀", &None));
            }
            Record::Pull(pull) => assert_eq!((pull.reviews[0].len(), pull.merged_at.is_some()), (2, true)),
            Record::Document(document) => assert!(!document.content.is_empty()),
            Record::Row(row) => assert_eq!(row.turns.len(), 2),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_pages_of_the_old_wiki_script_are_documents() {
    let bench = Bench::new();
    let page = |slug: &str, content: &str| {
        json!({"repo": "linkerd/linkerd2", "path": slug, "title": "Control Plane", "content": content}).to_string()
            + "\n"
    };
    let lines =
        [page("2.1-control-plane", "thin"), page("3-proxy", "# Proxy"), page("2.1-control-plane", "# Plane")].concat();
    let settings = json!({"path": "data.jsonl", "as": "documents"});
    let (records, report) = read(&bench, &lines, &settings).unwrap();
    assert_eq!(ids(&records), ["linkerd/linkerd2/2.1-control-plane", "linkerd/linkerd2/3-proxy"]);
    let Record::Document(document) = &records[0] else { panic!("{records:?}") };
    assert_eq!((document.path.as_str(), document.title.as_str()), ("2.1-control-plane", "Control Plane"));
    assert_eq!(document.content, "# Plane");
    assert_eq!(report, ["dropped: a later line has the same id: 1"]);
}

#[test]
fn foreign_rows_are_read_by_a_map() {
    let bench = Bench::new();
    let settings = json!({"path": "data.jsonl", "map": {"question": "prompt", "answer": "reply.text"}});
    let (records, _) = read(&bench, "{\"prompt\":\"q\",\"reply\":{\"text\":\"a\"}}\n", &settings).unwrap();
    let Record::Row(row) = &records[0] else { panic!("{records:?}") };
    assert_eq!((row.turns[0].text.as_str(), row.turns[1].text.as_str()), ("q", "a"));
    let error = read(&bench, "{\"prompt\":\"q\"}\n", &settings).unwrap_err();
    assert_eq!(error.causes, ["missing field `reply.text`, which `map` names for `answer`"]);
    let wrong = json!({"path": "x", "as": "documents", "map": {"question": "q", "contents": "c"}});
    let problems = Jsonl.canonical(&wrong).unwrap_err();
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `content`?"), "{problems:?}");
    let wrong = json!({"path": "x", "as": "documents", "map": {"question": "q"}});
    assert_eq!(Jsonl.canonical(&wrong).unwrap_err()[0].path, ["map", "question"]);
}

#[test]
fn turns_of_tools_are_counted_again_when_nothing_changed() {
    let bench = Bench::new();
    let line = r#"{"messages":[{"role":"user","content":"q"},{"role":"tool","content":"x"},{"role":"assistant","content":"a"}]}"#;
    for _ in 0..2 {
        let (_, report) = read(&bench, line, &json!({"path": "data.jsonl"})).unwrap();
        assert_eq!(report, ["dropped turn: a tool is called or answers: 1"]);
    }
}

/// Zstandard's own form of a block that repeats one byte.
fn zstd_of_repeated(byte: u8, blocks: usize, length: u32) -> Vec<u8> {
    // Magic number; a window of 128 KiB and no checksum; then blocks of run-length type, the last one marked.
    let mut packed = vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38];
    for block in 1..=blocks {
        let header = (length << 3) | (1 << 1) | u32::from(block == blocks);
        packed.extend(&header.to_le_bytes()[..3]);
        packed.push(byte);
    }
    packed
}

/// Zstandard's own form of bytes that are not packed.
fn zstd_of(text: &str) -> Vec<u8> {
    let mut packed = vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38];
    packed.extend(&((text.len() as u32) << 3 | 1).to_le_bytes()[..3]);
    packed.extend(text.as_bytes());
    packed
}

#[test]
fn zstandard_is_known_by_its_content_and_read_frame_by_frame() {
    let bench = Bench::new();
    let row = |n: u32| format!("{{\"instruction\":\"q{n}\",\"output\":\"a\",\"id\":{n}}}\n");
    let skippable = [0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3].to_vec();
    bench.file("data.jsonl", [zstd_of(&row(1)), skippable, zstd_of(&row(2))].concat());
    let outcome = bench.run_on(&Jsonl, &json!({"path": "data.jsonl"}), &[]).unwrap();
    assert_eq!(ids(&bench.read(&outcome, "records")), ["1", "2"]);
    let whole = zstd_of(&row(1));
    bench.file("data.jsonl", &whole[..whole.len() - 3]);
    let error = bench.run_on(&Jsonl, &json!({"path": "data.jsonl"}), &[]).unwrap_err();
    assert!(error.message.ends_with("data.jsonl` is not a whole zstd file"), "{error:?}");
}

#[test]
fn a_small_file_cannot_fill_the_memory() {
    use std::io::Write as _;
    let bench = Bench::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..100 {
        gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    for bomb in [gzip.finish().unwrap(), zstd_of_repeated(b' ', 1_000, 128 << 10)] {
        bench.file("data.jsonl", bomb);
        let error = bench.run_on(&Jsonl, &json!({"path": "data.jsonl"}), &[]).unwrap_err();
        assert_eq!(error.code.as_deref(), Some("source::bomb"), "{error:?}");
    }
}

#[test]
fn gzip_is_known_by_its_content_and_an_absent_optional_file_is_empty() {
    use std::io::Write as _;
    let bench = Bench::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"{\"path\":\"a.md\",\"content\":\"x\"}\n").unwrap();
    bench.file("data.jsonl", packed.finish().unwrap());
    let settings = json!({"path": "data.jsonl", "as": "documents", "repo": "o/r"});
    let outcome = bench.run_on(&Jsonl, &settings, &[]).unwrap();
    assert_eq!(ids(&bench.read(&outcome, "records")), ["o/r/a.md"]);
    let outcome = bench.run_on(&Jsonl, &json!({"path": "absent.jsonl", "optional": true}), &[]).unwrap();
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
        let again = warm.run_on(&Jsonl, &settings, &[]).unwrap();
        let anew = cold.run_on(&Jsonl, &settings, &[]).unwrap();
        assert_eq!(again, anew, "after edit {edit}");
        assert_eq!(Bench::records(&again, "records"), write(&warm.store, cold.read(&anew, "records")).unwrap());
    }
}

#[test]
fn the_records_of_version_1_are_pinned() {
    let bench = Bench::new();
    bench.file("data.jsonl", "{\"repo\":\"o/r\",\"number\":1,\"title\":\"t\",\"author\":\"a\",\"comments\":[]}\n");
    let outcome = bench.run_on(&Jsonl, &json!({"path": "data.jsonl", "as": "issues"}), &[]).unwrap();
    assert_eq!(
        Bench::records(&outcome, "records").root.to_string(),
        "4537efa38bafc6a816d4fda95b337d5e31662dd1e34cdc24f5fce51aba0ee05c"
    );
}
