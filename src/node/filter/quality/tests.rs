//! Which rows go, by which rule, and the scores of those that stay.

use serde_json::json;

use super::*;
use crate::node::bench::{Bench, report};
use crate::record::{Record, Turn, write};

fn row(id: &str, question: &str, answer: &str) -> Record {
    let turn = |role, text: &str| Turn { role, text: text.to_owned() };
    Record::Row(Conversation {
        id: id.into(),
        thread: id.into(),
        turns: vec![turn(Role::User, question), turn(Role::Assistant, answer)],
        ..Conversation::default()
    })
}

const GOOD: &str = "The proxy could not reach the identity service, so it never became ready. Restart the control plane and \
    look at the logs of the identity pod: it names the certificate that has expired.";

/// Returns the report on one row.
fn said(settings: &Value, question: &str, answer: &str) -> String {
    let bench = Bench::new();
    let rows = write(&bench.store, [row("r", question, answer)]).unwrap();
    report(&bench.run_on(&Quality, settings, &[("rows", rows)]).unwrap()).join(", ")
}

#[track_caller]
fn dropped(settings: &Value, answer: &str, reason: &str) {
    assert_eq!(said(settings, "Why is the proxy not ready?", answer), format!("dropped row: {reason}: 1"), "{answer}");
}

#[test]
fn an_answer_that_says_something_stays_and_has_a_score() {
    assert_eq!(said(&json!({}), "Why is the proxy not ready?", GOOD), "score 0.8 and more: 1");
    let thin = said(&json!({"min-score": 0.7}), "What?? 1 2 3 4 5", "Perhaps something else is the matter here.");
    assert_eq!(thin, "dropped row: score below `min-score`: 1, score 0.5 and more: 1");
}

#[test]
fn each_rule_drops_what_breaks_it() {
    let none = json!({});
    dropped(&none, "No.", "answer shorter than `min-answer-characters`");
    dropped(&json!({"max-answer-characters": 50}), GOOD, "answer longer than `max-answer-characters`");
    dropped(&json!({"min-question-characters": 50}), GOOD, "question shorter than `min-question-characters`");
    dropped(&json!({"max-question-characters": 20}), GOOD, "question longer than `max-question-characters`");
    dropped(&none, &format!("I'm sorry, but I can't help with that. {GOOD}"), "answer refuses");
    let code = json!({"not-only": ["code"]});
    dropped(&none, &format!("I'm **sorry**, but\nI can't help with that.\n\n{GOOD}"), "answer refuses");
    dropped(&code, "```\nkubectl get pods --all-namespaces --watch\n```", "answer is only code");
    dropped(&none, "> What is the matter with it? It was fine yesterday.\n\nSame.", "answer is only a quotation");
    dropped(&none, "See https://github.com/linkerd/linkerd2/issues/1234.", "answer is only a link");
    dropped(&none, "[all that there is to know about it](https://linkerd.io/2/)", "answer is only a link");
    let framed = "Skip to main content\n\nThe proxy is a small program in Rust.\n\nWas this page helpful?";
    dropped(&none, framed, "answer has more boilerplate than `max-boilerplate`");
    dropped(
        &none,
        "0x00 | 17:22:01 | 10.1.1.1 | == -- ++ | 99.9 % (42/43) || 7",
        "answer has fewer letters than `min-letters`",
    );
    let lines = "It is the same line of text.\n\n".repeat(5);
    dropped(&none, &lines, "answer repeats more lines than `max-repeated-lines`");
    let runs = "the pod is not ready and the pod is not ready and ".repeat(4);
    dropped(&none, &runs, "answer repeats more words than `max-repeated-words`");
    let forbidden = json!({"forbidden-sentences": ["please run linkerd check"]});
    dropped(&forbidden, &format!("Please run `linkerd check`! {GOOD}"), "answer has one of `forbidden-sentences`");
}

#[test]
fn a_rule_that_is_taken_away_drops_nothing() {
    let code = "```\nkubectl get pods --all-namespaces --watch\n```";
    assert!(said(&json!({}), "How do I list them?", code).starts_with("score"));
    let refusal = format!("As an AI language model, I like meshes. {GOOD}");
    assert!(said(&json!({"refusals": "keep"}), "Why is it not ready?", &refusal).starts_with("score"));
    assert!(
        said(&json!({"forbidden-sentences": ["please"]}), "Why not ready?", &format!("Please wait. {GOOD}"))
            .starts_with("score")
    );
}

#[test]
fn settings_out_of_range_are_told() {
    let settings =
        json!({"min-letters": 2, "min-answer-characters": 20_000, "forbidden-sentences": ["("], "not-only": ["cod"]});
    assert_eq!(Quality.canonical(&settings).unwrap_err()[0].help.as_deref(), Some("did you mean `code`?"));
    let settings = json!({"min-letters": 2, "min-answer-characters": 20_000, "forbidden-sentences": ["("]});
    let problems = Quality.canonical(&settings).unwrap_err();
    let found: Vec<(&str, &str)> = problems.iter().map(|problem| (problem.code, problem.path[0].as_str())).collect();
    assert_eq!(
        found,
        [
            ("settings::out_of_range", "min-letters"),
            ("settings::out_of_range", "max-answer-characters"),
            ("settings::bad_pattern", "forbidden-sentences"),
        ]
    );
}

#[test]
fn the_rows_of_version_1_are_pinned() {
    let bench = Bench::new();
    let rows =
        write(&bench.store, [row("a", "Why is it not ready?", GOOD), row("b", "Why is it not ready?", "No.")]).unwrap();
    let outcome = bench.run_on(&Quality, &json!({}), &[("rows", rows)]).unwrap();
    assert_eq!(
        Bench::records(&outcome, "rows").root.to_string(),
        "c17d5f3500aa8e9590dd7fb62f8eef8f3d9fcad6eaa504816238522cb13a4c9c"
    );
}

#[test]
fn an_answer_in_another_language_goes_only_where_languages_are_set() {
    let german = "Der Proxy konnte den Identitätsdienst nicht erreichen und wurde deshalb nie bereit. Starte die \
        Steuerungsebene neu und sieh in die Protokolle des Dienstes: dort steht, welches Zertifikat abgelaufen ist.";
    dropped(&json!({"languages": ["en"]}), german, "answer is in none of `languages`");
    assert!(said(&json!({"languages": ["en", "de"]}), "Why?? Is it so?", german).starts_with("score"));
    assert!(said(&json!({}), "Why?? Is it so?", german).starts_with("score"));
    assert!(said(&json!({"languages": ["en"]}), "Why is the proxy not ready?", GOOD).starts_with("score"));
    let problems = Quality.canonical(&json!({"languages": ["en", "english"]})).unwrap_err();
    assert_eq!((problems[0].code, problems[0].path.join(".")), ("settings::unknown_language", "languages.1".into()));
    // One that is not set is not in the key.
    assert!(Quality.canonical(&json!({})).unwrap().get("languages").is_none());
}
