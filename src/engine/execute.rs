//! One node's run: lock, job, tries, publication.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::resolve::{Prepared, known_of, snapshot_key};
use super::{EngineError, Known, LockEntry, Observer, Resolver, Said, StaleReason, child, worker};
use crate::graph::Node;
use crate::node::{
    Cancel, Determinism, Event, Events, Grant, JOB_FORMAT, Job, Kind, NodeError, Outcome, Secrets, Weight,
};
use crate::store::{ActionRecord, Artifact, Provenance};

/// What runs have in common.
pub(super) struct Executor<'a> {
    pub(super) resolver: &'a Resolver<'a>,
    pub(super) observer: &'a dyn Observer,
    pub(super) cancel: &'a Cancel,
    pub(super) secrets: &'a dyn Secrets,
    /// The program that heavy nodes run in; `None` runs them in this process.
    pub(super) worker: Option<&'a Path>,
    pub(super) grant: Grant,
}

/// What a run came to.
pub(super) struct Ran {
    pub(super) known: Arc<Known>,
    /// Whether it really ran: another build may have done the work while this one waited for the lock.
    pub(super) ran: bool,
    /// Whether its outputs are those of the last build.
    pub(super) unchanged: bool,
    pub(super) duration: Duration,
}

/// Why a node has no result.
pub(super) enum Failure {
    /// The node itself.
    Node(NodeError),
    /// The engine: the build cannot go on.
    Engine(EngineError),
}

impl<E: Into<EngineError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Engine(error.into())
    }
}

impl Executor<'_> {
    /// Runs a node and publishes what it gave.
    pub(super) fn run(&self, node: &Node, prepared: &Prepared, reason: &StaleReason) -> Result<Ran, Failure> {
        let kind = self.resolver.kind(node)?;
        let store = self.resolver.store;
        let lock = store.lock(&prepared.key)?;
        let may_reuse = !kind.info().pinned && !kind.is_effect(&prepared.settings) && *reason != StaleReason::Forced;
        if may_reuse && let Some(record) = self.resolver.hit(&prepared.key)? {
            let known = known_of(prepared.key, record);
            self.remember(node, prepared)?;
            return Ok(Ran { known, ran: false, unchanged: false, duration: Duration::ZERO });
        }
        let before = self.resolver.trace(&node.name)?;
        let started = Instant::now();
        self.observer.said(&node.name, &Said::Started { reason: reason.clone() });
        let outcome = self.tries(node, kind, prepared)?;
        check_outputs(node, kind, prepared, &outcome)?;
        let duration = started.elapsed();
        let known = self.publish(node, kind, prepared, outcome, duration)?;
        let unchanged = match before {
            Some(before) => store.action(&before.key)?.is_some_and(|record| record.outputs == known.outputs),
            None => false,
        };
        self.remember(node, prepared)?;
        drop(lock);
        Ok(Ran { known, ran: true, unchanged, duration })
    }

    /// Notes what the node was built from, for `explain` and `status`.
    pub(super) fn remember(&self, node: &Node, prepared: &Prepared) -> Result<(), EngineError> {
        let trace = prepared.trace();
        Ok(self.resolver.store.put_state(&self.resolver.state_name(&node.name), &trace)?)
    }

    pub(super) fn tries(&self, node: &Node, kind: &dyn Kind, prepared: &Prepared) -> Result<Outcome, Failure> {
        let mut attempt = 1;
        loop {
            match self.one_try(node, kind, prepared) {
                Err(Failure::Node(error))
                    if error.class.is_transient() && attempt <= node.run.retries && !self.cancel.is_cancelled() =>
                {
                    attempt += 1;
                    self.observer.said(&node.name, &Said::Retry { attempt, error });
                    self.pause(Duration::from_secs(1 << attempt.min(6)));
                }
                result => return result,
            }
        }
    }

    fn pause(&self, duration: Duration) {
        let started = Instant::now();
        while started.elapsed() < duration && !self.cancel.is_cancelled() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn one_try(&self, node: &Node, kind: &dyn Kind, prepared: &Prepared) -> Result<Outcome, Failure> {
        let store = self.resolver.store;
        let scratch = tempfile::Builder::new().prefix("run-").tempdir_in(store.root().join("scratch"))?;
        let job = Job {
            format: JOB_FORMAT,
            node: node.name.clone(),
            kind: node.kind_name.clone(),
            kind_version: kind.info().version,
            key: prepared.key,
            settings: prepared.settings.clone(),
            inputs: prepared.inputs.clone(),
            files: prepared.files.clone(),
            store: store.root().to_owned(),
            remote: store.remote_root().map(Path::to_owned),
            scratch: scratch.path().to_owned(),
            previous: prepared.previous.clone(),
            grant: Grant {
                threads: node.run.threads.unwrap_or(self.grant.threads),
                memory: node.run.memory.or(self.grant.memory),
            },
        };
        let events = Forward { node: &node.name, observer: self.observer };
        let result = with_timeout(node.run.timeout, self.cancel, |cancel| match (kind.info().weight, self.worker) {
            (Weight::Heavy, Some(program)) => {
                store.flush().map_err(NodeError::from)?;
                child::run(program, &job, &events, cancel)
            }
            _ => worker::run(kind, &job, store, &events, cancel, self.secrets),
        });
        result.map_err(Failure::Node)
    }

    fn publish(
        &self,
        node: &Node,
        kind: &dyn Kind,
        prepared: &Prepared,
        outcome: Outcome,
        duration: Duration,
    ) -> Result<Arc<Known>, EngineError> {
        let store = self.resolver.store;
        let info = kind.info();
        let key = if info.pinned { snapshot_key(&prepared.key, &outcome.outputs) } else { prepared.key };
        let record = ActionRecord {
            explained: prepared.explained.clone(),
            outputs: outcome.outputs,
            fields: outcome.fields,
            report: outcome.report.into_iter().map(|count| (count.what, count.count)).collect(),
            provenance: Provenance {
                tunesmith: env!("CARGO_PKG_VERSION").to_owned(),
                isa: std::env::consts::ARCH.to_owned(),
                duration_ms: duration.as_millis() as u64,
                threads: self.grant.threads,
            },
        };
        if kind.is_effect(&prepared.settings) {
            return Ok(known_of(key, record));
        }
        let record = self.first_record_stays(node, key, record, info.determinism)?;
        let durable = info.weight == Weight::Heavy || info.pinned;
        store.publish(&key, &record, durable)?;
        if store.remote_root().is_some() {
            for artifact in record.outputs.values() {
                store.push(artifact, &objects_of(store, artifact)?)?;
            }
            store.push_action(&key, &record)?;
        }
        if info.pinned {
            self.pin(node, prepared, &record)?;
        }
        Ok(known_of(key, record))
    }

    /// Where two results exist for one key the first record stays, and a differing second is reported.
    fn first_record_stays(
        &self,
        node: &Node,
        key: crate::store::Digest,
        record: ActionRecord,
        determinism: Determinism,
    ) -> Result<ActionRecord, EngineError> {
        let Some(first) = self.resolver.hit(&key)? else { return Ok(record) };
        if first.outputs != record.outputs {
            let class = match determinism {
                Determinism::Exact => "the kind promises the same bytes on any machine: please report this",
                Determinism::ExactPerIsa => "the kind promises the same bytes on one instruction set only",
                Determinism::Varies => "the kind promises nothing else",
            };
            let text =
                format!("this run gave other bytes than the stored result of the same key, which stays ({class})");
            self.observer.said(&node.name, &Said::Warning { text });
        }
        Ok(first)
    }

    fn pin(&self, node: &Node, prepared: &Prepared, record: &ActionRecord) -> Result<(), EngineError> {
        let entry = LockEntry { kind: node.kind_name.clone(), settings: prepared.key, outputs: record.outputs.clone() };
        let mut lock = self.resolver.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        lock.pin(&node.name, entry)?;
        let fetched = self.resolver.fetched_state(&node.name);
        Ok(self.resolver.store.put_state(&fetched, &self.resolver.mode.now)?)
    }
}

/// Returns the digests of all packed objects of an artifact.
pub(super) fn objects_of(
    store: &crate::store::Store,
    artifact: &Artifact,
) -> Result<Vec<crate::store::Digest>, EngineError> {
    match artifact {
        Artifact::Records(records) => Ok(crate::record::RecordSet::open(store, records)?.objects()),
        Artifact::File(_) | Artifact::Folder { .. } => Ok(Vec::new()),
    }
}

pub(super) fn check_outputs(
    node: &Node,
    kind: &dyn Kind,
    prepared: &Prepared,
    outcome: &Outcome,
) -> Result<(), EngineError> {
    let outputs = kind.outputs(&prepared.settings).into_iter();
    let mut declared: Vec<String> = outputs.map(|(name, _)| name).collect();
    declared.sort();
    let got: Vec<String> = outcome.outputs.keys().cloned().collect();
    if got == declared { Ok(()) } else { Err(EngineError::WrongOutputs { node: node.name.clone(), got, declared }) }
}

/// A node took longer than its `timeout`.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("it ran longer than its timeout of {}", humantime::format_duration(*.timeout))]
#[diagnostic(
    code(engine::timeout),
    help("raise `timeout` in `[run.node.NAME]`, or look with `tunesmith log` what took so long")
)]
struct Timeout {
    timeout: Duration,
}

/// Runs `work` with a cancel flag of its own that is also set when the time is over.
fn with_timeout(
    timeout: Option<Duration>,
    outer: &Cancel,
    work: impl FnOnce(&Cancel) -> Result<Outcome, NodeError>,
) -> Result<Outcome, NodeError> {
    let Some(timeout) = timeout else { return work(outer) };
    let inner = Cancel::default();
    let (ended, end) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watched = &inner;
        let watch = scope.spawn(move || {
            let started = Instant::now();
            while end.recv_timeout(Duration::from_millis(50)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                if outer.is_cancelled() {
                    watched.cancel();
                } else if started.elapsed() >= timeout {
                    watched.cancel();
                    return true;
                }
            }
            false
        });
        let result = work(&inner);
        drop(ended);
        let timed_out = watch.join().unwrap_or(false);
        match result {
            Err(_) if timed_out => Err(NodeError::from(Timeout { timeout }).transient()),
            result => result,
        }
    })
}

/// Passes a run's events on under its node's name.
struct Forward<'a> {
    node: &'a str,
    observer: &'a dyn Observer,
}

impl Events for Forward<'_> {
    fn event(&self, event: Event) {
        let said = match event {
            Event::Progress(progress) => Said::Progress(progress),
            Event::Note { text } => Said::Note { text },
            Event::Warning { text } => Said::Warning { text },
            // The last events are results, which the caller has by another way.
            Event::Done { .. } | Event::Failed { .. } => return,
        };
        self.observer.said(self.node, &said);
    }
}
