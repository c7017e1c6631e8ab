//! Settings that are refused, and what is said of them.

use super::*;

/// Returns path and message of each problem.
fn problems(settings: &Value) -> Vec<(String, String)> {
    let problems = Conversations.canonical(settings).unwrap_err();
    problems.into_iter().map(|problem| (problem.path.join("."), problem.message)).collect()
}

#[track_caller]
fn check(settings: &Value, path: &str, message: &str) {
    assert_eq!(problems(settings), [(path.to_owned(), message.to_owned())]);
}

#[test]
fn every_wrong_setting_is_named_with_its_place() {
    check(&json!({"section-depth": 7}), "section-depth", "`section-depth` is out of its range");
    check(&json!({"max-answer-characters": 0}), "max-answer-characters", "`max-answer-characters` is out of its range");
    check(&json!({"noise": ["fine", "(open"]}), "noise.1", "it is no regular expression");
    check(&json!({"answerers": "maintainer"}), "answerers", "`answerers` cannot be `maintainer`");
    let page = json!({"questions": {"page": ["Explain {title}", "Explain {heading}"]}});
    check(&page, "questions.page.1", "`{heading}` stands for nothing here");
    let page = json!({"questions": {"page": "Explain {heading}"}});
    check(&page, "questions.page", "`{heading}` stands for nothing here");
}

#[test]
fn a_template_is_a_string_or_an_array_of_them() {
    let canonical = |page: Value| Conversations.canonical(&json!({"questions": {"page": page}}));
    assert_eq!(canonical(json!("a")).unwrap()["questions"]["page"], json!(["a"]));
    assert_eq!(canonical(json!(["a", "b"])).unwrap()["questions"]["page"], json!(["a", "b"]));
    let problem = &canonical(json!(7)).unwrap_err()[0];
    assert_eq!(problem.path, ["questions", "page"]);
    assert!(problem.message.contains("a string or an array of strings"), "{}", problem.message);
    assert!(!canonical(json!([])).unwrap_err().is_empty());
}

#[cfg(not(feature = "train"))]
#[test]
fn limits_in_tokens_need_a_program_with_tokenizers() {
    check(&json!({"max-answer-tokens": 10}), "max-answer-tokens", "this program was built without tokenizers");
}

#[cfg(feature = "train")]
#[test]
fn a_limit_in_two_units_is_a_contradiction() {
    let both = json!({"max-answer-tokens": 10, "max-answer-characters": 40});
    check(&both, "max-answer-tokens", "`max-answer-characters` and `max-answer-tokens` limit the same");
    assert!(Conversations.reads_model(&Conversations.canonical(&json!({"max-answer-tokens": 10})).unwrap()));
    assert!(!Conversations.reads_model(&Conversations.canonical(&json!({})).unwrap()));
}
