//! One node's run: lock, job, tries, publication.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::job::device;
use super::prepare::Prepared;
use super::rehearse::Before;
use super::resolve::snapshot_key;
use super::{EngineError, Known, LockEntry, Observer, Resolver, Said, StaleReason, child, worker};
use crate::graph::Node;
use crate::node::{Cancel, Determinism, Device, Event, Events, Grant, Kind, NodeError, Outcome, Secrets, Weight};
use crate::store::{ActionRecord, Artifact, Digest, FileLock, Provenance, Store, StoreError};

/// What runs have in common.
pub(super) struct Executor<'a> {
    pub(super) resolver: &'a Resolver<'a>,
    pub(super) observer: &'a dyn Observer,
    pub(super) cancel: &'a Cancel,
    pub(super) secrets: &'a dyn Secrets,
    /// The program that heavy nodes run in; `None` runs them in this process.
    pub(super) worker: Option<&'a Path>,
    pub(super) grant: Grant,
    /// Whether it was said in this build that the shared folder cannot be written.
    pub(super) complained: Arc<AtomicBool>,
}

/// What a run came to.
pub(super) struct Ran {
    pub(super) known: Arc<Known>,
    /// Whether it really ran: another build may have done the work while this one waited for the lock.
    pub(super) is_new: bool,
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
        let error = error.into();
        if error.is_fatal() { Self::Engine(error) } else { Self::Node(error.into_failure()) }
    }
}

impl Executor<'_> {
    /// Runs a node, after the rehearsal that is due before, and publishes what it gave.
    pub(super) fn run(
        &self,
        node: &Node,
        prepared: &Prepared,
        reason: &StaleReason,
        before: Option<&Before<'_>>,
    ) -> Result<Ran, Failure> {
        let kind = self.resolver.kind(node)?;
        let store = self.resolver.store;
        let lock = self.lock(&prepared.key)?;
        if *reason != StaleReason::Forced
            && let Some(known) = self.done_meanwhile(node, kind, prepared)?
        {
            self.resolver.remember(node, prepared, known.key)?;
            return Ok(Ran { known, is_new: false, unchanged: false, duration: Duration::ZERO });
        }
        let last = self.resolver.trace(&node.name)?;
        let started = Instant::now();
        self.observer.said(&node.name, &Said::Started { reason: reason.clone() });
        if let Some(before) = before {
            before.rehearse(self, prepared)?;
        }
        let outcome = self.tries(node, kind, prepared)?;
        check_outputs(node, kind, prepared, &outcome)?;
        self.check_files(kind, prepared)?;
        let duration = started.elapsed();
        let known = self.publish(node, kind, prepared, outcome, duration)?;
        let unchanged = match last {
            Some(last) => store.action(&last.key)?.is_some_and(|record| record.outputs == known.outputs),
            None => false,
        };
        self.resolver.remember(node, prepared, known.key)?;
        store.release(lock)?;
        Ok(Ran { known, is_new: true, unchanged, duration })
    }

    /// Waits for the lock on a key: whoever holds it may be doing the same work.
    fn lock(&self, key: &Digest) -> Result<FileLock, Failure> {
        loop {
            if let Some(lock) = self.resolver.store.try_lock(key)? {
                return Ok(lock);
            }
            if self.cancel.is_cancelled() {
                return Err(Failure::Node(NodeError::cancelled()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns what another build, or another node of the same key, gave while this one waited.
    fn done_meanwhile(
        &self,
        node: &Node,
        kind: &dyn Kind,
        prepared: &Prepared,
    ) -> Result<Option<Arc<Known>>, EngineError> {
        let store = self.resolver.store;
        if kind.is_effect(&prepared.settings) {
            return Ok(None);
        }
        if !kind.is_pinned(&prepared.settings) {
            return Ok(store.hit(&prepared.key)?);
        }
        let mut lock = self.resolver.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.reread()?;
        let moved = lock.get(&node.name).filter(|entry| {
            entry.kind == node.kind_name && entry.settings == prepared.key && entry.outputs != prepared.previous
        });
        let Some(entry) = moved else { return Ok(None) };
        let key = snapshot_key(&prepared.key, &entry.outputs);
        Ok(store.hit(&key)?)
    }

    /// Refuses a result of files that somebody wrote while the node ran: it is of no content that has a key.
    fn check_files(&self, kind: &dyn Kind, prepared: &Prepared) -> Result<(), EngineError> {
        for file in prepared.files.iter().filter(|file| !kind.targets().contains(&file.setting.as_str())) {
            if self.resolver.store.file_digest(&file.path)? != file.digest {
                return Err(StoreError::Changed { path: file.path.clone() }.into());
            }
        }
        Ok(())
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
                    // 1 s, 2 s, 4 s … 64 s.
                    self.pause(Duration::from_secs(1 << (attempt - 2).min(6)));
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
        let job = self.resolver.job(node, kind, prepared, self.grant, scratch.path());
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
        let is_pinned = kind.is_pinned(&prepared.settings);
        let key = if is_pinned { snapshot_key(&prepared.key, &outcome.outputs) } else { prepared.key };
        let record = ActionRecord {
            explained: prepared.explained.clone(),
            outputs: outcome.outputs,
            fields: outcome.fields,
            report: outcome.report.into_iter().map(|count| (count.what, count.count)).collect(),
            provenance: Provenance {
                tunesmith: env!("CARGO_PKG_VERSION").to_owned(),
                isa: std::env::consts::ARCH.to_owned(),
                device: Some(device(node, kind))
                    .filter(|device| *device != Device::Cpu)
                    .map(|gpu| gpu.kind().to_owned()),
                duration_ms: duration.as_millis() as u64,
                threads: self.grant.threads,
            },
        };
        if kind.is_effect(&prepared.settings) {
            return Ok(Arc::new(record.known(key)));
        }
        let record = self.first_record_stays(node, key, record, kind.determinism(&prepared.settings))?;
        let durable = info.weight == Weight::Heavy || is_pinned;
        store.publish(&key, &record, durable)?;
        if let Some(remote) = store.remote_root()
            && let Err(error) = self.share(&key, &record)
            && !self.complained.swap(true, Ordering::SeqCst)
        {
            let text = format!("`{}` cannot be written, so results stay on this machine: {error}", remote.display());
            self.observer.said(&node.name, &Said::Warning { text });
        }
        if is_pinned {
            self.pin(node, prepared, &record)?;
        }
        Ok(Arc::new(record.known(key)))
    }

    /// Copies a result to the shared folder: bytes first.
    fn share(&self, key: &Digest, record: &ActionRecord) -> Result<(), EngineError> {
        let store = self.resolver.store;
        for artifact in record.outputs.values() {
            store.push(artifact, &objects_of(store, artifact)?)?;
        }
        Ok(store.push_action(key, record)?)
    }

    /// Where two results exist for one key the first record stays, and a differing second is reported.
    fn first_record_stays(
        &self,
        node: &Node,
        key: Digest,
        record: ActionRecord,
        determinism: Determinism,
    ) -> Result<ActionRecord, EngineError> {
        let Some(first) = self.resolver.store.hit_record(&key)? else { return Ok(record) };
        if first.outputs != record.outputs {
            let class = match determinism {
                Determinism::Exact => "the kind promises the same bytes on any machine: please report this",
                Determinism::ExactPerIsa => {
                    "the kind promises the same bytes on one instruction set only, and none on a GPU"
                }
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
        let mut lock = self.resolver.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let _alone = self.resolver.store.lock(&Digest::of(lock.path().as_os_str().as_encoded_bytes()))?;
        lock.pin(&node.name, entry)?;
        let fetched = self.resolver.fetched_state(&node.name);
        Ok(self.resolver.store.put_state(&fetched, &self.resolver.mode.now)?)
    }
}

/// Returns the digests of all packed objects of an artifact.
pub(super) fn objects_of(store: &Store, artifact: &Artifact) -> Result<Vec<Digest>, EngineError> {
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
pub(super) struct Forward<'a> {
    pub(super) node: &'a str,
    pub(super) observer: &'a dyn Observer,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::FailureClass;

    fn outcome() -> Outcome {
        Outcome {
            outputs: std::collections::BTreeMap::new(),
            fields: std::collections::BTreeMap::new(),
            report: Vec::new(),
        }
    }

    /// A run that ends only when it is cancelled.
    fn endless(cancel: &Cancel) -> Result<Outcome, NodeError> {
        while !cancel.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(NodeError::cancelled())
    }

    #[test]
    fn a_timeout_cancels_the_run_and_not_the_build() {
        let outer = Cancel::default();
        let error = with_timeout(Some(Duration::from_millis(60)), &outer, endless).unwrap_err();
        assert_eq!(error.code.as_deref(), Some("engine::timeout"));
        assert!(error.class.is_transient());
        assert!(!outer.is_cancelled());
    }

    #[test]
    fn a_cancel_of_the_build_reaches_a_run_with_a_timeout() {
        let outer = Cancel::default();
        outer.cancel();
        let error = with_timeout(Some(Duration::from_hours(1)), &outer, endless).unwrap_err();
        assert_eq!(error.class, FailureClass::Cancelled);
    }

    #[test]
    fn a_run_in_time_keeps_its_own_result_and_error() {
        let outer = Cancel::default();
        let hour = Some(Duration::from_hours(1));
        assert_eq!(with_timeout(hour, &outer, |_| Ok(outcome())).unwrap(), outcome());
        let mine = NodeError { message: "mine".into(), ..NodeError::cancelled() };
        assert_eq!(with_timeout(hour, &outer, |_| Err(mine.clone())).unwrap_err(), mine);
    }
}
