//! `source.github-issues` by REST, from the first fetch to the tenth.

use serde_json::json;
use tunesmith::node::{FailureClass, Family, find};

use super::{Project, counts, fault, small_world};
use crate::support::fake_github::time;
use crate::support::program::{tunesmith, write};

#[test]
fn the_first_fetch_brings_all_issues_with_their_comments() {
    let mut project = Project::new(small_world());
    let outcome = project.fetch();
    assert_eq!(outcome.fields["issues"], 5);
    assert_eq!(
        counts(&outcome),
        [("issues that are new or changed", 5), ("comments read", 3), ("pull requests left out", 1), ("requests", 5)]
    );
    let first = project.issue(1).unwrap();
    assert_eq!((first.title.as_str(), first.body.as_str(), first.reactions), ("title 1", "body 1", 3));
    assert_eq!((first.labels, first.updated_at), (vec!["bug".to_owned()], Some(time(11))));
    assert_eq!(first.url.unwrap(), "https://github.com/o/r/issues/1");
    assert!(first.comments[0].author.bot && first.comments[1].author.login.is_none());
    assert_eq!(first.comments[0].author.association.as_deref(), Some("MEMBER"));
    let second = project.issue(2).unwrap();
    assert_eq!((second.author.login, second.state.as_str()), (None, "closed"));
    assert_eq!((second.state_reason.as_deref(), second.closed_at), (Some("completed"), Some(time(2))));
    assert!(project.issue(6).is_none());
    // Six issues and four comments on pages of two, and no request for any issue alone.
    let log = project.github.log();
    assert_eq!(log.len(), 5, "{log:#?}");
    let first = "/repos/o/r/issues?state=all&sort=updated&direction=asc&per_page=100";
    assert!(log.iter().any(|path| path == first), "{log:#?}");
    assert_eq!(log.iter().filter(|path| path.starts_with("/repositories/9/issues?")).count(), 2, "{log:#?}");
    assert_eq!(project.github.tokens(), ["Bearer ghp_verysecret"]);
}

#[test]
fn a_later_fetch_asks_for_news_alone_and_gives_what_a_first_one_would() {
    let mut project = Project::new(small_world());
    project.fetch();
    project.github.log();
    project.github.change(|world| {
        world.issue(2, 20, json!({"state": "open", "state_reason": "reopened", "title": "new title"}));
        world.issue(7, 21, json!({}));
        world.comment(11, 1, 22, json!({"body": "edited"}));
        world.comment(14, 4, 23, json!({}));
        world.delete_issue(5);
    });
    let outcome = project.fetch();
    assert_eq!(counts(&outcome)[0], ("issues that are new or changed", 4));
    let log = project.github.log();
    // The newest entry of both lists changed at minute 13, on the pull request; a question reaches a minute further back.
    assert!(log.iter().all(|path| path.contains("since=2024-05-06T12:12:00Z")), "{log:#?}");
    assert_eq!(log.len(), 5, "{log:#?}");
    assert_eq!(
        (project.issue(2).unwrap().title.as_str(), project.issue(2).unwrap().state.as_str()),
        ("new title", "open")
    );
    assert_eq!((project.comments(1), project.issue(1).unwrap().comments[1].body.as_str()), (vec![10, 11], "edited"));
    assert_eq!(project.comments(4), [14]);
    assert!(project.issue(5).is_some(), "what was deleted upstream stays");

    let incremental = project.records();
    project.github.change(|world| world.issue(5, 5, json!({})));
    project.bench.previous.clear();
    project.fetch();
    assert_eq!(project.records(), incremental);
}

#[test]
fn where_nothing_is_new_the_snapshot_stays_and_costs_two_unchanged_pages() {
    let mut project = Project::new(small_world());
    project.fetch();
    let first = project.fetch();
    project.github.log();
    let second = project.fetch();
    assert_eq!(first.outputs, second.outputs);
    assert!(counts(&second).iter().all(|(what, _)| !what.contains("new or changed")));
    assert!(project.github.log().len() <= 4);
}

#[test]
fn what_an_earlier_try_kept_is_told_apart_from_what_this_one_does() {
    let mut project = Project::new(small_world());
    project.github.change(|world| world.faults.insert(4, fault(404, &[], r#"{"message": "Not Found"}"#)));
    project.try_fetch().unwrap_err();
    assert_eq!(project.bench.kept(), 0);
    project.github.change(|world| world.faults.clear());
    project.fetch();
    assert!(project.bench.kept() > 0);
}

#[test]
fn a_failed_fetch_keeps_its_pages_and_goes_on() {
    let mut project = Project::new(small_world());
    let whole = {
        let mut other = Project::new(small_world());
        other.fetch();
        other.records()
    };
    for request in 4..=8 {
        project.github.change(|world| world.faults.insert(request, fault(404, &[], r#"{"message": "Not Found"}"#)));
    }
    let error = project.try_fetch().unwrap_err();
    assert!(error.message.contains("answered 404: \"Not Found\""), "{error:?}");
    assert_eq!(error.class, FailureClass::Permanent);
    assert!(project.bench.previous.is_empty());
    let said = project.bench.said();
    assert!(said.last().unwrap().starts_with("kept for the next run, which goes on from there: o/r: "), "{said:?}");
    project.github.change(|world| world.faults.clear());
    let asked_before = project.github.log();
    project.fetch();
    assert!(project.bench.said().iter().any(|said| said.starts_with("o/r: going on after ")), "{said:?}");
    assert_eq!(project.records(), whole);
    let log = project.github.log();
    assert!(log.iter().all(|path| path.contains("since=") || path.contains("&after=")), "{log:#?}");
    assert!(asked_before.iter().all(|path| !log.contains(path)), "{log:#?}");
}

#[test]
fn limits_are_waited_for_or_named_with_their_end() {
    let mut project = Project::new(small_world());
    project.github.change(|world| {
        world.faults.insert(2, fault(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")], "{}"));
        world.faults.insert(4, fault(429, &[("retry-after", "1")], "{}"));
    });
    project.fetch();
    let said = project.bench.said();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|said| said.contains("limits requests: waiting 1s")), "{said:?}");

    let far = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "4102444800")];
    project.github.log();
    project.github.change(|world| world.faults.insert(1, fault(403, &far, "{}")));
    let error = project.try_fetch().unwrap_err();
    assert_eq!(error.class, FailureClass::Permanent);
    assert!(error.message.contains("limits requests until Fri, 01 Jan 2100"), "{error:?}");
    assert!(error.help.unwrap().contains("goes on where it stopped"));
}

#[test]
fn progress_counts_towards_all_that_there_is() {
    let mut project = Project::new(small_world());
    project.github.change(|world| (world.page, world.latency) = (Some(3), std::time::Duration::from_millis(5)));
    project.fetch();
    let progress = project.bench.progress();
    let (done, total) = *progress.last().unwrap();
    assert_eq!((done, total), (10, Some(10)), "{progress:?}");
    assert!(
        progress.iter().filter_map(|(done, total)| Some((done, total.as_ref()?))).all(|(done, total)| done <= total)
    );
}

#[test]
fn without_a_token_many_pages_are_told_in_hours() {
    let mut project = Project::new(small_world());
    project.more = json!({"via": "rest", "token": null});
    project.github.change(|world| (10..80).for_each(|number| world.issue(number, number as u32, json!({}))));
    project.fetch();
    let said = project.bench.said();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("o/r: 38 requests for issues, about 1 h without a token"), "{said:?}");
}

#[test]
fn a_listing_without_end_is_left() {
    let mut project = Project::new(small_world());
    project.github.change(|world| world.endless = true);
    let error = project.try_fetch().unwrap_err();
    assert!(error.message.contains("it was read already"), "{error:?}");
}

#[test]
fn a_repository_that_moved_is_still_found() {
    let github = small_world();
    github.change(|world| world.moved = true);
    let mut project = Project::new(github);
    project.fetch();
    assert_eq!(project.comments(1), [10, 11]);
    assert_eq!(project.issue(1).unwrap().repo, "o/r");
}

#[test]
fn comments_that_the_bulk_list_lacks_or_that_were_deleted_are_made_good() {
    let mut project = Project::new(small_world());
    project.github.change(|world| world.repo("o/r").unlisted.insert(11));
    project.fetch();
    assert_eq!(project.comments(1), [10, 11]);
    project.github.change(|world| {
        world.delete_comment(10);
        world.issue(1, 30, json!({}));
    });
    project.fetch();
    assert_eq!(project.comments(1), [11]);
}

#[test]
fn an_issue_that_was_opened_between_the_two_lists_is_fetched_alone() {
    let mut project = Project::new(small_world());
    project.fetch();
    project.github.log();
    project.github.change(|world| {
        // Older than the question reaches back, as if the list of issues had missed it.
        world.issue(8, 1, json!({}));
        world.comment(15, 99, 40, json!({"issue_url": "https://api.github.com/repos/o/r/issues/8"}));
        world.comment(16, 98, 41, json!({"issue_url": "https://api.github.com/repos/o/r/issues/98"}));
    });
    project.fetch();
    assert_eq!(project.comments(8), [15]);
    assert!(project.issue(98).is_none(), "a comment of a deleted issue makes no issue");
}

#[test]
fn a_repository_that_is_not_there_is_named() {
    let mut project = Project::new(small_world());
    project.fetch();
    let error = {
        let settings = json!({"repos": ["o/r", "o/gone"], "api": project.github.address});
        project.bench.run(Family::Source, "github-issues", &settings).unwrap_err()
    };
    assert!(error.message.contains("/repos/o/gone/issues"), "{error:?}");
    assert!(error.help.unwrap().contains("misspelt"));
}

#[test]
fn a_run_without_its_token_says_so() {
    let mut project = Project::new(small_world());
    project.bench.secrets.clear();
    project.fetch();
    let said = project.bench.said();
    assert!(said[0].starts_with("warning: environment variable `TOKEN` is not set"), "{said:?}");
    assert!(project.github.tokens().is_empty());
}

#[test]
fn a_cancelled_run_ends() {
    let mut project = Project::new(small_world());
    project.bench.cancel.cancel();
    assert_eq!(project.try_fetch().unwrap_err().class, FailureClass::Cancelled);
}

#[test]
fn wrong_settings_are_all_told_at_once_without_the_token() {
    let kind = find(Family::Source, "github-issues").unwrap();
    let settings = json!({
        "repos": ["https://github.com/o/r", "o/r", "O/R", "../x"], "token": "ghp_verysecret", "api": "ftp://x", "max-wait": "long",
        "sweep": "monthly",
    });
    let problems = kind.canonical(&settings).unwrap_err();
    let paths: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
    assert_eq!(paths, ["repos.0", "repos.2", "repos.3", "token", "api", "max-wait", "sweep"]);
    assert!(!format!("{problems:?}").contains("ghp_verysecret"));
    assert!(kind.outside_key().contains(&"token"));
    let problems = kind.canonical(&json!({"repos": []})).unwrap_err();
    assert_eq!(problems[0].code, "settings::empty");
}

#[test]
fn a_build_pins_the_snapshot_and_moves_it_when_asked() {
    let github = small_world();
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "schema = 1\n[project]\nname = \"x\"\n[source.issues]\ntype = \"github-issues\"\nrepos = [\"o/r\"]\n\
         api = \"{}\"\nout = \"issues.jsonl\"\n",
        github.address
    );
    write(folder.path(), &[("pipeline.toml", &manifest)]);
    tunesmith(folder.path(), &["build"]).expect(0);
    let lock = fs_err::read_to_string(folder.path().join("pipeline.lock")).unwrap();
    github.log();
    github.change(|world| world.issue(7, 30, json!({"title": "news"})));

    tunesmith(folder.path(), &["build"]).expect(0);
    assert_eq!(fs_err::read_to_string(folder.path().join("pipeline.lock")).unwrap(), lock);
    assert!(github.log().is_empty(), "a plain build opens no socket");

    tunesmith(folder.path(), &["build", "--refresh=issues"]).expect(0);
    let asked = github.log();
    assert!(asked.iter().all(|path| path.contains("since=")), "{asked:#?}");
    let text = fs_err::read_to_string(folder.path().join("issues.jsonl")).unwrap();
    assert_eq!((text.lines().count(), text.contains("\"news\"")), (6, true));

    fs_err::remove_dir_all(folder.path().join("cache")).unwrap();
    let ran = tunesmith(folder.path(), &["build", "--offline"]);
    assert_ne!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("is in no store") && github.log().is_empty(), "{}", ran.err);
}
