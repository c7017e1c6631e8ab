//! What servers do instead of answering: nothing of it loses or invents a record.

use std::collections::BTreeSet;

use serde_json::json;
use tunesmith::node::FailureClass;
use tunesmith::store::RecordsRef;

use super::{Project, fault, small_world};
use crate::support::fake_github::{FakeGithub, Fault};
use crate::support::program::{tunesmith, write};

/// A list of issues that starts anew.
const AGAIN: &str = "</repositories/9/issues?state=all&sort=updated&direction=asc&per_page=100&again>; rel=\"next\"";

fn whole() -> RecordsRef {
    let mut project = Project::new(small_world());
    project.fetch();
    project.records()
}

/// Fetches with a fault in the place of each of some requests. Where a run fails the next one goes on, and in the end the
/// records are those of a fetch without faults. Returns how many runs failed, and with what class.
#[track_caller]
fn survives(fault: &Fault) -> Vec<FailureClass> {
    let whole = whole();
    let mut failures = Vec::new();
    for place in [1, 2, 5] {
        let mut project = Project::new(small_world());
        project.github.change(|world| world.faults.insert(place, fault.clone()));
        if let Err(error) = project.try_fetch() {
            failures.push(error.class);
            assert!(error.help.is_some(), "{error:?}");
            project.fetch();
        }
        assert_eq!(project.records(), whole, "fault {fault:?} in the place of request {place}");
    }
    failures
}

#[test]
fn limits_that_name_their_end_are_waited_for() {
    let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")];
    assert_eq!(survives(&fault(403, &used_up, "{}")), []);
    assert_eq!(survives(&fault(403, &[("retry-after", "0")], "{}")), []);
    assert_eq!(survives(&fault(429, &[("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")], "{}")), []);
}

#[test]
fn limits_without_an_end_stop_a_run_that_may_not_wait_and_the_next_goes_on() {
    let secondary = r#"{"message": "You have exceeded a secondary rate limit."}"#;
    assert_eq!(survives(&fault(429, &[], "{}")), [FailureClass::Permanent; 3]);
    assert_eq!(survives(&fault(403, &[("x-ratelimit-remaining", "4000")], secondary)), [FailureClass::Permanent; 3]);
}

#[test]
fn a_build_asks_no_second_time_where_a_limit_lasts_longer_than_it_waits() {
    let github = FakeGithub::start();
    github.change(|world| world.instead.insert("/", fault(429, &[("retry-after", "86400")], "{}")));
    let address = &github.address;
    for source in [
        format!("type = \"github-issues\"\nrepos = [\"o/r\"]\napi = \"{address}\"\nmax-wait = \"1s\"\n"),
        format!("type = \"github-docs\"\nrepos = [\"o/r\"]\napi = \"{address}\"\nmax-wait = \"1s\"\n"),
        format!("type = \"deepwiki\"\nrepos = [\"o/r\", \"o/s\"]\nmcp = \"{address}/mcp\"\nsite = \"{address}\"\n"),
        format!("type = \"website\"\nstart = [\"{address}/docs/\"]\nmax-wait = \"1s\"\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("pipeline.toml", &format!("schema = 1\n[run]\nretries = 2\n[source.x]\n{source}"))]);
        let failed = tunesmith(folder.path(), &["build"]).expect(1);
        assert!(failed.err.contains("limits requests until"), "{}", failed.err);
        let asked = github.log();
        // Two listings may be on their way at once, and a wiki has two servers.
        let different: BTreeSet<&String> = asked.iter().collect();
        assert!(!asked.is_empty() && asked.len() == different.len(), "{source}{asked:?}");
    }
}

#[test]
fn a_refusal_stops_the_run_and_the_next_goes_on() {
    assert_eq!(survives(&fault(403, &[], r#"{"message": "Resource not accessible"}"#)), [FailureClass::Permanent; 3]);
    // After a page, a question that goes on from there is answered in the same run.
    assert!(survives(&fault(422, &[], r#"{"message": "Validation Failed"}"#)).len() < 3);
}

#[test]
fn failures_of_the_server_and_of_the_line_are_tried_again() {
    assert_eq!(survives(&fault(500, &[], "{}")), []);
    assert_eq!(survives(&fault(503, &[("retry-after", "0")], "<html>busy</html>")), []);
    assert_eq!(survives(&fault(0, &[], "")), []);
}

#[test]
fn what_is_no_json_or_only_half_of_it_is_asked_again() {
    assert_eq!(survives(&fault(200, &[], r#"[{"number": 1, "title": "hal"#)), []);
    assert_eq!(survives(&fault(200, &[], "<html>log in</html>")), []);
}

#[test]
fn an_error_in_place_of_a_list_is_no_empty_list() {
    let told = r#"{"message": "Server Error", "documentation_url": "…"}"#;
    assert_eq!(survives(&fault(200, &[], told)), [FailureClass::Permanent; 3]);
    assert_eq!(survives(&fault(200, &[], "null")), [FailureClass::Permanent; 3]);
}

#[test]
fn links_that_lead_astray_stop_the_run() {
    for link in ["<http://127.0.0.1:1/steal>; rel=\"next\"", "<ftp://x>; rel=\"next\""] {
        assert_eq!(survives(&fault(200, &[("link", link)], "[]")), [FailureClass::Permanent; 3]);
    }
}

#[test]
fn an_empty_page_does_not_end_a_list() {
    let mut project = Project::new(small_world());
    let empty = fault(200, &[("link", AGAIN)], "[]");
    project.github.change(|world| world.instead.insert("/repos/o/r/issues?", empty));
    project.fetch();
    assert_eq!(project.records(), whole());
}

#[test]
fn lists_that_go_no_deeper_are_asked_from_where_they_ended() {
    let mut project = Project::new(small_world());
    project.github.change(|world| world.deepest = Some(2));
    project.fetch();
    assert_eq!(project.records(), whole());
    let log = project.github.log();
    assert!(log.iter().any(|path| path.contains("since=")), "{log:#?}");
}

#[test]
fn a_redirect_to_another_host_takes_no_token_along_and_brings_nothing() {
    let other = FakeGithub::start();
    other.change(|world| world.issue(99, 1, json!({"title": "planted"})));
    let mut project = Project::new(small_world());
    let location = format!("{}/repos/o/r/issues?state=all", other.address);
    let away = Fault { status: 302, headers: vec![("location", location)], body: "{}" };
    project.github.change(|world| world.faults.insert(1, away));
    let error = project.try_fetch().unwrap_err();
    assert_eq!(error.code.as_deref(), Some("source::github::elsewhere"));
    assert!(other.tokens().is_empty());
    project.fetch();
    assert_eq!(project.records(), whole(), "what another host said is no record");
}

#[test]
fn a_clock_that_is_wrong_loses_nothing() {
    for date in ["Fri, 01 Jan 2100 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "yesterday"] {
        let mut project = Project::new(small_world());
        project.github.change(|world| world.date = Some(date.to_owned()));
        project.fetch();
        assert_eq!(project.records(), whole());
        project.github.change(|world| {
            world.comment(30, 2, 30, json!({}));
            world.issue(7, 31, json!({}));
        });
        project.fetch();
        assert_eq!((project.comments(2), project.issue(7).is_some()), (vec![30], true), "at {date}");
    }
}

#[test]
fn an_edit_between_two_lists_is_seen_the_next_time() {
    let mut project = Project::new(small_world());
    project.fetch();
    // A comment that was edited after the list of comments was read, and an issue that changed later still and was listed:
    // as if the first fetch had ended between the two.
    project.github.change(|world| {
        world.comment(10, 1, 20, json!({"body": "edited", "user": {"login": "ci[bot]", "type": "Bot"}}));
        world.repo("o/r").unlisted.insert(10);
        world.issue(4, 40, json!({}));
    });
    project.fetch();
    project.github.change(|world| world.repo("o/r").unlisted.clear());
    project.fetch();
    assert_eq!(project.issue(1).unwrap().comments[0].body, "edited");
}
