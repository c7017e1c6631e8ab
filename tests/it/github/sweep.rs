//! What no cursor can see: threads that were deleted, moved, or missed.

use serde_json::json;

use super::{Project, counts, small_world};

fn project(sweep: &str) -> Project {
    Project::of("github-issues", small_world(), json!({"via": "rest", "sweep": sweep}))
}

/// Deletes one issue, and adds one that no question by time finds.
fn behind_the_cursor(project: &Project) {
    project.github.change(|world| {
        world.delete_issue(5);
        world.issue(8, 1, json!({}));
        world.repo("o/r").delete_comment(12);
    });
    project.github.log();
}

#[test]
fn a_sweep_takes_out_what_is_gone_and_finds_what_was_missed() {
    for graphql in [false, true] {
        let mut project = project("always");
        project.fetch();
        project.github.change(|world| world.graphql = graphql);
        behind_the_cursor(&project);
        let outcome = project.fetch();
        assert!(counts(&outcome).contains(&("issues that are gone upstream", 1)), "{outcome:?}");
        assert!(project.issue(5).is_none());
        assert_eq!(project.issue(8).unwrap().title, "title 8");
        assert_eq!(project.comments(3), [] as [u64; 0], "a comment that was deleted without a trace");
        assert!(project.github.log().contains(&"/graphql".to_owned()));
        let swept = project.records();
        project.bench.previous.clear();
        project.fetch();
        assert_eq!(project.records(), swept);
    }
}

#[test]
fn a_sweep_comes_when_its_time_has_come_by_the_servers_clock() {
    let mut project = project("30d");
    let date = |text: &str| Some(httpdate::fmt_http_date(humantime::parse_rfc3339(text).unwrap()));
    project.github.change(|world| world.date = date("2024-06-01T00:00:00Z"));
    project.fetch();
    behind_the_cursor(&project);
    project.github.change(|world| world.date = date("2024-06-30T00:00:00Z"));
    project.fetch();
    let before = project.bench.previous.clone();
    assert!(project.issue(5).is_some() && project.issue(8).is_none());
    project.github.change(|world| world.date = date("2024-07-02T00:00:00Z"));
    project.fetch();
    assert!(project.issue(5).is_none() && project.issue(8).is_some());
    // The time of the sweep is pinned beside the records.
    assert_ne!(project.bench.previous["cursor"], before["cursor"]);
    project.github.log();
    project.fetch();
    assert!(project.github.log().len() <= 4);
}

#[test]
fn without_sweeps_nothing_is_taken_out() {
    let mut project = project("never");
    project.fetch();
    behind_the_cursor(&project);
    project.github.change(|world| world.date = Some("Fri, 01 Jan 2100 00:00:00 GMT".into()));
    project.fetch();
    assert!(project.issue(5).is_some());
}

#[test]
fn a_list_that_lacks_an_issue_does_not_take_it_out() {
    let mut project = project("always");
    project.fetch();
    // The sweep's own list, after two for news and a question by GraphQL, is empty as if nothing were there.
    project.github.log();
    project.github.change(|world| world.faults.insert(4, super::fault(200, &[], "[]")));
    let before = project.records();
    project.fetch();
    assert_eq!(project.records(), before);
    let log = project.github.log();
    assert!(!log[3].contains("since=") && log[4..].contains(&"/repos/o/r/issues/5".to_owned()), "{log:#?}");
}

#[test]
fn an_issue_that_moved_to_another_repository_is_gone() {
    let mut project = project("always");
    project.fetch();
    project.github.change(|world| {
        world.delete_issue(5);
        world.repo("o/other").issue(77, 5, json!({}));
        let moved = super::fault(301, &[("location", "/repos/o/other/issues/77")], "{}");
        world.instead.insert("/repos/o/r/issues/5", moved);
    });
    project.fetch();
    assert!(project.issue(5).is_none());
    assert!(project.issue(77).is_none(), "it belongs to a repository that is not named");
}

#[test]
fn an_issue_that_moved_to_the_same_number_of_another_repository_is_gone() {
    for renamed in [None, Some("o/renamed")] {
        let mut project = project("always");
        project.github.change(|world| {
            world.moved = renamed.is_some();
            world.repo("o/r").renamed = renamed;
        });
        project.fetch();
        project.github.change(|world| {
            world.delete_issue(5);
            let other = world.repo("o/other");
            other.issue(5, 5, json!({"title": "of another repository"}));
            let moved = super::fault(301, &[("location", "/repositories/10/issues/5")], "{}");
            world.instead.insert("/repos/o/r/issues/5", moved);
        });
        project.fetch();
        assert!(project.issue(5).is_none(), "{renamed:?}");
        assert_eq!(project.records().count, 4);
    }
}

#[test]
fn an_issue_of_a_repository_that_was_renamed_is_still_there() {
    let mut project = project("always");
    project.fetch();
    project.github.change(|world| {
        world.moved = true;
        world.repo("o/r").renamed = Some("o/renamed");
    });
    // The sweep's own list is empty, so that each issue is asked for alone.
    project.github.log();
    project.github.change(|world| world.faults.insert(6, super::fault(200, &[], "[]")));
    let before = project.records();
    project.fetch();
    assert_eq!(project.records(), before);
    let log = project.github.log();
    assert!(log.contains(&"/repos/o/r".to_owned()) && log.contains(&"/repositories/9/issues/5".to_owned()), "{log:#?}");
}

#[test]
fn a_sweep_goes_beyond_what_a_server_lists_from_where_the_list_ended() {
    let mut project = project("always");
    project.fetch();
    project.github.change(|world| world.deepest = Some(2));
    behind_the_cursor(&project);
    project.fetch();
    assert!(project.issue(5).is_none() && project.issue(8).is_some());
    assert_eq!(project.comments(3), [] as [u64; 0]);
    assert_eq!(project.bench.said(), [] as [&str; 0]);
    let swept = project.records();
    project.bench.previous.clear();
    project.github.change(|world| world.deepest = None);
    project.fetch();
    assert_eq!(project.records(), swept);
}

#[test]
fn where_a_sweep_cannot_come_to_the_end_it_takes_nothing_out_and_news_are_taken_in() {
    let mut project = project("30d");
    let date = |day: u32| Some(format!("Mon, {day:02} Jul 2024 00:00:00 GMT"));
    project.github.change(|world| {
        world.date = Some("Sat, 01 Jun 2024 00:00:00 GMT".into());
        // More changed at one time than the server is going to list.
        (21..=24).for_each(|number| world.issue(number, 2, json!({})));
    });
    project.fetch();
    behind_the_cursor(&project);
    project.github.change(|world| {
        (world.date, world.deepest) = (date(8), Some(2));
        world.issue(30, 30, json!({}));
    });
    project.bench.said();
    project.fetch();
    assert!(project.issue(30).is_some());
    assert!(project.issue(5).is_some(), "nothing is taken out by half a list");
    assert_eq!(project.records().count, 10);
    let said = project.bench.said();
    let reason = "warning: o/r: issues cannot be listed beyond 2024-05-06T12:02:00Z";
    assert!(said.len() == 1 && said[0].starts_with(reason) && said[0].contains("422"), "{said:?}");
    // What was not done is still to do.
    project.github.change(|world| (world.date, world.deepest) = (date(15), None));
    project.fetch();
    assert!(project.issue(5).is_none() && project.issue(8).is_some());
}
