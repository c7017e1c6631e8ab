//! `source.github-discussions`: GraphQL alone, replies, accepted answers.

use serde_json::{Value, json};

use super::Project;
use crate::support::fake_github::{FakeGithub, time};

fn comment(id: u64, more: Value) -> Value {
    let mut comment = json!({
        "id": format!("DC_{id}"), "databaseId": id, "isAnswer": false, "body": format!("comment {id}"),
        "createdAt": time(id as u32), "updatedAt": time(id as u32), "author": {"__typename": "User", "login": "helper"},
        "authorAssociation": "MEMBER", "reactions": {"totalCount": 0}, "replies": [],
    });
    comment.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    comment
}

fn world() -> FakeGithub {
    let github = FakeGithub::start();
    github.change(|world| {
        world.graphql = true;
        let repo = world.repo("o/r");
        let replies: Vec<Value> = (100..145).map(|id| comment(id, json!({}))).collect();
        let comments = json!([comment(10, json!({"isAnswer": true})), comment(11, json!({ "replies": replies }))]);
        repo.discussion(1, 5, json!({ "comments": comments, "closed": true, "stateReason": "RESOLVED" }));
        repo.discussion(2, 6, json!({"author": null}));
        let many: Vec<Value> = (200..370).map(|id| comment(id, json!({}))).collect();
        repo.discussion(3, 7, json!({ "comments": many, "labels": {"nodes": [{"name": "q"}]} }));
    });
    github
}

fn project() -> Project {
    Project::of("github-discussions", world(), json!({}))
}

#[test]
fn a_discussion_has_all_comments_and_replies_and_its_answer_is_marked() {
    let mut project = project();
    let outcome = project.fetch();
    assert_eq!(outcome.fields["discussions"], 3);
    let first = project.issue(1).unwrap();
    assert_eq!((first.state.as_str(), first.state_reason.as_deref()), ("closed", Some("resolved")));
    assert_eq!(first.comments.len(), 47);
    let accepted: Vec<u64> = first.comments.iter().filter(|it| it.accepted).filter_map(|it| it.id).collect();
    assert_eq!(accepted, [10]);
    assert!(first.comments[2..].iter().all(|reply| reply.reply_to == Some(11)));
    assert_eq!(project.issue(2).unwrap().author.login, None);
    assert_eq!(project.issue(3).unwrap().comments.len(), 170);
    assert_eq!(project.issue(3).unwrap().url.unwrap(), "https://github.com/o/r/discussions/3");
}

#[test]
fn a_refresh_reads_from_the_newest_end_until_it_meets_what_is_known() {
    let mut project = project();
    project.github.change(|world| {
        for number in 10..150 {
            world.repo("o/r").discussion(number, 10 + number as u32, json!({}));
        }
    });
    project.fetch();
    project.github.log();
    project.github.change(|world| {
        world.repo("o/r").discussion(2, 400, json!({"title": "edited"}));
        world.repo("o/r").discussion(150, 401, json!({}));
    });
    project.fetch();
    assert_eq!(project.github.log().len(), 1);
    assert_eq!(project.issue(2).unwrap().title, "edited");
    let incremental = project.records();
    project.bench.previous.clear();
    project.fetch();
    assert_eq!(project.records(), incremental);
    assert_eq!(incremental.count, 144);
}

#[test]
fn a_sweep_takes_out_what_was_deleted_and_finds_what_was_missed() {
    let mut project = project();
    project.more = json!({"sweep": "always"});
    project.fetch();
    project.github.change(|world| {
        world.repo("o/r").delete_discussion(1);
        world.repo("o/r").discussion(4, 0, json!({}));
    });
    project.fetch();
    assert!(project.issue(1).is_none());
    assert_eq!(project.issue(4).unwrap().title, "title 4");
    assert_eq!(project.records().count, 3);
}

#[test]
fn a_sweep_takes_out_comments_and_replies_that_were_deleted_without_a_trace() {
    let comments = |ids: std::ops::Range<u64>| ids.map(|id| comment(id, json!({}))).collect::<Vec<Value>>();
    let answered = |replies: Vec<Value>| json!({"comments": [comment(10, json!({ "replies": replies }))]});
    // More comments than a page has, and a reply to the last one.
    let many = |ids: std::ops::Range<u64>, replies: Vec<Value>| {
        let mut many = comments(ids);
        many.push(comment(400, json!({ "replies": replies })));
        json!({ "comments": many })
    };
    let mut project = project();
    project.more = json!({"sweep": "always"});
    project.github.change(|world| {
        let repo = world.repo("o/r");
        repo.discussion(1, 5, answered(comments(100..145)));
        repo.discussion(2, 6, json!({"comments": comments(20..22)}));
        repo.discussion(3, 7, many(200..370, comments(500..502)));
        // More than a batch of newer ones, so that a refresh reads none of these.
        for number in 10..70 {
            repo.discussion(number, 50 + number as u32, json!({}));
        }
    });
    project.fetch();
    project.github.log();
    project.fetch();
    assert_eq!(project.github.log().len(), 4, "a batch, two pages of numbers, and one of the many comments");
    project.github.change(|world| {
        let repo = world.repo("o/r");
        repo.discussion(1, 5, answered(comments(100..144)));
        repo.discussion(2, 6, json!({"comments": comments(21..22)}));
        repo.discussion(3, 7, many(200..370, comments(501..502)));
    });
    project.fetch();
    assert_eq!(project.issue(1).unwrap().comments.len(), 45);
    assert_eq!(project.comments(2), [21]);
    assert_eq!(project.issue(3).unwrap().comments.len(), 172);
    let swept = project.records();
    project.bench.previous.clear();
    project.fetch();
    assert_eq!(project.records(), swept);
}

#[test]
fn without_a_token_it_says_how_to_get_one_and_asks_nothing() {
    let mut project = project();
    project.bench.secrets.clear();
    let error = project.try_fetch().unwrap_err();
    assert_eq!(error.message, "discussions cannot be read without a token");
    assert!(error.help.unwrap().contains("token = \"env:GITHUB_TOKEN\""));
    assert!(project.github.log().is_empty());
}
