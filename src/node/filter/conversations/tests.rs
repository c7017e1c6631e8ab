//! Conversations from records of each kind.

use super::*;
use crate::node::testing::{Bench, report};
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
    let outcome = bench.run(&Conversations, settings, inputs).unwrap();
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
fn the_asker_and_bots_never_answer() {
    let (rows, report) = issue(&json!("ann"), &[(json!("ann"), LONG), (json!("stale[bot]"), LONG)]);
    assert!(rows.is_empty());
    assert_eq!(report, ["dropped issue: only the asker commented: 1"]);
}

#[test]
fn a_maintainer_comes_before_a_longer_answer_of_a_passer_by() {
    let bench = Bench::new();
    let comments = json!([
        {"author": "bob", "author_association": "NONE", "body": format!("{LONG} {LONG} {LONG}")},
        {"author": "eve", "author_association": "MEMBER", "body": format!("Yes. {LONG}")},
    ]);
    let value = json!({"number": 7, "title": "Requests fail now and then", "author": "ann", "comments": comments});
    let (rows, _) = run(&bench, &json!({"system": "Be brief."}), &[("issues", issues(&bench, &[value]))]);
    let turns: Vec<(Role, &str)> = rows[0].turns.iter().map(|turn| (turn.role, turn.text.as_str())).collect();
    let answer = format!("Yes. {LONG}");
    assert_eq!(
        turns,
        [(Role::System, "Be brief."), (Role::User, "Requests fail now and then"), (Role::Assistant, answer.as_str())]
    );
    assert_eq!((rows[0].id.as_str(), rows[0].thread.as_str()), ("o/r#7:answer", "o/r#7"));
    assert_eq!(rows[0].sources[0].id, "o/r#7");
}

#[test]
fn unknown_authors_are_told_apart_by_their_words_or_not_at_all() {
    let (rows, report) = issue(&Value::Null, &[(Value::Null, LONG)]);
    assert!(rows.is_empty());
    assert_eq!(report, ["dropped issue: answer's author cannot be told from the asker: 1"]);
    let (rows, _) = issue(&Value::Null, &[(json!("bob"), LONG)]);
    assert_eq!(rows.len(), 1);
    let asking = format!("In my cluster it is the same. {LONG}");
    let (rows, report) = issue(&Value::Null, &[(json!("bob"), &asking)]);
    assert!(rows.is_empty());
    assert_eq!(report, ["dropped issue: only the asker commented: 1"]);
}

#[test]
fn a_dialogue_is_in_order_of_time_with_roles_by_speaker_and_ends_on_an_answer() {
    let (rows, _) = issue(
        &json!("ann"),
        &[
            (json!("bob"), "Which version do you run?"),
            (json!("ann"), "It is 2.9."),
            (json!("ann"), "On Kubernetes 1.19."),
            (json!("bob"), LONG),
            (json!("ann"), "Thanks, that worked!"),
            (json!("ci-bot"), "This issue has been automatically closed."),
        ],
    );
    assert_eq!(
        rows[1],
        [
            "o/r#1:thread".to_owned(),
            "User: Requests fail now and then".to_owned(),
            "Assistant: Which version do you run?".to_owned(),
            "User: It is 2.9.\n\nOn Kubernetes 1.19.".to_owned(),
            format!("Assistant: {LONG}"),
        ]
    );
}

#[test]
fn noise_goes_by_the_sentence_and_the_rest_of_the_answer_stays() {
    let body =
        format!("@ann Thanks for the report! {LONG} Please reopen if it comes back!\n/close\n\n```\n/close\n```");
    let (rows, _) = issue(&json!("ann"), &[(json!("bob"), &body)]);
    assert_eq!(rows[0][2], format!("Assistant: {LONG}\n\n```\n/close\n```"));
    let (_, report) =
        issue(&json!("ann"), &[(json!("bob"), "Closing this as a duplicate of #12, thanks for the report.")]);
    assert_eq!(report, ["dropped issue: every answer is too short: 1"]);
}

#[test]
fn issues_without_a_question_or_an_answer_are_counted_by_reason() {
    let bench = Bench::new();
    let set = issues(
        &bench,
        &[
            json!({"number": 1, "title": ".", "body": "", "comments": []}),
            json!({"number": 2, "title": "Document routing plan", "author": "a", "comments": []}),
            json!({"number": 3, "title": "There is a problem", "author": "a", "comments": [{"author": "b", "body": "lol"}]}),
            json!({"number": 4, "title": "There is a problem", "author": "renovate[bot]", "comments": []}),
            json!({"number": 5, "title": "There is a problem", "author": "a", "comments": [{"author": "b", "body":
                "Could you run the check command and post the output here? Which version of the control plane do you run, and on which provider?"}]}),
        ],
    );
    let (rows, report) = run(&bench, &json!({}), &[("issues", set)]);
    assert!(rows.is_empty());
    assert_eq!(
        report,
        [
            "dropped issue: every answer is too short: 1",
            "dropped issue: every answer only asks back: 1",
            "dropped issue: no comments: 1",
            "dropped issue: opened by a bot: 1",
            "dropped issue: title and body too short to be a question: 1",
        ]
    );
}

#[test]
fn pull_requests_give_their_motivation_without_sign_offs() {
    let bench = Bench::new();
    let body = format!("<!-- template -->\r\n{LONG}\r\n\r\n\r\nSigned-off-by: Ann <a@b.c>\r\n");
    let set = records(
        &bench,
        Form::Pulls,
        &[
            json!({"number": 1, "title": "proxy: Raise the idle timeout (#1)", "author": "ann", "body": body}),
            json!({"number": 2, "title": "Bump serde from 1.0.1 to 1.0.2", "author": "ann", "body": body}),
            json!({"number": 3, "title": "build(deps): bump serde", "author": "dependabot[bot]", "body": body}),
            json!({"number": 4, "title": "Fix a typo in the README", "author": "ann", "body": "Signed-off-by: Ann"}),
        ],
    );
    let (rows, report) = run(&bench, &json!({}), &[("pulls", set)]);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0].turns[0].text,
        "Explain the motivation and changes of this pull request: proxy: Raise the idle timeout"
    );
    assert_eq!(rows[0].turns[1].text, LONG);
    assert_eq!(
        report,
        [
            "dropped pull request: body too short: 1",
            "dropped pull request: by a bot: 1",
            "dropped pull request: updates a dependency: 1",
        ]
    );
}

#[test]
fn documents_become_sections_at_headings_outside_of_code() {
    let bench = Bench::new();
    let content = format!(
        "Intro. {LONG}\n\n## Installing the CLI\n\n{LONG}\n\n```sh\n# no heading\ncurl x\n```\n\n### Why is it slow?\n\n\
         See [the guide](../guide/) and [the site][s]. {LONG}\n\n## Short\n\nNo.\n\n[s]: https://example.org/\n"
    );
    let set = records(&bench, Form::Documents, &[json!({"path": "docs/a.md", "title": "The CLI", "content": content})]);
    let (rows, report) = run(&bench, &json!({}), &[("docs", set)]);
    let questions: Vec<(&str, &str)> = rows.iter().map(|row| (row.id.as_str(), row.turns[0].text.as_str())).collect();
    assert_eq!(
        questions,
        [
            ("o/r/docs/a.md#installing-the-cli", "How do I go about installing the CLI? (\"The CLI\")"),
            ("o/r/docs/a.md#why-is-it-slow", "Why is it slow?"),
            ("o/r/docs/a.md:page", "Explain \"The CLI\"."),
        ]
    );
    assert_eq!(rows[0].turns[1].text, format!("{LONG}\n\n```sh\n# no heading\ncurl x\n```"));
    assert_eq!(rows[1].turns[1].text, format!("See the guide and [the site](https://example.org/). {LONG}"));
    assert_eq!(report, ["dropped section: too short: 1"]);
}

#[test]
fn long_sections_are_cut_between_blocks_and_never_inside_a_fence() {
    let bench = Bench::new();
    let fence = format!("```\n{}\n\n{}\n```", "x".repeat(150), "y".repeat(150));
    let content = format!("## A section\n\n{LONG}\n\n{fence}\n\n{LONG}");
    let set = records(&bench, Form::Documents, &[json!({"path": "a.md", "title": "T", "content": content})]);
    let (rows, _) = run(&bench, &json!({"max-answer-characters": 330}), &[("docs", set)]);
    let answers: Vec<&str> = rows.iter().map(|row| row.turns[1].text.as_str()).collect();
    assert_eq!(answers, [LONG, &fence, LONG]);
    assert!(rows[2].turns[0].text.ends_with("(part 3 of 3)"));
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
        correction(r#"{"id":"fix-2","instruction":"Where does it live?","output":"Here.","supersedes":["b","o/r#9"]}"#),
    ];
    let corrections = write(&bench.store, corrections).unwrap();
    let (rows, report) = run(&bench, &json!({}), &[("rows", rows), ("corrections", corrections)]);
    let left: Vec<(&str, &str)> = rows.iter().map(|row| (row.id.as_str(), row.turns[1].text.as_str())).collect();
    assert_eq!(left, [("c", "Ann."), ("fix-1", "A tool."), ("fix-2", "Here.")]);
    assert_eq!(report, ["dropped row: exact duplicate: 1", "dropped row: superseded by a correction: 3"]);
}

#[test]
fn template_markers_lose_their_power_and_are_counted() {
    let bench = Bench::new();
    let text = "say <|im_end|><|eot_id|> [INST] </s> <start_of_turn> <div> a < b";
    let set = records(&bench, Form::Rows, &[json!({"instruction": "q", "output": text, "source": "x"})]);
    let (rows, report) = run(&bench, &json!({}), &[("rows", set)]);
    let answer = &rows[0].turns[1].text;
    for marker in ["<|im_end|>", "<|eot_id|>", "[INST]", "</s>", "<start_of_turn>"] {
        assert!(!answer.contains(marker), "{marker} in {answer}");
    }
    assert!(answer.ends_with(" <div> a < b"));
    assert_eq!(answer.replace('\u{200d}', ""), text);
    assert_eq!(report, ["template markers made powerless: 5"]);
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
    bench.events.lock().unwrap().clear();
    let second = run(&bench, &json!({}), &[("issues", issues(&bench, &all))]);
    let changed: Vec<&str> =
        first.0.iter().zip(&second.0).filter(|(a, b)| a != b).map(|(a, _)| a.id.as_str()).collect();
    assert_eq!(changed, ["o/r#77:answer"]);
    let said = format!("{:?}", bench.events.lock().unwrap());
    assert!(said.contains("1 of 2000 records new or changed"), "{said}");
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
            bench.run(&Conversations, &json!({}), &[("rows", rows), ("corrections", fixes)]).unwrap()
        });
        assert_eq!(outcomes[0], outcomes[1], "after edit {edit}");
        assert!(outcomes[0].report.iter().any(|count| count.what.contains("duplicate")));
    }
}

#[test]
fn the_rows_of_version_1_are_pinned() {
    let bench = Bench::new();
    let comments = json!([{"author": "bob", "body": LONG}]);
    let issue = json!({"number": 1, "title": "Requests fail now and then", "author": "ann", "comments": comments});
    let document =
        json!({"path": "a.md", "title": "T", "content": format!("# T\n\n{LONG}\n\n## Usage\n\n{LONG} Twice.")});
    let inputs = [("issues", issues(&bench, &[issue])), ("docs", records(&bench, Form::Documents, &[document]))];
    let outcome = bench.run(&Conversations, &json!({}), &inputs).unwrap();
    assert_eq!(
        Bench::records(&outcome, "rows").root.to_string(),
        "466722ca2f69dca363ea90b24f10627f8e5569313b986650ecd7ab0f8275d86e"
    );
}

#[test]
fn what_was_marked_as_the_answer_of_a_discussion_comes_before_a_maintainers() {
    let bench = Bench::new();
    let comments = json!([
        {"author": "eve", "author_association": "MEMBER", "body": format!("{LONG} {LONG}")},
        {"author": "bob", "author_association": "NONE", "body": format!("Yes. {LONG}")},
    ]);
    let value = json!({"number": 7, "title": "Requests fail now and then", "author": "ann", "comments": comments});
    let Record::Issue(mut thread) = import(Form::Issues, value.to_string().as_bytes(), Some("o/r")).unwrap() else {
        panic!("no issue");
    };
    thread.comments[1].accepted = true;
    let records = write(&bench.store, [Record::Discussion(thread)]).unwrap();
    let (rows, _) = run(&bench, &json!({}), &[("discussions", records)]);
    assert!(rows[0].turns[1].text.starts_with("Yes."), "{rows:?}");
}
