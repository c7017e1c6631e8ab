//! `source.github-pulls`: descriptions, discussion, review threads.

use serde_json::json;

use super::{Project, counts};
use crate::support::fake_github::{FakeGithub, time};

fn world() -> FakeGithub {
    let github = FakeGithub::start();
    github.change(|world| {
        world.issue(1, 1, json!({}));
        let merged = json!({"pull_request": {"merged_at": time(3)}, "state": "closed", "closed_at": time(3)});
        world.issue(2, 3, merged);
        world.issue(
            3,
            4,
            json!({"pull_request": {"merged_at": null}, "user": {"login": "dependabot[bot]", "type": "Bot"}}),
        );
        world.comment(10, 1, 10, json!({}));
        world.comment(11, 2, 11, json!({}));
        let repo = world.repo("o/r");
        repo.review(20, 2, 20, json!({"author_association": "OWNER"}));
        repo.review(21, 2, 21, json!({}));
        repo.review(22, 2, 22, json!({"in_reply_to_id": 20, "user": null}));
        repo.review(23, 3, 23, json!({"in_reply_to_id": 99}));
    });
    github
}

fn project() -> Project {
    Project::of("github-pulls", world(), json!({}))
}

/// Returns the ids in the review threads of a pull request.
fn reviews(project: &Project, number: u64) -> Vec<Vec<u64>> {
    let pull = project.issue(number).unwrap();
    pull.reviews.iter().map(|thread| thread.iter().filter_map(|comment| comment.id).collect()).collect()
}

#[test]
fn a_pull_request_has_its_discussion_and_its_review_threads() {
    let mut project = project();
    let outcome = project.fetch();
    assert_eq!(outcome.fields["pulls"], 2);
    assert_eq!(
        counts(&outcome)[..4],
        [
            ("pull requests that are new or changed", 2),
            ("comments read", 1),
            ("review comments read", 4),
            ("issues left out", 1)
        ]
    );
    let merged = project.issue(2).unwrap();
    assert_eq!((merged.merged_at, merged.state.as_str()), (Some(time(3)), "closed"));
    assert_eq!(project.comments(2), [11]);
    assert_eq!(reviews(&project, 2), [vec![20, 22], vec![21]]);
    assert_eq!(merged.reviews[0][0].author.association.as_deref(), Some("OWNER"));
    assert_eq!(merged.reviews[0][1].author.login, None);
    assert_eq!(reviews(&project, 3), [vec![23]]);
    assert!(project.issue(3).unwrap().author.bot);
    assert!(project.issue(1).is_none());
}

#[test]
fn a_refresh_brings_replies_and_edits_into_their_threads() {
    let mut project = project();
    project.fetch();
    project.github.log();
    project.github.change(|world| {
        let repo = world.repo("o/r");
        repo.review(24, 2, 40, json!({"in_reply_to_id": 20}));
        repo.review(21, 2, 41, json!({"body": "edited"}));
        repo.review(25, 3, 42, json!({"in_reply_to_id": 99}));
        world.comment(12, 3, 43, json!({}));
    });
    project.fetch();
    let log = project.github.log();
    assert!(log.iter().all(|path| path.contains("since=")), "{log:#?}");
    assert_eq!(reviews(&project, 2), [vec![20, 22, 24], vec![21]]);
    assert_eq!(project.issue(2).unwrap().reviews[1][0].body, "edited");
    assert_eq!(reviews(&project, 3), [vec![23, 25]]);
    assert_eq!(project.comments(3), [12]);
    let incremental = project.records();
    project.bench.previous.clear();
    project.fetch();
    assert_eq!(project.records(), incremental);
}

#[test]
fn a_sweep_takes_out_deleted_pull_requests_and_deleted_comments_of_reviews() {
    let mut project = project();
    project.more = json!({"sweep": "always"});
    project.fetch();
    project.github.change(|world| {
        world.delete_issue(3);
        world.repo("o/r").delete_review(21);
        world.repo("o/r").delete_review(22);
    });
    project.fetch();
    assert!(project.issue(3).is_none());
    assert_eq!(reviews(&project, 2), [vec![20]]);
    // Lists that lack them all, after three for news and a question by GraphQL, take none out.
    let before = project.records();
    project.github.log();
    project.github.change(|world| {
        world.faults.insert(5, super::fault(200, &[], "[]"));
        world.faults.insert(6, super::fault(200, &[], "[]"));
    });
    project.fetch();
    assert_eq!(project.records(), before);
    let log = project.github.log();
    assert!(log[4..6].iter().all(|path| path.contains("sort=") && !path.contains("since=")), "{log:#?}");
    assert!(log[6..].iter().any(|path| path.ends_with("/pulls/comments/20")), "{log:#?}");
}

#[test]
fn a_sweep_takes_out_comments_that_were_deleted_without_a_trace() {
    for graphql in [false, true] {
        let mut project = project();
        project.more = json!({"sweep": "always"});
        project.github.change(|world| {
            world.graphql = graphql;
            world.comment(12, 3, 12, json!({}));
            world.comment(14, 2, 14, json!({}));
            // The newest change, so that no question by time names the others.
            world.issue(4, 60, json!({"pull_request": {"merged_at": null}}));
        });
        project.fetch();
        assert_eq!(project.comments(2), [11, 14]);
        project.github.change(|world| {
            // Of the one, a comment that stays is listed again; of the other nothing is.
            world.delete_comment(11);
            world.delete_comment(12);
        });
        project.fetch();
        assert_eq!(project.comments(2), [14]);
        assert_eq!(project.comments(3), [] as [u64; 0]);
        assert_eq!(reviews(&project, 3), [vec![23]]);
        let swept = project.records();
        project.bench.previous.clear();
        project.fetch();
        assert_eq!(project.records(), swept);
    }
}

#[test]
fn a_sweep_of_reviews_goes_beyond_what_a_server_lists_or_takes_none_out() {
    let mut project = project();
    project.more = json!({"sweep": "always"});
    project.fetch();
    project.github.change(|world| {
        world.deepest = Some(2);
        world.repo("o/r").delete_review(21);
    });
    project.bench.said();
    project.fetch();
    assert_eq!(reviews(&project, 2), [vec![20, 22]]);
    assert_eq!(project.bench.said(), [] as [&str; 0]);
    project.github.change(|world| {
        let repo = world.repo("o/r");
        // More changed at one time than the server lists.
        (50..53).for_each(|id| repo.review(id, 3, 20, json!({})));
        repo.delete_review(22);
    });
    project.fetch();
    assert_eq!(reviews(&project, 2), [vec![20, 22]], "nothing is taken out by half a list");
    let said = project.bench.said();
    assert!(said.len() == 1 && said[0].contains("review comments cannot be listed beyond"), "{said:?}");
}
