//! A fetch that is killed again and again ends with the bytes of an undisturbed one, and asks for no finished page twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::count;
use crate::support::fake_github::FakeGithub;
use crate::support::program::{program, tunesmith, write};

/// Kills, each after another number of requests; and how many of them a long test makes.
const KILLS: (usize, usize) = (8, 100);
/// Requests that a killed fetch may send, in turn.
const REQUESTS: [usize; 5] = [1, 4, 2, 7, 3];

/// Issues and comments at times of their own, more pages of two than all killed fetches together read.
fn world(kills: usize) -> FakeGithub {
    let github = FakeGithub::start();
    github.change(|world| {
        world.latency = Duration::from_millis(3);
        let issues = kills as u64 * 12 + 20;
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

fn project(github: &FakeGithub) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "schema = 1\n[source.issues]\ntype = \"github-issues\"\nrepos = [\"o/r\"]\napi = \"{}\"\nout = \"issues.jsonl\"\n",
        github.address
    );
    write(folder.path(), &[("pipeline.toml", &manifest)]);
    folder
}

fn start(folder: &Path) -> Child {
    program(folder).arg("build").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Returns the records' digest in the lock, and what `out` has.
fn result(folder: &Path) -> (String, Vec<u8>) {
    let lock = fs_err::read_to_string(folder.join("pipeline.lock")).unwrap();
    (lock, fs_err::read(folder.join("issues.jsonl")).unwrap())
}

#[test]
fn a_fetch_that_was_killed_goes_on_to_the_same_bytes_and_asks_for_no_finished_page() {
    let kills = count(KILLS);
    let github = world(kills);
    let undisturbed = project(&github);
    tunesmith(undisturbed.path(), &["build"]).expect(0);
    github.log();

    let folder = project(&github);
    let mut lives = Vec::new();
    for number in 0..kills {
        let mut fetch = start(folder.path());
        while github.count() < REQUESTS[number % REQUESTS.len()] {
            assert!(fetch.try_wait().unwrap().is_none(), "kill {number}: the fetch ended before it was killed");
            std::thread::sleep(Duration::from_millis(1));
        }
        fetch.kill().unwrap();
        fetch.wait().unwrap();
        assert!(!folder.path().join("issues.jsonl").exists(), "kill {number}");
        lives.push(github.log_with_ids());
    }
    tunesmith(folder.path(), &["build"]).expect(0);
    lives.push(github.log_with_ids());
    assert_eq!(result(folder.path()).1, result(undisturbed.path()).1);
    assert_no_finished_page_twice(&lives);
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
