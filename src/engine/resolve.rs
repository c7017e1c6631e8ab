//! Whether a node is fresh: the one decision that `plan`, `status` and `build` share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{EngineError, Exclusions, KindCatalog, LockEntry, Lockfile, Prepared, StaleReason};
use crate::graph::{Graph, Node, NodeIndex};
use crate::manifest::Refresh;
use crate::node::Kind;
use crate::store::{Artifact, Digest, Explained, Known, Store};

/// What the user asked for beside the manifest.
#[derive(Clone, Debug, Default)]
pub struct Mode {
    /// Fail rather than change the lock.
    pub locked: bool,
    /// Open no socket.
    pub offline: bool,
    /// Refresh these pinned nodes; with [`Self::refresh_all`] every one.
    pub refresh: BTreeSet<String>,
    /// Refresh every pinned node.
    pub refresh_all: bool,
    /// Run these nodes whatever the store has.
    pub force: BTreeSet<String>,
    /// Seconds since 1970, for `refresh` policies only; never part of a key.
    pub now: u64,
}

/// What is to be done about a node.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Nothing: this is what it has.
    Fresh(Arc<Known>),
    /// Run it.
    Run(Box<Prepared>, StaleReason),
    /// Not known before these nodes have run: early cutoff may still spare it.
    Waits(Vec<NodeIndex>),
}

/// What is remembered of a node's last build, for `explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Trace {
    /// The key under which its result is kept; of a pinned node that of the snapshot.
    pub key: Digest,
    /// The key in parts.
    pub explained: Explained,
    /// Inputs: node, output, content.
    pub inputs: Vec<(String, String, Artifact)>,
}

/// Decides about nodes.
#[derive(Clone, Copy)]
pub struct Resolver<'a> {
    /// The kinds.
    pub catalog: &'a KindCatalog,
    /// The graph.
    pub graph: &'a Graph,
    /// The store.
    pub store: &'a Store,
    /// The lock; a build pins snapshots while it runs.
    pub lock: &'a Mutex<Lockfile>,
    /// The manifest's folder: local paths are relative to it.
    pub root: &'a Path,
    /// The profile in use, if any: its nodes are other nodes.
    pub profile: Option<&'a str>,
    /// What the user asked for.
    pub mode: &'a Mode,
    /// The records that no reader sees.
    pub exclusions: &'a Exclusions,
}

impl Resolver<'_> {
    /// Decides about a node. `known` has what is known of the nodes before it.
    ///
    /// # Errors
    /// A missing local file, a broken store, `--locked` or `--offline` that cannot be kept.
    pub fn decide(&self, index: NodeIndex, known: &[Option<Arc<Known>>]) -> Result<Decision, EngineError> {
        let node = &self.graph[index];
        let waits: Vec<NodeIndex> =
            node.inputs.iter().map(|edge| edge.from).filter(|from| known[from.get()].is_none()).collect();
        if !waits.is_empty() {
            return Ok(Decision::Waits(waits));
        }
        let kind = self.kind(node)?;
        let parts = self.parts(node, kind, known)?;
        if kind.is_pinned(&parts.settings) {
            return self.decide_pinned(node, self.prepared(parts, known)?);
        }
        if kind.is_effect(&parts.settings) {
            return Ok(Decision::Run(Box::new(self.prepared(parts, known)?), StaleReason::Effect));
        }
        if self.mode.force.contains(&node.name) {
            return Ok(Decision::Run(Box::new(self.prepared(parts, known)?), StaleReason::Forced));
        }
        if let Some(known) = self.admitted_hit(self.store.hit(&parts.key())?)? {
            return Ok(Decision::Fresh(known));
        }
        let prepared = self.prepared(parts, known)?;
        let reason = self.stale_reason(node, &prepared)?;
        Ok(Decision::Run(Box::new(prepared), reason))
    }

    /// Returns the name under which a node's state is kept: a profile's nodes are other nodes.
    pub fn state_name(&self, node: &str) -> String {
        format!("node/{}/{node}", self.profile.unwrap_or_default())
    }

    /// Returns what is remembered of a node's last build.
    pub fn trace(&self, node: &str) -> Result<Option<Trace>, EngineError> {
        Ok(self.store.state(&self.state_name(node))?)
    }

    /// Returns what a node gave when it was last built, if the store still has it; of a pinned node, its snapshot.
    pub fn last_built(&self, index: NodeIndex) -> Result<Option<Arc<Known>>, EngineError> {
        let node = &self.graph[index];
        if self.kind(node)?.is_pinned(&node.settings) {
            let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = lock.get(&node.name).filter(|entry| entry.kind == node.kind_name);
            return self.admitted_hit(entry.map(|entry| self.pinned(entry)).transpose()?);
        }
        let Some(trace) = self.trace(&self.graph[index].name)? else { return Ok(None) };
        self.admitted_hit(self.store.hit(&trace.key)?)
    }

    /// Returns the kind of a node.
    pub fn kind(&self, node: &Node) -> Result<&'static dyn Kind, EngineError> {
        self.catalog.kind(node).ok_or_else(|| EngineError::UnknownNode {
            name: node.name.clone(),
            help: format!("this tunesmith was built without the kind `{}`", node.kind_name),
        })
    }

    /// Notes what a node has and what went into it, for `explain`, for the reason of its next run, and for `--from`.
    pub(super) fn remember(&self, node: &Node, prepared: &Prepared, key: Digest) -> Result<(), EngineError> {
        let trace = Trace { key, ..prepared.trace() };
        Ok(self.store.put_trace(&self.state_name(&node.name), key, &trace)?)
    }

    /// Notes what a fresh node has, where something else was noted last: settings that were put back, or a result of
    /// somebody else. Returns whether it was.
    pub(super) fn remember_fresh(
        &self,
        index: NodeIndex,
        fresh: &Known,
        known: &[Option<Arc<Known>>],
    ) -> Result<bool, EngineError> {
        let node = &self.graph[index];
        if self.store.last_key(&self.state_name(&node.name))? == Some(fresh.key) {
            return Ok(false);
        }
        let prepared = self.prepare(node, self.kind(node)?, known)?;
        self.remember(node, &prepared, fresh.key)?;
        Ok(true)
    }

    fn stale_reason(&self, node: &Node, prepared: &Prepared) -> Result<StaleReason, EngineError> {
        let Some(trace) = self.trace(&node.name)? else { return Ok(StaleReason::NeverBuilt) };
        let mut changes = trace.explained.changes(&prepared.explained);
        for change in &mut changes {
            let now = prepared.inputs.iter().map(|input| input.node.as_str());
            let then = trace.inputs.iter().map(|(node, ..)| node.as_str());
            change.part = if change.new.is_some() { by_name(&change.part, now) } else { by_name(&change.part, then) };
        }
        Ok(if changes.is_empty() { StaleReason::ResultMissing } else { StaleReason::Changed { changes } })
    }

    /// Decides about a node whose result is a snapshot pinned in the lock.
    fn decide_pinned(&self, node: &Node, mut prepared: Prepared) -> Result<Decision, EngineError> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = lock.get(&node.name).filter(|entry| entry.kind == node.kind_name);
        if let Some(entry) = entry {
            prepared.previous.clone_from(&entry.outputs);
        }
        let reason = match (self.pin_reason(node, &prepared, entry)?, entry) {
            (Some(reason), _) => reason,
            (None, Some(entry)) => match self.admitted_hit(Some(self.pinned(entry)?))? {
                Some(known) => return Ok(Decision::Fresh(known)),
                None => StaleReason::SnapshotMissing { snapshot: snapshot_digest(entry) },
            },
            (None, None) => StaleReason::NotPinned,
        };
        // What is gone cannot be gone on from.
        for artifact in prepared.previous.values() {
            if !self.store.has_artifact(artifact)? {
                prepared.previous.clear();
                break;
            }
        }
        if self.mode.locked {
            return Err(EngineError::Locked { node: node.name.clone(), reason: reason.to_string() });
        }
        if self.mode.offline {
            return Err(EngineError::Offline { node: node.name.clone(), reason: reason.to_string() });
        }
        Ok(Decision::Run(Box::new(prepared), reason))
    }

    /// Returns what a snapshot of the lock gave.
    fn pinned(&self, entry: &LockEntry) -> Result<Arc<Known>, EngineError> {
        let key = snapshot_key(&entry.settings, &entry.outputs);
        let record = self.store.action(&key)?;
        let (fields, report) = record.map(|record| (record.fields, record.report)).unwrap_or_default();
        Ok(Arc::new(Known { key, outputs: entry.outputs.clone(), fields, report }))
    }

    /// Returns the snapshot that the lock has of a node.
    pub(super) fn snapshot(&self, node: &str) -> BTreeMap<String, Artifact> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.get(node).map(|entry| entry.outputs.clone()).unwrap_or_default()
    }

    /// Returns why a pinned node must move; `None` when it stays.
    fn pin_reason(
        &self,
        node: &Node,
        prepared: &Prepared,
        entry: Option<&LockEntry>,
    ) -> Result<Option<StaleReason>, EngineError> {
        let Some(entry) = entry else { return Ok(Some(StaleReason::NotPinned)) };
        if entry.settings != prepared.key {
            return Ok(Some(StaleReason::PinOutdated));
        }
        if self.mode.force.contains(&node.name) {
            return Ok(Some(StaleReason::Forced));
        }
        if self.mode.refresh_all || self.mode.refresh.contains(&node.name) {
            return Ok(Some(StaleReason::RefreshAsked));
        }
        for artifact in entry.outputs.values() {
            if !self.store.has_artifact(artifact)? {
                return Ok(Some(StaleReason::SnapshotMissing { snapshot: artifact.digest() }));
            }
        }
        if self.mode.locked || self.mode.offline {
            return Ok(None);
        }
        let due = match node.refresh {
            Refresh::Manual => false,
            Refresh::Always => true,
            Refresh::Every(period) => {
                let fetched: Option<u64> = self.store.state(&self.fetched_state(&node.name))?;
                // A time in the future is of a clock that was wrong: then or now.
                let age = |fetched| self.mode.now.checked_sub(fetched);
                fetched.and_then(age).is_none_or(|age| age >= period.as_secs())
            }
        };
        Ok(due.then_some(StaleReason::RefreshDue))
    }

    /// Returns the name of the state that holds when a pinned node was last fetched.
    pub(super) fn fetched_state(&self, node: &str) -> String {
        format!("fetched/{}/{node}", self.profile.unwrap_or_default())
    }
}

/// Names an input in a part of a key by its node: keys have its place, since names shape no bytes.
fn by_name<'n>(part: &str, mut nodes: impl Iterator<Item = &'n str>) -> String {
    if let Some((_, what)) = part.split_once(" warm-start ") {
        return format!("input {} of the warm start", if what == "rows" { what } else { "result" });
    }
    let place = part.strip_prefix("input ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    match place.and_then(|place| nodes.nth(place)) {
        Some(node) => format!("input `{node}`"),
        None => part.to_owned(),
    }
}

/// Returns the digest that a snapshot is named by: that of its first output.
fn snapshot_digest(entry: &LockEntry) -> Digest {
    entry.outputs.values().next().map_or(entry.settings, Artifact::digest)
}

/// Returns the key under which a pinned snapshot's record is kept: the settings' key and what was found upstream.
pub(super) fn snapshot_key(settings: &Digest, outputs: &BTreeMap<String, Artifact>) -> Digest {
    let mut bytes = settings.as_bytes().to_vec();
    for (name, artifact) in outputs {
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(artifact.digest().as_bytes());
    }
    Digest::of(&bytes)
}
