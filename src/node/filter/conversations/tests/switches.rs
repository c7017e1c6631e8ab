//! Rules that the settings turn off or move.

use super::*;

/// Returns the questions and answers that records give, and the report.
#[track_caller]
fn rows_of(form: Form, values: &[Value], settings: &Value) -> (Vec<[String; 2]>, Vec<String>) {
    let bench = Bench::new();
    let (rows, report) = run(&bench, settings, &[("records", records(&bench, form, values))]);
    let texts = |row: &Conversation| [row.turns[0].text.clone(), row.turns[1].text.clone()];
    (rows.iter().map(texts).collect(), report)
}

fn pull(title: &str) -> Value {
    json!({"number": 1, "title": title, "author": "ann", "body": LONG})
}

fn question(title: &str, body: &str, answerer: &str, answer: &str) -> Value {
    let comments = json!([{"author": answerer, "body": answer}]);
    json!({"number": 1, "title": title, "body": body, "author": "ann", "comments": comments})
}

/// What is left out by default stays with these settings.
#[track_caller]
fn check(form: Form, value: Value, reason: &str, settings: &Value) {
    let values = std::slice::from_ref(&value);
    let (rows, report) = rows_of(form, values, &json!({}));
    assert!(rows.is_empty(), "{rows:?}");
    assert!(report.contains(&reason.to_owned()), "{report:?}");
    assert_eq!(rows_of(form, values, settings).0.len(), 1, "{settings}");
}

#[test]
fn updates_of_dependencies_stay_where_they_are_wanted() {
    let update = pull("Bump serde from 1.0.1 to 1.0.2");
    check(Form::Pulls, update, "dropped pull request: updates a dependency: 1", &json!({"dependency-updates": true}));
}

#[test]
fn the_shortest_title_of_a_pull_request_is_a_setting() {
    check(
        Form::Pulls,
        pull("Fix TLS"),
        "dropped pull request: title too short: 1",
        &json!({"min-title-characters": 7}),
    );
    assert!(rows_of(Form::Pulls, &[pull("Fix TLS")], &json!({"min-title-characters": 8})).0.is_empty());
}

#[test]
fn a_short_title_needs_a_body_unless_the_settings_say_otherwise() {
    let short = || question("TLS?", "It fails.", "bob", LONG);
    let reason = "dropped issue: title and body too short to be a question: 1";
    check(Form::Issues, short(), reason, &json!({"min-title-characters": 4}));
    check(Form::Issues, short(), reason, &json!({"min-question-characters": 9}));
    assert!(rows_of(Form::Issues, &[short()], &json!({"min-question-characters": 10})).0.is_empty());
}

#[test]
fn the_shortest_remark_of_a_review_is_a_setting() {
    let threads = json!([[{"author": "eve", "body": "Why not 20?"}, {"author": "ann", "body": LONG}]]);
    let pull =
        json!({"number": 1, "title": "Raise the idle timeout", "author": "ann", "body": "", "review_threads": threads});
    let reason = "dropped review thread: its remark is too short: 1";
    check(Form::Pulls, pull, reason, &json!({"min-review-characters": 11}));
}

#[test]
fn known_noise_stays_where_it_is_switched_off_and_that_of_the_settings_goes() {
    let answer = format!("Thanks for the report! CLA signed. {LONG}");
    let value = question("Requests fail now and then", "", "bob", &answer);
    let said = |settings: &Value| rows_of(Form::Issues, std::slice::from_ref(&value), settings).0[0][1].clone();
    assert_eq!(said(&json!({"noise": ["cla signed"]})), LONG);
    assert_eq!(said(&json!({"noise": ["cla signed"], "known-noise": false})), format!("Thanks for the report! {LONG}"));
}

#[test]
fn answers_that_ask_back_stay_where_they_are_wanted() {
    let asks = "Can you share the output of linkerd check, and of linkerd viz stat? Which of the policies selects the port? \
                Are the pods meshed?";
    let value = question("Requests fail now and then", "", "bob", asks);
    check(Form::Issues, value, "dropped issue: every answer only asks back: 1", &json!({"asking-answers": true}));
}

#[test]
fn answers_to_others_stay_where_they_are_wanted() {
    let value = question("Requests fail now and then", "", "bob", &format!("@eve {LONG}"));
    let reason = "dropped issue: every answer is to somebody else: 1";
    check(Form::Issues, value, reason, &json!({"answers-to-others": true}));
}

#[test]
fn who_asks_as_well_answers_where_that_is_wanted() {
    let value = question("Requests fail now and then", "", "bob", &format!("We still see it in our cluster. {LONG}"));
    check(Form::Issues, value, "dropped issue: only askers commented: 1", &json!({"fellow-askers": true}));
}

#[test]
fn known_bots_answer_where_they_are_switched_off_and_those_of_the_settings_do_not() {
    for bot in ["k8s-ci-robot", "deploy-bot"] {
        let value = question("Requests fail now and then", "", bot, LONG);
        let reason = "dropped issue: only bots commented: 1";
        check(Form::Issues, value.clone(), reason, &json!({"known-bots": false}));
        let (rows, report) = rows_of(Form::Issues, &[value], &json!({"known-bots": false, "bots": [bot]}));
        assert_eq!((rows.len(), report), (0, vec![reason.to_owned()]));
    }
}
