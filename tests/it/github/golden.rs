//! The bytes that the kinds give of the same threads: their lines of `tests/golden.txt`.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use tunesmith::node::{Family, find};

use crate::support::fake_github::{FakeGithub, time};
use crate::support::node_run::Bench;

/// Returns the lines: kind, version, output, digest.
pub(crate) fn lines() -> String {
    let github = FakeGithub::start();
    github.change(|world| {
        world.issue(1, 1, json!({}));
        world.issue(2, 2, json!({"user": null, "state": "closed"}));
        world.comment(10, 1, 10, json!({"user": {"login": "ci[bot]", "type": "Bot"}}));
        world.comment(11, 2, 11, json!({"user": null}));
        world.issue(3, 3, json!({"pull_request": {"merged_at": time(3)}, "state": "closed"}));
        world.comment(12, 3, 12, json!({}));
        world.graphql = true;
        let repo = world.repo("o/r");
        repo.review(20, 3, 20, json!({}));
        repo.review(21, 3, 21, json!({"in_reply_to_id": 20}));
        let answer = json!({"databaseId": 30, "isAnswer": true, "body": "so", "createdAt": time(30), "replies": []});
        repo.discussion(4, 4, json!({ "comments": [answer] }));
    });
    let mut bench = Bench::new();
    bench.secrets.insert("TOKEN".into(), "token".into());
    let mut lines = String::new();
    for (name, more) in [("issues", json!({})), ("pulls", json!({})), ("discussions", json!({"token": "env:TOKEN"}))] {
        let mut settings = json!({"repos": ["o/r"], "api": github.address});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let kind = format!("github-{name}");
        let outcome = bench.run(Family::Source, &kind, &settings).unwrap();
        let version = find(Family::Source, &kind).unwrap().info().version;
        let digest = outcome.outputs["records"].digest();
        writeln!(lines, "source.{kind} {version} {name}:records {digest}").unwrap();
    }
    lines
}

#[test]
fn no_kind_changes_its_bytes_without_a_new_version() {
    let golden = fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden.txt")).unwrap();
    let found = lines();
    let ours: Vec<&str> = golden.lines().filter(|line| found.lines().any(|found| same_kind(found, line))).collect();
    assert_eq!(ours, found.lines().collect::<Vec<_>>(), "see the head of tests/it/golden.rs");
}

fn same_kind(one: &str, other: &str) -> bool {
    one.split(' ').next() == other.split(' ').next()
}
