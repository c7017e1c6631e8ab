//! The kinds that read GitHub, against a fake one over real HTTP.

mod discussions;
mod forecast;
pub(crate) mod golden;
mod graphql;
mod habits;
mod interruption;
mod issues;
mod pulls;
mod seed;
mod sweep;

use serde_json::{Value, json};
use tunesmith::node::{Family, NodeError, Outcome};
use tunesmith::record::{Record, RecordSet, Thread};
use tunesmith::store::{Artifact, RecordsRef};

use crate::support::fake_github::{FakeGithub, Fault, time};
use crate::support::node_run::Bench;

/// Five issues, a pull request among them, and comments on three of them.
fn small_world() -> FakeGithub {
    let github = FakeGithub::start();
    github.change(|world| {
        for number in 1..=5 {
            world.issue(number, number as u32, json!({}));
        }
        world.issue(6, 6, json!({"pull_request": {"url": "…"}}));
        world.issue(2, 2, json!({"user": null, "state": "closed", "state_reason": "completed", "closed_at": time(2)}));
        world.comment(10, 1, 10, json!({"user": {"login": "ci[bot]", "type": "Bot"}}));
        world.comment(11, 1, 11, json!({"user": null, "reactions": {"total_count": 2}}));
        world.comment(12, 3, 12, json!({}));
        world.comment(13, 6, 13, json!({}));
    });
    github
}

/// A store and a GitHub, with the last snapshot of one node.
struct Project {
    bench: Bench,
    github: FakeGithub,
    kind: &'static str,
    /// Settings beside those that every project has.
    more: Value,
}

impl Project {
    fn new(github: FakeGithub) -> Self {
        Self::of("github-issues", github, json!({"via": "rest"}))
    }

    fn of(kind: &'static str, github: FakeGithub, more: Value) -> Self {
        let mut bench = Bench::new();
        bench.secrets.insert("TOKEN".into(), "ghp_verysecret".into());
        Self { bench, github, kind, more }
    }

    fn settings(&self) -> Value {
        let mut settings =
            json!({"repos": ["o/r"], "api": self.github.address, "token": "env:TOKEN", "max-wait": "30s"});
        let (Value::Object(all), Value::Object(more)) = (&mut settings, self.more.clone()) else { panic!() };
        all.extend(more);
        settings
    }

    fn try_fetch(&mut self) -> Result<Outcome, NodeError> {
        let outcome = self.bench.run(Family::Source, self.kind, &self.settings())?;
        self.bench.previous = outcome.outputs.clone();
        Ok(outcome)
    }

    #[track_caller]
    fn fetch(&mut self) -> Outcome {
        self.try_fetch().unwrap()
    }

    /// Returns the records of the last snapshot.
    fn records(&self) -> RecordsRef {
        let Artifact::Records(records) = &self.bench.previous["records"] else { panic!("no records") };
        *records
    }

    /// Returns a thread of the last snapshot.
    fn issue(&self, number: u64) -> Option<Thread> {
        match RecordSet::open(&self.bench.store, &self.records()).unwrap().get(&format!("o/r#{number}")).unwrap() {
            Some(Record::Issue(thread) | Record::Pull(thread) | Record::Discussion(thread)) => Some(thread),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the ids of a thread's comments.
    fn comments(&self, number: u64) -> Vec<u64> {
        self.issue(number).unwrap().comments.iter().map(|comment| comment.id.unwrap()).collect()
    }
}

fn fault(status: u16, headers: &[(&'static str, &str)], body: &'static str) -> Fault {
    Fault { status, headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), body }
}

fn counts(outcome: &Outcome) -> Vec<(&str, u64)> {
    outcome.report.iter().map(|count| (count.what.as_str(), count.count)).collect()
}
