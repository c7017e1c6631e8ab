//! `source.github-issues` by GraphQL: the same records as by REST, whatever the server does.

use serde_json::{Value, json};

use super::{Project, fault, small_world};
use crate::support::fake_github::{FakeGithub, TooMuch, time};

/// Issues of all sorts: programs, people who are gone, states, labels out of order, and one with very many comments.
fn many_sorts() -> FakeGithub {
    let github = small_world();
    github.change(|world| {
        world.graphql = true;
        world.issue(7, 20, json!({"user": {"login": "renovate[bot]", "type": "Bot"}, "body": null}));
        world.issue(
            8,
            21,
            json!({"user": {"login": "ghost", "type": "User"}, "labels": [{"name": "z"}, {"name": "a"}]}),
        );
        world.issue(9, 22, json!({"state": "closed", "state_reason": "not_planned", "closed_at": time(22)}));
        for id in 200..430 {
            world.comment(id, 9, 23, json!({}));
        }
        world.comment(500, 7, 24, json!({"id": 2_900_000_000_u64, "user": {"login": "ghost", "type": "User"}}));
    });
    github
}

fn by(github: FakeGithub, via: &str) -> Project {
    Project::of("github-issues", github, json!({ "via": via }))
}

#[test]
fn both_ways_give_the_same_bytes() {
    let mut rest = by(many_sorts(), "rest");
    rest.fetch();
    let mut graphql = by(many_sorts(), "graphql");
    graphql.fetch();
    assert_eq!(graphql.records(), rest.records());
    assert_eq!(graphql.issue(9).unwrap().comments.len(), 230);
    assert_eq!(graphql.issue(7).unwrap().author.login.as_deref(), Some("renovate[bot]"));
    // How much there is, one batch, and what did not fit into it of one issue.
    assert_eq!(graphql.github.log(), ["/graphql"; 4]);
}

#[test]
fn a_first_fetch_with_a_token_goes_the_cheaper_way_and_a_refresh_by_rest() {
    let mut project = by(many_sorts(), "auto");
    project.fetch();
    assert_eq!(project.github.log(), ["/graphql"; 4]);
    project.github.change(|world| world.comment(12, 3, 30, json!({"body": "edited"})));
    project.fetch();
    let log = project.github.log();
    assert!(log.iter().all(|path| path.contains("since=")), "{log:#?}");
    assert_eq!(project.issue(3).unwrap().comments[0].body, "edited");

    let mut without = by(many_sorts(), "auto");
    without.bench.secrets.clear();
    without.fetch();
    assert!(without.github.log().iter().all(|path| path != "/graphql"));
    assert!(without.github.tokens().is_empty());
}

#[test]
fn a_refresh_by_graphql_gives_what_one_by_rest_gives() {
    let edit = |github: &FakeGithub| {
        github.change(|world| {
            world.issue(2, 40, json!({"title": "again"}));
            world.comment(600, 4, 41, json!({}));
            world.delete_comment(10);
            world.issue(1, 42, json!({}));
        });
    };
    let records = ["rest", "graphql"].map(|via| {
        let mut project = by(many_sorts(), via);
        project.fetch();
        edit(&project.github);
        project.fetch();
        (project.comments(1), project.records())
    });
    assert_eq!(records[0], records[1]);
    assert_eq!(records[0].0, [11]);
}

#[test]
fn a_batch_that_is_too_much_is_asked_again_in_parts() {
    for fate in [TooMuch::Fails, TooMuch::HasGaps] {
        let github = many_sorts();
        github.change(|world| world.most = Some((3, fate)));
        let mut project = by(github, "graphql");
        project.fetch();
        let mut whole = by(many_sorts(), "rest");
        whole.fetch();
        assert_eq!(project.records(), whole.records(), "{fate:?}");
    }
}

#[test]
fn a_limit_inside_a_success_is_waited_for() {
    let github = many_sorts();
    let told = r#"{"data": null, "errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}"#;
    let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")];
    github.change(|world| world.faults.insert(2, fault(200, &headers, told)));
    let mut project = by(github, "graphql");
    project.fetch();
    let said = project.bench.said();
    assert!(said[0].contains("limits requests: waiting 1s"), "{said:?}");
    assert_eq!(project.records().count, 8);
}

#[test]
fn a_success_with_an_error_in_it_is_no_success() {
    for (told, help) in [
        (r#"{"data": {"repository": null}, "errors": [{"type": "NOT_FOUND", "message": "no such"}]}"#, "misspelt"),
        (r#"{"data": {"repository": null}, "errors": [{"type": "FORBIDDEN", "message": "SAML"}]}"#, "allowed to do"),
        (r#"{"data": {"repository": null}}"#, "goes on where it stopped"),
    ] {
        let github = many_sorts();
        github.change(|world| world.faults.insert(1, fault(200, &[], told)));
        let error = by(github, "graphql").try_fetch().unwrap_err();
        assert_eq!(error.code.as_deref(), Some("source::github::graphql"), "{error:?}");
        assert!(error.help.as_deref().unwrap().contains(help), "{error:?}");
    }
}

#[test]
fn a_server_without_graphql_is_asked_by_rest() {
    let github = many_sorts();
    github.change(|world| world.graphql = false);
    let mut project = by(github, "auto");
    project.fetch();
    assert_eq!(project.records().count, 8);
    // One that knows GraphQL, but not all that is asked for.
    let told = r#"{"errors": [{"message": "no such field", "extensions": {"code": "undefinedField"}}]}"#;
    let github = many_sorts();
    github.change(|world| world.faults.insert(2, fault(200, &[], told)));
    let mut older = by(github, "auto");
    older.fetch();
    assert_eq!(older.records(), project.records());
    assert!(older.bench.said()[0].contains("asked by REST"));
}

#[test]
fn a_fetch_by_graphql_that_fails_goes_on_from_its_last_batch() {
    let github = many_sorts();
    github.change(|world| {
        world.most = Some((3, TooMuch::Fails));
        for request in 12..40 {
            world.faults.insert(request, fault(403, &[], r#"{"message": "no"}"#));
        }
    });
    let mut project = by(github, "graphql");
    project.try_fetch().unwrap_err();
    let first: Vec<u64> = project.github.log_with_ids().into_iter().flat_map(|(_, ids)| ids).collect();
    assert!(!first.is_empty());
    project.github.change(|world| world.faults.clear());
    project.fetch();
    let second: Vec<u64> = project.github.log_with_ids().into_iter().flat_map(|(_, ids)| ids).collect();
    let again: Vec<&u64> = first.iter().filter(|id| second.contains(id)).collect();
    assert!(again.len() <= 3, "{first:?}, then {second:?}");
    let mut whole = by(many_sorts(), "rest");
    whole.fetch();
    assert_eq!(project.records(), whole.records());
}

#[test]
fn graphql_without_a_token_is_refused_with_what_to_do() {
    let kind = tunesmith::node::find(tunesmith::node::Family::Source, "github-issues").unwrap();
    let settings: Value = json!({"repos": ["o/r"], "via": "graphql"});
    assert_eq!(kind.canonical(&settings).unwrap_err()[0].code, "settings::needs_token");
    let mut project = by(many_sorts(), "graphql");
    project.bench.secrets.clear();
    let error = project.try_fetch().unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::github::needs_token"));
    assert!(project.github.log().is_empty());
}

#[test]
fn a_list_that_leads_in_a_circle_is_left() {
    let github = many_sorts();
    let circle = r#"{"data": {"repository": {"pulls": {}, "newest": {}, "threads": {"totalCount": 1,
        "pageInfo": {"hasNextPage": true, "endCursor": "x"}, "nodes": []}}}}"#;
    github.change(|world| world.instead.insert("/graphql", fault(200, &[], circle)));
    let mut project = by(github, "graphql");
    let error = project.try_fetch().unwrap_err();
    assert!(error.message.contains("leads back to where it was"), "{error:?}");
    assert_eq!(project.github.log().len(), 3);
}
