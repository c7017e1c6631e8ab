//! How long a question may be: with its title, and with the words of its template.

use super::*;

const TITLE: &str = "Requests fail now and then";

fn asked(form: Form, value: Value, settings: &Value) -> (Vec<String>, Vec<String>) {
    let bench = Bench::new();
    let (rows, report) = run(&bench, settings, &[("records", records(&bench, form, &[value]))]);
    (rows.iter().map(|row| row.turns[0].text.clone()).collect(), report)
}

#[test]
fn the_title_of_an_issue_counts_in_the_length_of_its_question() {
    let body = "It began with the last release.\n\nIt ends when the proxy restarts.";
    let value = json!({"number": 1, "title": TITLE, "body": body, "author": "ann",
        "comments": [{"author": "bob", "body": LONG}]});
    let asked = |most: usize| asked(Form::Issues, value.clone(), &json!({"max-question-characters": most}));
    let whole = format!("{TITLE}\n\n{body}");
    let (questions, report) = asked(whole.len());
    assert_eq!((questions, report.len()), (vec![whole.clone()], 1));
    let (questions, report) = asked(whole.len() - 1);
    assert_eq!(questions, [format!("{TITLE}\n\nIt began with the last release.")]);
    let cut = format!("question cut between paragraphs: longer than {} characters: 1", whole.len() - 1);
    assert!(report.contains(&cut), "{report:?}");
    let (questions, report) = asked(TITLE.len() - 1);
    assert_eq!(questions, [TITLE]);
    assert!(
        report.contains(&"question longer than 25 characters: its title cannot be cut: 1".to_owned()),
        "{report:?}"
    );
}

#[test]
fn a_title_without_a_body_may_be_as_long_as_a_question() {
    let value = json!({"number": 1, "title": TITLE, "author": "ann", "comments": [{"author": "bob", "body": LONG}]});
    let (questions, report) = asked(Form::Issues, value, &json!({"max-question-characters": TITLE.len()}));
    assert_eq!((questions, report.len()), (vec![TITLE.to_owned()], 1));
}

#[test]
fn the_title_and_the_template_count_in_the_length_of_a_review() {
    let remark = "Why is the timeout raised here?\n\nThe pool has one, too.";
    let threads = json!([[{"author": "eve", "body": remark}, {"author": "ann", "body": LONG}]]);
    let value =
        json!({"number": 1, "title": "Raise the idle timeout", "author": "ann", "body": "", "review_threads": threads});
    let asked = |most: usize| {
        let settings = json!({"max-question-characters": most, "questions": {"review": "{title}: {remark}"}});
        asked(Form::Pulls, value.clone(), &settings)
    };
    let whole = format!("Raise the idle timeout: {remark}");
    assert_eq!(asked(whole.len()).0, [whole.as_str()]);
    assert_eq!(asked(whole.len() - 1).0, ["Raise the idle timeout: Why is the timeout raised here?"]);
    let (questions, report) = asked(20);
    assert!(questions.is_empty());
    assert!(
        report.contains(&"question longer than 20 characters: its title cannot be cut: 1".to_owned()),
        "{report:?}"
    );
    assert!(
        report.contains(&"dropped review thread: its remark is too short once it is cut: 1".to_owned()),
        "{report:?}"
    );
}

#[test]
fn a_pull_request_whose_title_is_too_long_is_counted() {
    let value = json!({"number": 1, "title": "Raise the idle timeout", "author": "ann", "body": LONG});
    let settings = json!({"max-question-characters": 21, "questions": {"pull": "{title}"}});
    let (questions, report) = asked(Form::Pulls, value, &settings);
    assert_eq!(questions, ["Raise the idle timeout"]);
    assert_eq!(report, ["question longer than 21 characters: its title cannot be cut: 1"]);
}
