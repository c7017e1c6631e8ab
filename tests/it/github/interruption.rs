//! A fetch that is killed again and again ends with the bytes of an undisturbed one, and asks for no finished page twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::count;
use crate::support::fake_github::{FakeGithub, TooMuch};
use crate::support::program::{Ran, program, write};

/// Kills, each after another number of requests; and how many of them a long test makes.
const KILLS: (usize, usize) = (8, 100);
/// Requests that a killed fetch may send, in turn.
const REQUESTS: [usize; 5] = [1, 4, 2, 7, 3];

/// Requests that a killed fetch by GraphQL may send, in turn: how much there is, and four batches that are too much, come
/// before the first that is whole.
const QUESTIONS: [usize; 5] = [6, 9, 7, 5, 12];
/// Threads of a batch that is not too much.
const BATCH: usize = 3;

/// Issues and comments at times of their own, more pages than all killed fetches together read.
fn world(issues: usize) -> FakeGithub {
    let github = FakeGithub::start();
    github.change(|world| {
        world.latency = Duration::from_millis(3);
        let issues = issues as u64;
        for number in 1..=issues {
            world.issue(number, number as u32, json!({}));
        }
        for id in 1..=issues {
            let number = 1 + id * 7 % issues;
            let minute = issues as u32 + id as u32;
            world.comment(
                10_000 + id,
                number,
                minute,
                json!({"created_at": crate::support::fake_github::time(minute)}),
            );
        }
    });
    github
}

fn project(github: &FakeGithub, settings: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "schema = 1\n[source.issues]\ntype = \"github-issues\"\nrepos = [\"o/r\"]\napi = \"{}\"\nout = \"issues.jsonl\"\n\
        {settings}",
        github.address
    );
    write(folder.path(), &[("pipeline.toml", &manifest)]);
    folder
}

fn start(folder: &Path) -> Child {
    program(folder).arg("build").env("TOKEN", "t").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Ends a fetch as it was meant to.
fn finish(folder: &Path) {
    let ended: Ran = program(folder).arg("build").env("TOKEN", "t").output().unwrap().into();
    ended.expect(0);
}

/// Returns what `out` has, and the lock's line on the records; its other output is how far the upstream was read, and when.
fn result(folder: &Path) -> (String, Option<String>) {
    let lock = fs_err::read_to_string(folder.join("pipeline.lock")).unwrap();
    let root = lock.lines().find(|line| line.starts_with("root = ")).map(str::to_owned);
    (fs_err::read_to_string(folder.join("issues.jsonl")).unwrap(), root)
}

/// Kills a fetch after so many requests, in turn, and checks that it ends as an undisturbed one. Returns what each of its
/// lives asked for and was given.
fn lives(github: &FakeGithub, settings: &str, (kills, requests): (usize, &[usize])) -> Vec<Vec<(String, Vec<u64>)>> {
    let undisturbed = project(github, settings);
    finish(undisturbed.path());
    github.log();

    let folder = project(github, settings);
    let mut lives = Vec::new();
    for number in 0..kills {
        let mut fetch = start(folder.path());
        while github.count() < requests[number % requests.len()] {
            assert!(fetch.try_wait().unwrap().is_none(), "kill {number}: the fetch ended before it was killed");
            std::thread::sleep(Duration::from_millis(1));
        }
        fetch.kill().unwrap();
        fetch.wait().unwrap();
        assert!(!folder.path().join("issues.jsonl").exists(), "kill {number}");
        lives.push(github.log_with_ids());
    }
    finish(folder.path());
    lives.push(github.log_with_ids());
    let (found, expected) = (result(folder.path()), result(undisturbed.path()));
    assert!(found.0 == expected.0, "the records differ");
    assert!(found.1.is_some() && found.1 == expected.1, "{:?} is not {:?}", found.1, expected.1);
    lives
}

#[test]
fn a_fetch_that_was_killed_goes_on_to_the_same_bytes_and_asks_for_no_finished_page() {
    let kills = count(KILLS);
    let github = world(kills * 12 + 20);
    assert_no_finished_page_twice(&lives(&github, "", (kills, &REQUESTS)));
}

#[test]
fn a_fetch_by_graphql_that_was_killed_goes_on_to_the_same_bytes_and_asks_for_no_finished_batch() {
    let kills = count(KILLS);
    let github = world(kills * 4 * BATCH + 20);
    github.change(|world| (world.graphql, world.most) = (true, Some((BATCH, TooMuch::HasGaps))));
    let lives = lives(&github, "via = \"graphql\"\ntoken = \"env:TOKEN\"\n", (kills, &QUESTIONS));
    let mut finished: BTreeSet<u64> = BTreeSet::new();
    for (number, life) in lives.iter().enumerate() {
        let batches: Vec<&Vec<u64>> = life.iter().map(|(_, ids)| ids).filter(|ids| !ids.is_empty()).collect();
        let again = batches.iter().copied().flatten().find(|id| finished.contains(*id));
        assert_eq!(again, None, "after kill {number}");
        // The next one is asked for once a batch is kept.
        let before_last = batches.len().saturating_sub(1);
        finished.extend(batches.into_iter().take(before_last).flatten());
    }
    assert!(finished.len() > lives.len(), "{finished:?}");
}

/// A page is finished when the next one of its list was asked for, by a link of its own: what a killed fetch had sent may
/// reach the server in the life after it. A question that goes on begins with the second in which the last page ended: one
/// entry here, of each such question that a life has, its own and one that the life before had sent.
fn assert_no_finished_page_twice(lives: &[Vec<(String, Vec<u64>)>]) {
    let mut finished: BTreeMap<bool, BTreeSet<u64>> = BTreeMap::new();
    for (number, life) in lives.iter().enumerate() {
        for of_comments in [false, true] {
            let pages: Vec<&(String, Vec<u64>)> =
                life.iter().filter(|(path, _)| path.contains("issues/comments") == of_comments).collect();
            let known = finished.entry(of_comments).or_default();
            for (path, ids) in &pages {
                let again = ids.iter().filter(|id| known.contains(id)).count();
                let allowed = usize::from(!path.contains("&page="));
                assert!(again <= allowed, "after kill {number}: {path} gave {again} entries of finished pages again");
            }
            let pairs = pages.windows(2).filter(|pair| pair[1].0.contains("&page="));
            known.extend(pairs.flat_map(|pair| &pair[0].1));
        }
    }
    let read = finished.values().map(BTreeSet::len).sum::<usize>();
    assert!(read > lives.len(), "{read}");
}
