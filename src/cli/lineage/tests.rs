//! Tests of `lineage` over a project with issues, rows and corrections.

use serde_json::json;

use crate::cli::Exit;
use crate::cli::testing::{Space, rows};

/// Issues, one without an answer of somebody else; rows; a correction of an issue; a command in the place of a training.
pub(in crate::cli) const MANIFEST: &str = r#"schema = 1
[source.issues]
type = "jsonl"
as = "issues"
path = "issues.jsonl"
[source.notes]
type = "jsonl"
path = "notes.jsonl"
[source.fixes]
type = "corrections"
path = "fixes.jsonl"
[filter.pairs]
type = "conversations"
from = ["issues", "notes", "fixes"]
out = "pairs.jsonl"
[filter.dataset]
type = "split"
from = ["pairs"]
eval = 0.0
[export.merged]
type = "command"
from = ["dataset"]
argv = ["cp", "dataset.jsonl", "weights"]
outputs.weights.path = "weights"
out = "model.bin"
[export.packed]
type = "command"
from = ["merged"]
argv = ["cp", "merged", "packed"]
outputs.packed.path = "packed"
"#;

fn issue(number: u64, comments: &[(&str, &str)]) -> String {
    let comments: Vec<_> =
        comments.iter().map(|(author, body)| json!({"id": 100 + number, "author": author, "body": body})).collect();
    let issue = json!({
        "repo": "o/r", "number": number, "title": format!("How is number {number} restarted?"), "author": "asker",
        "body": format!("I tried to restart number {number} and it said nothing at all about what to do."),
        "html_url": format!("https://github.com/o/r/issues/{number}"), "comments": comments,
    });
    format!("{issue}\n")
}

/// Makes and builds the project.
pub(in crate::cli) fn built() -> Space {
    let space = Space::new();
    let answer = |number: u64| {
        format!(
            "Restart number {number} by draining it first, and then delete its pod: the controller makes a new one \
                 within a minute, with the same name and the same volume as before."
        )
    };
    let (first, tenth, third) = (answer(1), answer(10), answer(3));
    let issues = [
        issue(1, &[("helper", &first)]),
        issue(
            2,
            &[("asker", "It works now, I only had to wait for a while until all the pods were there again, thanks.")],
        ),
        issue(3, &[("helper", &third)]),
        issue(10, &[("helper", &tenth)]),
    ];
    space.write("issues.jsonl", &issues.concat());
    let row = json!({"source": "o/r#3-mt", "conversations": [
        {"from": "human", "value": "What of number three, which is said to be special?"},
        {"from": "gpt", "value": "Number three is restarted as all the others are, there is nothing special about it."},
    ]});
    space.write("notes.jsonl", &format!("{}{row}\n", rows(&["alpha"])));
    let fix = json!({"id": "fix-3", "supersedes": ["o/r#3"], "instruction": "How is number 3 restarted?",
        "output": "Never restart number 3 by hand; ask the operator, who has a runbook for it."});
    space.write("fixes.jsonl", &format!("{fix}\n"));
    space.write("pipeline.toml", MANIFEST);
    space.done(&["build"]);
    space
}

#[test]
fn a_record_is_followed_to_its_rows_and_models() {
    let space = built();
    let said = space.done(&["lineage", "o/r#1"]);
    assert!(said.out.starts_with("o/r#1: issue in issues:records, "), "{}", said.out);
    assert!(said.out.contains("\n  https://github.com/o/r/issues/1\n"), "{}", said.out);
    assert!(said.out.contains("\n  pairs:rows: 1 row: o/r#1:answer → pairs.jsonl\n"), "{}", said.out);
    assert!(said.out.contains("\n  dataset:train: 1 row: o/r#1:answer\n"), "{}", said.out);
    assert!(
        said.out.contains("\n  merged (export.command): made from 1 row: o/r#1:answer → model.bin\n"),
        "{}",
        said.out
    );
    assert!(said.out.contains("\n  packed (export.command): made from 1 row: o/r#1:answer\n"), "{}", said.out);
    assert!(!said.out.contains("#10") && !said.out.contains("dropped"), "{}", said.out);
}

#[test]
fn a_row_is_followed_back_to_its_record() {
    let space = built();
    let said = space.done(&["lineage", "o/r#10:answer", "--json"]).object("lineage");
    assert_eq!((&said["is"], &said["excluded"]), (&json!("record"), &json!(false)));
    let from = &said["from"][0];
    assert_eq!((&from["id"], &from["node"], &from["kind"]), (&json!("o/r#10"), &json!("issues"), &json!("issue")));
    assert_eq!((&from["unchanged"], &from["url"]), (&json!(true), &json!("https://github.com/o/r/issues/10")));
    assert_eq!(from["comments"], json!([110]));
    assert!(space.done(&["lineage", "o/r#10:answer"]).out.contains("\n    comment 110 by helper\n"));
    let issue = space.done(&["lineage", "o/r#10", "--json"]).object("lineage");
    assert_eq!(issue["held"][0]["digest"], from["digest"]);
    space.edit("issues.jsonl", "number 10 by draining", "number 10 by halting");
    space.done(&["build", "issues"]);
    let said = space.done(&["lineage", "o/r#10:answer"]);
    assert!(said.out.contains("issue in issues, edited since, https://"), "{}", said.out);
}

#[test]
fn a_record_that_gave_no_row_says_why() {
    let space = built();
    let said = space.done(&["lineage", "o/r#2"]);
    assert!(said.out.contains("\ndropped\n  pairs: o/r#2: dropped issue: only the asker commented\n"), "{}", said.out);
    let said = space.done(&["lineage", "o/r#3", "--json"]).object("lineage");
    let why = json!([{"what": "dropped row: superseded by a correction", "count": 1}]);
    let dropped = said["dropped"].as_array().unwrap();
    let issue = dropped.iter().find(|dropped| dropped["id"] == json!("o/r#3")).unwrap();
    assert_eq!((&issue["node"], &issue["reasons"]), (&json!("pairs"), &why), "{said}");
}

#[test]
fn rows_and_corrections_that_name_a_record_count_as_its_own() {
    let space = built();
    let said = space.done(&["lineage", "o/r#3", "--json"]).object("lineage");
    let pairs = said["reached"].as_array().unwrap().iter().find(|reached| reached["node"] == json!("pairs")).unwrap();
    assert_eq!(pairs["ids"], json!(["fix-3"]), "{said}");
}

#[test]
fn a_model_says_how_many_rows_of_which_sources_it_was_made_from() {
    let space = built();
    let said = space.done(&["lineage", "packed", "--rows", "1"]);
    assert!(said.out.contains("\ndataset:train: 4 rows\n"), "{}", said.out);
    assert!(said.out.contains("\n  2 rows of 2 records of issues\n"), "{}", said.out);
    assert!(said.out.contains("\n    alpha\n    …\n"), "{}", said.out);
    let digest = space.done(&["show", "merged", "--json"]).object("show")["outputs"][0]["digest"].clone();
    let by_digest = space.done(&["lineage", &digest.as_str().unwrap()[..12], "--rows", "all", "--json"]);
    let by_digest = by_digest.object("lineage");
    assert_eq!((&by_digest["node"], by_digest["sets"][0]["ids"].as_array().unwrap().len()), (&json!("merged"), 4));
    let by_file = space.done(&["lineage", "model.bin", "--json"]).object("lineage");
    assert_eq!((&by_file["node"], &by_file["sets"][0]["rows"]), (&json!("merged"), &json!(4)));
}

#[test]
fn a_model_is_of_what_it_was_made_from_even_when_the_data_went_on() {
    let space = built();
    space.edit("issues.jsonl", "\"number\":10", "\"number\":11");
    space.done(&["build", "dataset"]);
    let said = space.done(&["lineage", "o/r#10"]);
    assert!(said.out.starts_with("o/r#10 is in no source any more\n"), "{}", said.out);
    assert!(said.out.contains("merged (export.command): made from 1 row: o/r#10:answer"), "{}", said.out);
    assert!(!said.out.contains("dataset:train"), "{}", said.out);
}

#[test]
fn a_misspelt_id_gets_a_suggestion() {
    let space = built();
    space.refused(&["lineage", "o/r#1:anwser"], Exit::Wrong, "did you mean `o/r#1:answer`");
    space.refused(&["lineage", "r/o#10"], Exit::Wrong, "did you mean `o/r#10");
    space.refused(&["lineage", "0123456789abcdef"], Exit::Wrong, "no output has a record `0123456789abcdef`");
    let empty = Space::new();
    empty.refused(&["lineage", "x"], Exit::Wrong, "nothing was built yet");
}
