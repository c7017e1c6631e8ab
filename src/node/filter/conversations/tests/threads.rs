//! Issues, discussions, pull requests and their reviews.

use super::*;
use crate::record::{Author, Comment, Thread};

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
fn who_once_speaks_as_the_asker_is_the_asker_in_every_comment() {
    let comments = [(json!("bob"), LONG), (json!("bob"), "Thanks for the quick reply, it is the same in my cluster.")];
    let (rows, report) = issue(&Value::Null, &comments);
    assert!(rows.is_empty());
    assert_eq!(report, ["dropped issue: only the asker commented: 1"]);
    assert_eq!(issue(&json!("ann"), &comments).0.len(), 1);
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

/// Returns which of the comments of an issue by `ann` is its answer, and the report. A comment is `LONG` with a word.
#[track_caller]
fn chosen(settings: &Value, comments: &Value) -> (String, Vec<String>) {
    let bench = Bench::new();
    let value = json!({"number": 1, "title": "Requests fail now and then", "author": "ann", "comments": comments});
    let (rows, report) = run(&bench, settings, &[("issues", issues(&bench, &[value]))]);
    (rows.first().map(|row| row.turns[1].text.clone()).unwrap_or_default(), report)
}

#[test]
fn what_the_asker_confirms_comes_before_a_maintainer() {
    let comments = |thanks: &str| {
        json!([
            {"author": "bob", "body": format!("First. {LONG}")},
            {"author": "ann", "body": thanks},
            {"author": "eve", "author_association": "MEMBER", "body": format!("Second. {LONG}")},
        ])
    };
    let (answer, report) = chosen(&json!({}), &comments("Thank you, that worked!"));
    assert!(answer.starts_with("First."));
    assert_eq!(report, ["answers confirmed by the asker: 1"]);
    let (answer, report) = chosen(&json!({}), &comments("That worked, but only for an hour."));
    assert!(answer.starts_with("Second."));
    assert_eq!(report, ["answers by a maintainer: 1"]);
}

#[test]
fn what_says_how_it_was_fixed_comes_before_a_longer_answer() {
    let comments = json!([
        {"author": "bob", "body": format!("{LONG}\n\n{LONG}")},
        {"author": "eve", "body": format!("This was fixed by #12. {LONG}")},
    ]);
    let (answer, report) = chosen(&json!({}), &comments);
    assert!(answer.starts_with("This was fixed by #12."));
    assert_eq!(report, ["answers that say what fixed it: 1"]);
}

#[test]
fn logs_and_quotes_alone_are_no_answer() {
    let logs = "level=error msg=\"Failed to send an address update to a listener of the endpoints\"\n".repeat(5);
    let comments = json!([{"author": "bob", "body": format!("There are a lot of these:\n```\n{logs}```")}]);
    assert_eq!(chosen(&json!({}), &comments).1, ["dropped issue: every answer is too short: 1"]);
}

#[test]
fn settings_say_who_may_answer() {
    let comments = json!([
        {"author": "bob", "body": LONG},
        {"author": "ann", "body": format!("It turned out that the port was wrong. {LONG}")},
    ]);
    let only_maintainers = json!({"answerers": "maintainers"});
    assert_eq!(chosen(&only_maintainers, &comments).1, ["dropped issue: no maintainer answered: 1"]);
    let own = json!({"answerers": "maintainers", "own-solutions": true});
    assert!(chosen(&own, &comments).0.starts_with("It turned out"));
    let own = json!({"own-solutions": true});
    assert_eq!(chosen(&own, &comments).0, LONG);
}

#[test]
fn labels_and_sentences_of_the_settings_are_skipped() {
    let bench = Bench::new();
    let comments = json!([{"author": "bob", "body": format!("CLA signed. {LONG}")}]);
    let value = |label: &str| json!({"number": 1, "title": "Requests fail now and then", "author": "ann", "labels": [label], "comments": comments});
    let settings = json!({"noise": ["cla signed"]});
    let (rows, _) = run(&bench, &settings, &[("issues", issues(&bench, &[value("bug")]))]);
    assert_eq!(rows[0].turns[1].text, LONG);
    let (rows, report) = run(&bench, &settings, &[("issues", issues(&bench, &[value("Spam")]))]);
    assert!(rows.is_empty());
    assert_eq!(report, ["dropped issue: one of its labels is in skip-labels: 1"]);
}

fn comment(id: u64, login: &str, reply_to: Option<u64>, body: &str) -> Comment {
    let author = Author { login: Some(login.into()), ..Author::default() };
    Comment { id: Some(id), author, reply_to, body: body.into(), ..Comment::default() }
}

#[test]
fn a_discussion_is_answered_by_what_was_marked_and_goes_on_in_its_replies() {
    let bench = Bench::new();
    let mut marked = comment(2, "bob", None, &format!("Marked. {LONG}"));
    marked.accepted = true;
    let comments = vec![
        comment(1, "eve", None, &format!("Longer. {LONG}\n\n{LONG}")),
        marked,
        comment(3, "ann", Some(1), "And what of the other way?"),
        comment(4, "ann", Some(2), "Does it hold for UDP?"),
        comment(5, "bob", Some(2), &format!("No. {LONG}")),
        comment(6, "eve", Some(1), &format!("The other. {LONG}")),
    ];
    let author = Author { login: Some("ann".into()), ..Author::default() };
    let title = "How long are idle connections kept?".to_owned();
    let thread = Thread { id: "o/r#1".into(), title: title.clone(), author, comments, ..Thread::default() };
    let set = write(&bench.store, [Record::Discussion(thread)]).unwrap();
    let (rows, report) = run(&bench, &json!({}), &[("discussions", set)]);
    let texts = |row: &Conversation| row.turns.iter().map(|turn| turn.text.clone()).collect::<Vec<_>>();
    let marked = format!("Marked. {LONG}");
    assert_eq!(texts(&rows[0]), [title.clone(), marked.clone()]);
    assert_eq!(texts(&rows[1]), [title, marked, "Does it hold for UDP?".into(), format!("No. {LONG}")]);
    assert_eq!(report, ["answers marked as the answer: 1"]);
}

#[test]
fn a_dialogue_ends_before_it_is_too_long() {
    let bench = Bench::new();
    let comments = json!([
        {"author": "bob", "body": LONG},
        {"author": "ann", "body": "And then?"},
        {"author": "bob", "body": format!("Then. {LONG}")},
        {"author": "ann", "body": "And after that?"},
        {"author": "bob", "body": format!("At last. {LONG}")},
    ]);
    let value = json!({"number": 1, "title": "Requests fail now and then", "author": "ann", "comments": comments});
    let turns = |settings: &Value| {
        let (rows, _) = run(&bench, settings, &[("issues", issues(&bench, std::slice::from_ref(&value)))]);
        rows.get(1).map_or(0, |row| row.turns.len())
    };
    assert_eq!(turns(&json!({})), 6);
    assert_eq!(turns(&json!({"max-conversation-characters": 500})), 4);
    assert_eq!(turns(&json!({"dialogues": false})), 0);
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
    let settings = json!({"questions": {"pull": "Explain this pull request: {title}"}});
    let (rows, report) = run(&bench, &settings, &[("pulls", set)]);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].turns[0].text, "Explain this pull request: proxy: Raise the idle timeout");
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
fn two_pull_requests_with_the_same_words_are_one_row() {
    let bench = Bench::new();
    let pull =
        |number: u32| json!({"number": number, "title": "Raise the idle timeout", "author": "ann", "body": LONG});
    let set = records(&bench, Form::Pulls, &(1..9).map(pull).collect::<Vec<_>>());
    let (rows, report) = run(&bench, &json!({}), &[("pulls", set)]);
    assert_eq!((rows.len(), report), (1, vec!["dropped row: exact duplicate: 7".to_owned()]));
}

#[test]
fn a_review_thread_becomes_a_conversation_where_a_remark_was_answered() {
    let bench = Bench::new();
    let remark = "Why is the timeout raised here and not in the pool?";
    let reviews = json!([
        [
            {"id": 7, "author": "eve", "body": remark},
            {"id": 8, "author": "ann", "body": LONG},
            {"id": 9, "author": "eve", "body": "Thanks!"},
        ],
        [{"id": 10, "author": "eve", "body": remark}, {"id": 11, "author": "ann", "body": "Done."}],
        [{"id": 12, "author": "eve", "body": "nit"}, {"id": 13, "author": "ann", "body": LONG}],
        [{"id": 14, "author": "eve", "body": remark}],
        [{"id": 15, "author": null, "body": remark}, {"id": 16, "author": "ann", "body": LONG}],
    ]);
    let pull =
        json!({"number": 1, "title": "Raise the idle timeout", "author": "ann", "body": "", "review_threads": reviews});
    let (rows, report) =
        run(&bench, &json!({}), &[("pulls", records(&bench, Form::Pulls, std::slice::from_ref(&pull)))]);
    let found: Vec<(&str, &str, &str)> =
        rows.iter().map(|row| (row.id.as_str(), row.turns[0].text.as_str(), row.turns[1].text.as_str())).collect();
    let question = format!("In a review of \"Raise the idle timeout\", somebody remarks:\n\n{remark}");
    assert_eq!(found, [("o/r#1:review-7", question.as_str(), LONG)]);
    assert_eq!(
        report,
        [
            "dropped pull request: body too short: 1",
            "dropped review thread: its remark is too short: 1",
            "dropped review thread: no answer explains something: 1",
            "dropped review thread: nobody answered: 1",
            "dropped review thread: who speaks is not known: 1",
        ]
    );
    let settings = json!({"merged-only": true});
    let (_, report) = run(&bench, &settings, &[("pulls", records(&bench, Form::Pulls, std::slice::from_ref(&pull)))]);
    assert_eq!(report, ["dropped pull request: not merged: 1"]);
}

#[test]
fn a_row_names_the_comments_whose_words_it_has() {
    let bench = Bench::new();
    let comments = json!([
        {"id": 11, "author": "bob", "body": LONG},
        {"id": 12, "author": "ann", "body": "Is that a setting of the proxy or one of the application?"},
        {"id": 13, "author": "ci[bot]", "body": "A build failed."},
        {"id": 14, "author": "bob", "body": format!("Of the application. {LONG}")},
        {"id": 15, "author": "ann", "body": "Then I will look for it there."},
    ]);
    let value = json!({"number": 1, "title": "Requests fail now and then", "author": "ann", "comments": comments});
    let (rows, _) = run(&bench, &json!({}), &[("issues", issues(&bench, &[value]))]);
    let cited: Vec<_> = rows.iter().map(|row| (row.id.as_str(), row.sources[0].comments.as_slice())).collect();
    assert_eq!(cited, [("o/r#1:answer", &[14][..]), ("o/r#1:thread", &[11, 12, 14][..])]);
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

#[test]
fn an_answer_that_is_cut_still_says_something() {
    let bench = Bench::new();
    let fence = format!("```\n{}\n```", "x".repeat(300));
    let pull = |number: u64, body: &str| json!({"number": number, "title": "A title that is long enough", "author": "ann", "body": body});
    let pulls = [
        pull(1, &format!("{LONG}\n\n## Proof\n\nThis is what it says:\n\n{fence}")),
        pull(2, &format!("Fixes #1\n\n{fence}")),
    ];
    let inputs = [("pulls", records(&bench, Form::Pulls, &pulls))];
    let (rows, report) = run(&bench, &json!({"max-answer-characters": 250}), &inputs);
    assert_eq!(rows.iter().map(|row| row.turns[1].text.as_str()).collect::<Vec<_>>(), [LONG]);
    assert!(report.contains(&"dropped pull request: body too short once it is cut: 1".to_owned()), "{report:?}");
}

#[test]
fn what_is_said_to_somebody_else_is_no_answer() {
    let to_carol = format!("@carol {LONG}");
    let (rows, report) = issue(&json!("ann"), &[(json!("bob"), &to_carol)]);
    assert!(rows.is_empty());
    assert_eq!(report, ["dropped issue: every answer is to somebody else: 1"]);
    let (rows, _) = issue(&json!("ann"), &[(json!("bob"), &to_carol), (json!("dan"), LONG)]);
    assert_eq!(rows[0][2], format!("Assistant: {LONG}"));
    // The asker says that it was right.
    let (rows, _) = issue(&json!("ann"), &[(json!("bob"), &to_carol), (json!("ann"), "Thanks, that worked!")]);
    assert_eq!(rows.len(), 1);
}

#[test]
fn who_says_how_something_works_answers() {
    let helps =
        format!("Set the flag; this works in every release since 2.9. {LONG} Let me know if that works for you.");
    let (rows, _) = issue(&json!("ann"), &[(json!("bob"), &helps)]);
    assert_eq!(rows.len(), 1);
}
