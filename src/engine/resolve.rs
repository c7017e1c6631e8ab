//! Whether a node is fresh: the one decision that `plan`, `status` and `build` share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settings::{key_settings, substitute};
use super::{EngineError, KindCatalog, LockEntry, Lockfile, StaleReason};
use crate::graph::{Graph, Node, NodeIndex, Role};
use crate::manifest::Refresh;
use crate::node::{FieldReference, FileInput, InputRole, JobFile, JobInput, Kind};
use crate::store::{ActionRecord, Artifact, Digest, Explained, Key, Store};

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

/// What is known of a node that is fresh or has just been built.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its key.
    pub key: Digest,
    /// Its outputs by name.
    pub outputs: BTreeMap<String, Artifact>,
    /// Metrics and other values.
    pub fields: BTreeMap<String, Value>,
    /// Counted remarks.
    pub report: Vec<(String, u64)>,
}

/// A run's inputs, all known, and the key that they give.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Settings with `{node.field}` filled in.
    pub settings: Value,
    /// What it reads of other nodes.
    pub inputs: Vec<JobInput>,
    /// Local files.
    pub files: Vec<JobFile>,
    /// The key.
    pub key: Digest,
    /// The key in parts.
    pub explained: Explained,
    /// The outputs of the last snapshot, for pinned kinds that go on from it.
    pub previous: BTreeMap<String, Artifact>,
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

impl Prepared {
    /// Returns what is remembered of a run on these inputs.
    pub fn trace(&self) -> Trace {
        let inputs = self.inputs.iter();
        Trace {
            key: self.key,
            explained: self.explained.clone(),
            inputs: inputs.map(|input| (input.node.clone(), input.output.clone(), input.artifact.clone())).collect(),
        }
    }
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
        let prepared = self.prepare(node, kind, known)?;
        if kind.info().pinned {
            return self.decide_pinned(node, prepared);
        }
        if kind.is_effect(&prepared.settings) {
            return Ok(Decision::Run(Box::new(prepared), StaleReason::Effect));
        }
        if self.mode.force.contains(&node.name) {
            return Ok(Decision::Run(Box::new(prepared), StaleReason::Forced));
        }
        if let Some(record) = self.store.hit(&prepared.key)? {
            return Ok(Decision::Fresh(known_of(prepared.key, record)));
        }
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
        if self.kind(node)?.info().pinned {
            let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = lock.get(&node.name).filter(|entry| entry.kind == node.kind_name);
            return entry.map(|entry| self.pinned(entry)).transpose();
        }
        let Some(trace) = self.trace(&self.graph[index].name)? else { return Ok(None) };
        Ok(self.store.hit(&trace.key)?.map(|record| known_of(trace.key, record)))
    }

    /// Gathers a run's inputs and their key.
    pub fn prepare(&self, node: &Node, kind: &dyn Kind, known: &[Option<Arc<Known>>]) -> Result<Prepared, EngineError> {
        let settings = substitute(node, self.graph, known)?;
        let inputs = self.inputs(node, kind, known)?;
        let files = self.files(node, kind.files(&settings))?;
        let input_parts: Vec<(String, Digest)> =
            inputs.iter().flat_map(|input| input_parts(input, kind.reads_input_names())).collect();
        let file_parts: Vec<(String, Digest)> =
            files.iter().map(|file| (format!("{} {}", file.setting, file.name), file.digest)).collect();
        let key_settings = key_settings(&settings, kind.outside_key());
        let tools = kind.tools(&settings);
        let key = Key {
            kind: &node.kind_name,
            kind_version: kind.info().version,
            settings: &key_settings,
            inputs: &input_parts,
            files: &file_parts,
            tools: &tools,
        };
        let (digest, explained) = (key.digest(), key.explained());
        Ok(Prepared { settings, inputs, files, key: digest, explained, previous: BTreeMap::new() })
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
        Ok(self.store.put_state(&self.state_name(&node.name), &trace)?)
    }

    /// Notes what a fresh node has, where something else was noted last: settings that were put back, or a result of
    /// somebody else.
    pub(super) fn remember_fresh(
        &self,
        index: NodeIndex,
        fresh: &Known,
        known: &[Option<Arc<Known>>],
    ) -> Result<(), EngineError> {
        #[derive(Deserialize)]
        struct Last {
            key: Digest,
        }
        let node = &self.graph[index];
        let last: Option<Last> = self.store.state(&self.state_name(&node.name))?;
        if last.is_some_and(|last| last.key == fresh.key) {
            return Ok(());
        }
        let prepared = self.prepare(node, self.kind(node)?, known)?;
        self.remember(node, &prepared, fresh.key)
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
        let Some(reason) = self.pin_reason(node, &prepared, entry)? else {
            return Ok(match entry {
                Some(entry) => Decision::Fresh(self.pinned(entry)?),
                None => Decision::Run(Box::new(prepared), StaleReason::NotPinned),
            });
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
                fetched.is_none_or(|fetched| self.mode.now.saturating_sub(fetched) >= period.as_secs())
            }
        };
        Ok(due.then_some(StaleReason::RefreshDue))
    }

    /// Returns the name of the state that holds when a pinned node was last fetched.
    pub(super) fn fetched_state(&self, node: &str) -> String {
        format!("fetched/{}/{node}", self.profile.unwrap_or_default())
    }

    fn inputs(&self, node: &Node, kind: &dyn Kind, known: &[Option<Arc<Known>>]) -> Result<Vec<JobInput>, EngineError> {
        let mut inputs = Vec::new();
        for edge in &node.inputs {
            let from = &self.graph[edge.from];
            let Some(known) = &known[edge.from.get()] else { continue };
            let role = match edge.role {
                Role::From => InputRole::From,
                Role::Model => InputRole::Model,
                // Fields are read one by one, below. A gate lets the node run or not; it shapes no bytes.
                Role::Fields | Role::Gate => continue,
            };
            let Some(artifact) = known.outputs.get(&edge.output) else {
                let declared = from.outputs.iter().map(|output| output.name.clone()).collect();
                let got = known.outputs.keys().cloned().collect();
                return Err(EngineError::WrongOutputs { node: from.name.clone(), got, declared });
            };
            inputs.push(JobInput {
                role,
                node: from.name.clone(),
                output: edge.output.clone(),
                artifact: artifact.clone(),
                fields: known.fields.clone(),
            });
        }
        inputs.extend(self.field_inputs(node, kind, known)?);
        Ok(inputs)
    }

    /// Returns the single fields that a node reads, such as a gate's metrics.
    fn field_inputs(
        &self,
        node: &Node,
        kind: &dyn Kind,
        known: &[Option<Arc<Known>>],
    ) -> Result<Vec<JobInput>, EngineError> {
        let mut inputs = Vec::new();
        for FieldReference { node: from, field, .. } in kind.references(&node.settings) {
            let value = self
                .graph
                .find(&from)
                .and_then(|index| known[index.get()].as_ref())
                .and_then(|known| known.fields.get(&field))
                .ok_or_else(|| EngineError::MissingField {
                    node: node.name.clone(),
                    from: from.clone(),
                    field: field.clone(),
                })?;
            inputs.push(JobInput {
                role: InputRole::Fields,
                node: from,
                output: String::new(),
                artifact: Artifact::Folder { files: BTreeMap::new() },
                fields: BTreeMap::from([(field, value.clone())]),
            });
        }
        Ok(inputs)
    }

    /// Returns the local files of a node with their digests, sorted by setting and name.
    fn files(&self, node: &Node, inputs: Vec<FileInput>) -> Result<Vec<JobFile>, EngineError> {
        let mut files = Vec::new();
        for input in inputs {
            for (name, path) in super::settings::listed_files(node, self.root, &input)? {
                let digest = self.store.file_digest(&path)?;
                let size = fs_err::metadata(&path)?.len();
                files.push(JobFile { setting: input.setting.to_owned(), name, path, digest, size });
            }
        }
        Ok(files)
    }
}

/// Returns the parts of a key that an input gives. The name of its node shapes bytes only for kinds that say so.
fn input_parts(input: &JobInput, with_name: bool) -> Vec<(String, Digest)> {
    let name = if with_name { format!(" {}", input.node) } else { String::new() };
    match input.role {
        InputRole::From => vec![(format!("from{name}"), input.artifact.digest())],
        InputRole::Model => vec![("model".to_owned(), input.artifact.digest())],
        InputRole::Fields => input
            .fields
            .iter()
            .map(|(field, value)| (format!("field {}.{field}", input.node), Digest::of(value.to_string().as_bytes())))
            .collect(),
    }
}

/// Names an input in a part of a key by its node: keys have its place, since names shape no bytes.
fn by_name<'n>(part: &str, mut nodes: impl Iterator<Item = &'n str>) -> String {
    let place = part.strip_prefix("input ").and_then(|rest| rest.split(' ').next()?.parse().ok());
    match place.and_then(|place| nodes.nth(place)) {
        Some(node) => format!("input `{node}`"),
        None => part.to_owned(),
    }
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

pub(super) fn known_of(key: Digest, record: ActionRecord) -> Arc<Known> {
    Arc::new(Known { key, outputs: record.outputs, fields: record.fields, report: record.report })
}
