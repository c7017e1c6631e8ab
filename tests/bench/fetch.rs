//! Times `source.github-issues` against a local GitHub that takes 100 ms for each answer: `cargo bench --bench fetch`.
//!
//! 5,241 issues with 21,000 comments in two repositories: a first fetch by each way, and a refresh with ten new or edited
//! issues. Prints one JSON object a line.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

#[path = "../it/support/fake_github/mod.rs"]
#[expect(dead_code, reason = "the tests use what the benchmark does not")]
mod fake_github;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use tunesmith::node::{self, Cancel, Device, Event, Events, Family, Grant, JOB_FORMAT, Job, Outcome, Run, Secrets};
use tunesmith::store::{Artifact, Digest, Store};

use fake_github::{FakeGithub, time};

/// Issues and comments of each repository.
const REPOS: [(&str, u64, u64); 2] = [("o/proxy", 1_241, 4_000), ("o/r", 4_000, 17_000)];
/// How long an answer takes.
const LATENCY: Duration = Duration::from_millis(100);

struct Surroundings {
    has_token: bool,
}

impl Events for Surroundings {
    fn event(&self, _: Event) {}
}

impl Secrets for Surroundings {
    fn environment(&self, _: &str) -> Option<String> {
        self.has_token.then(|| "token".to_owned())
    }
}

fn main() {
    for (way, has_token) in [("rest", false), ("graphql", true)] {
        let github = world();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("cache"), None).unwrap();
        let surroundings = Surroundings { has_token };
        let first = fetch(&store, &github, &surroundings, BTreeMap::new(), &format!("first fetch by {way}"));
        github.change(|world| {
            for number in 1..=5 {
                world.issue(4_000 + number, 60_000 + number as u32, json!({}));
                world.comment(90_000 + number, number, 60_010 + number as u32, json!({}));
            }
        });
        let next = fetch(&store, &github, &surroundings, first.outputs, &format!("refresh after {way}"));
        fetch(&store, &github, &surroundings, next.outputs, &format!("refresh without news after {way}"));
    }
}

/// Each issue has body and comments of common lengths.
fn world() -> FakeGithub {
    let github = FakeGithub::start();
    let body = "The proxy restarts when a pod is rescheduled and its identity expires. ".repeat(12);
    github.change(|world| {
        (world.latency, world.page, world.graphql) = (LATENCY, Some(100), true);
        for (name, issues, comments) in REPOS {
            let repo = world.repo(name);
            for number in 1..=issues {
                repo.issue(number, number as u32, json!({"body": body, "created_at": time(number as u32)}));
            }
            for id in 1..=comments {
                let (number, minute) = (1 + id * 7_919 % issues, (issues + id) as u32);
                repo.comment(id, number, minute, json!({"body": body, "created_at": time(minute)}));
            }
        }
    });
    github
}

fn fetch(
    store: &Store,
    github: &FakeGithub,
    surroundings: &Surroundings,
    previous: BTreeMap<String, Artifact>,
    what: &str,
) -> Outcome {
    let kind = node::find(Family::Source, "github-issues").unwrap();
    let repos: Vec<&str> = REPOS.iter().map(|(name, ..)| *name).collect();
    let settings = json!({"repos": repos, "api": github.address, "token": "env:TOKEN"});
    let job = Job {
        format: JOB_FORMAT,
        node: "bench".into(),
        kind: kind.info().full_name(),
        kind_version: kind.info().version,
        key: Digest::of(b""),
        settings: kind.canonical(&settings).unwrap(),
        inputs: Vec::new(),
        files: Vec::new(),
        store: store.root().to_owned(),
        remote: None,
        rehearsal: None,
        offline: false,
        scratch: store.root().join("scratch"),
        previous,
        grant: Grant { threads: 2, memory: None, device: Device::Cpu },
        outside: None,
    };
    let cancel = Cancel::default();
    let run = Run { job: &job, store, events: surroundings, cancel: &cancel, secrets: surroundings };
    github.log();
    let start = Instant::now();
    let outcome = kind.run(&run).unwrap_or_else(|error| panic!("{error:?}"));
    let seconds = start.elapsed().as_secs_f64();
    let requests = github.log().len();
    let Artifact::Records(records) = &outcome.outputs["records"] else { panic!("no records") };
    println!("{}", json!({"fetch": what, "requests": requests, "seconds": seconds, "issues": records.count}));
    outcome
}
