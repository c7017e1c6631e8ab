use serde_json::json;

use super::ask::ask;
use super::*;
use crate::cli::Output;
use crate::cli::testing::{MANIFEST, Space};

const QUESTION: &str = "what does the word BETA stand for, in this project";

fn space() -> Space {
    let space = Space::new();
    let manifest = MANIFEST.replace("from = [\"notes\"]", "from = [\"notes\", \"fixes\"]");
    let fixes = "[source.fixes]\ntype = \"corrections\"\npath = \"data/fixes.jsonl\"\noptional = true\n";
    space.write("pipeline.toml", &format!("{manifest}\n{fixes}"));
    space
}

fn file(space: &Space) -> String {
    fs_err::read_to_string(space.path().join("data/fixes.jsonl")).unwrap()
}

#[test]
fn a_correction_takes_the_place_of_rows_by_question_and_by_id() {
    let space = space();
    space.done(&["build"]);
    let arguments = [
        "correct",
        "--question",
        QUESTION,
        "--answer",
        "The second letter.",
        "--supersedes",
        "gamma",
        "--supersedes",
        "o/r#7",
        "--note",
        "by hand",
        "--weight",
        "2",
        "--json",
    ];
    let told = space.done(&arguments).object("correct");
    assert_eq!((&told["node"], &told["file"], &told["line"]), (&json!("fixes"), &json!("data/fixes.jsonl"), &json!(1)));
    assert_eq!(
        told["supersedes"],
        json!([
            {"node": "pairs", "row": "beta", "by": "question"},
            {"node": "pairs", "row": "gamma", "by": "gamma"},
        ])
    );
    assert_eq!((&told["unknown"], &told["next"]), (&json!(["o/r#7"]), &json!("tunesmith build pairs")));
    space.done(&["build"]);
    let rows = space.done(&["show", "pairs", "--rows", "9", "--json"]).objects("row");
    let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["alpha", told["id"].as_str().unwrap(), "delta"]);
    assert_eq!(rows[1]["weight"], json!(2.0));
    assert_eq!(rows[1]["turns"][1]["text"], json!("The second letter."));
    assert!(rows[1].get("note").is_none());
    let report = space.done(&["show", "pairs", "--json"]).object("show")["report"].clone();
    assert!(
        report.to_string().contains(r#"{"count":2,"what":"notes: dropped row: superseded by a correction"}"#),
        "{report}"
    );
}

#[test]
fn people_are_told_what_it_replaces_and_what_comes_next() {
    let space = space();
    let said = space.done(&["correct", "fixes", "--question", QUESTION, "--answer", "Two."]);
    assert!(said.out.starts_with("data/fixes.jsonl:1: added correction correction-"), "{}", said.out);
    assert!(said.out.ends_with("next: `tunesmith build pairs`\n"), "{}", said.out);
    space.done(&["build"]);
    let said = space.done(&["correct", "--question", "What is alpha?", "--answer", "One.", "--supersedes", "alpha"]);
    assert!(said.out.contains("  takes the place of `alpha` in `pairs`: named by `alpha`\n"), "{}", said.out);
    let again = space.done(&["correct", "--question", QUESTION, "--answer", "Two."]);
    assert!(again.out.starts_with("data/fixes.jsonl:1: this correction is there already"), "{}", again.out);
    assert_eq!(file(&space).lines().count(), 2);
}

#[test]
fn a_line_is_added_behind_one_without_its_end() {
    let space = space();
    fs_err::create_dir(space.path().join("data")).unwrap();
    space.write("data/fixes.jsonl", r#"{"instruction":"q","output":"a"}"#);
    space.done(&["correct", "--question", "r", "--answer", "b"]);
    assert_eq!(file(&space).lines().count(), 2);
    assert!(file(&space).ends_with("}\n"));
}

#[test]
fn a_file_that_would_not_be_right_is_left_as_it_is() {
    let space = space();
    fs_err::create_dir(space.path().join("data")).unwrap();
    space.write("data/fixes.jsonl", "{}\n");
    space.refused(&["correct", "--question", "r", "--answer", "b"], Exit::Wrong, "fixes.jsonl:1` is not a correction");
    assert_eq!(file(&space), "{}\n");
    space.write("data/fixes.jsonl", "");
    for wrong in ["0", "-1", "NaN", "inf", "twice"] {
        let weight = format!("--weight={wrong}");
        space.refused(&["correct", "--question", "r", "--answer", "b", &weight], Exit::Wrong, "a number above 0");
    }
    space.refused(&["correct", "--question", "r", "--answer", " "], Exit::Wrong, "the conversation has no answer");
    space.refused(&["correct", "--question", " ", "--answer", "b"], Exit::Wrong, "a turn has no text");
    assert_eq!(file(&space), "");
}

#[test]
fn the_node_must_be_one_of_corrections_and_the_only_one_unless_named() {
    let none = Space::new();
    none.refused(&["correct", "--question", "q", "--answer", "a"], Exit::Wrong, "type = \"corrections\"");
    let space = space();
    space.refused(&["correct", "notes", "--question", "q", "--answer", "a"], Exit::Wrong, "is of type `source.jsonl`");
    space.edit(
        "pipeline.toml",
        "[source.notes]",
        "[source.more]\ntype = \"corrections\"\npath = \"m\"\n[source.notes]",
    );
    space.refused(&["correct", "--question", "q", "--answer", "a"], Exit::Wrong, "2 nodes are of type `corrections`");
}

#[test]
fn what_is_typed_ends_with_a_line_of_its_own() {
    let ask = |typed: &str| {
        let (mut output, _, err) = Output::captured();
        let text = ask("answer", &mut typed.as_bytes(), &mut output);
        drop(output);
        assert_eq!(err.text(), "the answer, and then a line with only `.`:\n");
        text
    };
    assert_eq!(ask("one\n\n  two\n.\nthree\n").unwrap(), "one\n\n  two");
    assert_eq!(ask("no end").unwrap(), "no end");
    assert!(matches!(ask("\n.\n"), Err(CliError::HalfCorrection { what: "answer" })));
}
