//! What differs between two runs of a node, in the user's terms: settings, files, and the records of its inputs.
//!
//! Inputs are named by their nodes, not by their place in the key. Of a record set the difference says which records;
//! of any other artifact only that it changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::{EngineError, RunLog, Trace};
use crate::record::{Changed, Conversation, Line, RecordError, changes, diff};
use crate::store::{Artifact, Explained, RecordsRef, Store, StoreError};

/// Ids that are named of each sort of change; the rest is counted.
const NAMED: usize = 5;
/// Earlier runs that are looked at for an input that a run did not select.
const LOOKED_BACK: usize = 50;

/// One difference between two runs of a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Difference {
    /// Another kind of node, or another version of it.
    Kind {
        /// `kind` or `kind version`.
        name: String,
        /// Before.
        old: Option<String>,
        /// Now.
        new: Option<String>,
    },
    /// A setting.
    Setting {
        /// Its name; of a nested one, the names with dots.
        name: String,
        /// The value before, when there was one.
        old: Option<Value>,
        /// The value now, when there is one.
        new: Option<Value>,
    },
    /// The version of a tool.
    Tool {
        /// The tool.
        name: String,
        /// Before.
        old: Option<String>,
        /// Now.
        new: Option<String>,
    },
    /// A local file.
    File {
        /// The setting that names it.
        setting: String,
        /// Its name below what the setting names.
        name: String,
        /// What became of it.
        change: Change,
    },
    /// What another node gave.
    Input {
        /// The node.
        node: String,
        /// Its output.
        output: String,
        /// What became of it.
        change: Change,
        /// The records that differ, where both are record sets that the store still has.
        records: Option<RecordChanges>,
    },
    /// A field of another node.
    Field {
        /// `node.field`.
        name: String,
        /// What became of it.
        change: Change,
    },
    /// The same inputs in another order.
    Order,
}

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Its content differs.
    Changed,
    /// It was not there before.
    New,
    /// It is not there any more.
    Gone,
}

/// The records that differ between two sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecordChanges {
    /// Only in the new set.
    pub added: Ids,
    /// In both, with other content.
    pub edited: Ids,
    /// Only in the old set.
    pub removed: Ids,
}

/// Ids, counted, the first ones by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ids {
    /// How many.
    pub count: usize,
    /// The first ones.
    pub first: Vec<String>,
}

/// Returns what differs from `old` to `new`: the kind, settings, tools, files, and last the inputs.
///
/// # Errors
/// Errors of the store; record sets that it no longer has are no error.
pub fn differences(store: &Store, old: &Trace, new: &Trace) -> Result<Vec<Difference>, EngineError> {
    let mut differences = Vec::new();
    for change in old.explained.changes(&new.explained) {
        let how = change_of(change.old.is_some(), change.new.is_some());
        let part = change.part.as_str();
        if is_input(part) {
            continue;
        }
        differences.push(if let Some(name) = part.strip_prefix("settings.") {
            Difference::Setting { name: name.to_owned(), old: json(change.old), new: json(change.new) }
        } else if let Some(file) = part.strip_prefix("file ") {
            let (setting, name) = file.split_once(' ').unwrap_or(("", file));
            Difference::File { setting: setting.to_owned(), name: name.to_owned(), change: how }
        } else if let Some(name) = part.strip_prefix("tool ") {
            Difference::Tool { name: name.to_owned(), old: change.old, new: change.new }
        } else {
            Difference::Kind { name: change.part, old: change.old, new: change.new }
        });
    }
    differences.extend(input_differences(store, old, new)?);
    Ok(differences)
}

/// Returns the records that differ between two artifacts; `None` where one is no record set or is gone.
///
/// # Errors
/// Errors of the store.
pub fn record_changes(store: &Store, old: &Artifact, new: &Artifact) -> Result<Option<RecordChanges>, EngineError> {
    let (Artifact::Records(old), Artifact::Records(new)) = (old, new) else { return Ok(None) };
    changes_of_sets(store, old, new)
}

/// A row that differs between two builds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowChange {
    /// Its id.
    pub id: String,
    /// The row before.
    pub old: Option<Conversation>,
    /// The row now.
    pub new: Option<Conversation>,
}

/// The rows that differ between two builds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowChanges {
    /// The first ones, in order of their ids.
    pub first: Vec<RowChange>,
    /// The ids of all.
    pub ids: Vec<String>,
}

/// Returns the rows or corrections that differ between two record sets and are not in `known`; `limit` are read. None
/// where one is no record set or is gone, and none of records of another sort.
///
/// # Errors
/// Errors of the store.
pub fn row_changes(
    store: &Store,
    old: &Artifact,
    new: &Artifact,
    known: &BTreeSet<String>,
    limit: usize,
) -> Result<RowChanges, EngineError> {
    let mut rows = RowChanges::default();
    let (Artifact::Records(old), Artifact::Records(new), 1..) = (old, new, limit) else { return Ok(rows) };
    let changed = match changes(store, old, new) {
        Err(RecordError::Store(StoreError::Missing { .. } | StoreError::Damaged { .. })) => return Ok(rows),
        changed => changed?,
    };
    let row = |line: Option<&Line<'_>>| -> Result<Option<Conversation>, RecordError> {
        Ok(line.map(Line::record).transpose()?.and_then(|record| record.conversation().cloned()))
    };
    for Changed { old, new } in &changed {
        let Some(id) = new.as_ref().or(old.as_ref()).map(Line::id).filter(|id| !known.contains(*id)) else { continue };
        if rows.ids.len() < limit {
            let (old, new) = (row(old.as_ref())?, row(new.as_ref())?);
            if old.is_none() && new.is_none() {
                return Ok(RowChanges::default());
            }
            rows.first.push(RowChange { id: id.to_owned(), old, new });
        }
        rows.ids.push(id.to_owned());
    }
    Ok(rows)
}

fn changes_of_sets(store: &Store, old: &RecordsRef, new: &RecordsRef) -> Result<Option<RecordChanges>, EngineError> {
    match diff(store, old, new) {
        Ok(diff) => Ok(Some(RecordChanges {
            added: Ids::of(&diff.added),
            edited: Ids::of(&diff.edited),
            removed: Ids::of(&diff.removed),
        })),
        Err(RecordError::Store(StoreError::Missing { .. } | StoreError::Damaged { .. })) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The content of an input: the digest in the key, and what it names.
struct InputPart<'a> {
    digest: &'a str,
    artifact: &'a Artifact,
}

/// Returns a trace's inputs by what names them: node and output, or a field.
fn inputs(trace: &Trace) -> Vec<((String, String), InputPart<'_>)> {
    let parts = trace.explained.parts().iter().filter(|(part, _)| is_input(part));
    parts
        .zip(&trace.inputs)
        .map(|((part, digest), (node, output, artifact))| {
            let name = match part.split_once(" field ") {
                Some((_, field)) => (String::new(), field.to_owned()),
                None => (node.clone(), output.clone()),
            };
            (name, InputPart { digest, artifact })
        })
        .collect()
}

fn input_differences(store: &Store, old: &Trace, new: &Trace) -> Result<Vec<Difference>, EngineError> {
    let (before, now) = (inputs(old), inputs(new));
    let by_name: BTreeMap<_, _> = before.iter().map(|(name, part)| (name, part)).collect();
    let mut differences = Vec::new();
    for (name, part) in &now {
        match by_name.get(name) {
            Some(old) if old.digest == part.digest => {}
            Some(old) => {
                let records = record_changes(store, old.artifact, part.artifact)?;
                differences.push(input_difference(name, Change::Changed, records));
            }
            None => differences.push(input_difference(name, Change::New, None)),
        }
    }
    let gone = before.iter().filter(|(name, _)| now.iter().all(|(other, _)| other != name));
    differences.extend(gone.map(|(name, _)| input_difference(name, Change::Gone, None)));
    let order = |inputs: &[((String, String), InputPart<'_>)]| -> Vec<(String, String)> {
        inputs.iter().map(|(name, _)| name.clone()).collect()
    };
    if differences.is_empty() && order(&before) != order(&now) {
        differences.push(Difference::Order);
    }
    Ok(differences)
}

fn input_difference(name: &(String, String), change: Change, records: Option<RecordChanges>) -> Difference {
    let (node, output) = name.clone();
    if node.is_empty() {
        Difference::Field { name: output, change }
    } else {
        Difference::Input { node, output, change, records }
    }
}

fn is_input(part: &str) -> bool {
    part.starts_with("input ")
}

fn change_of(was: bool, is: bool) -> Change {
    match (was, is) {
        (false, _) => Change::New,
        (true, false) => Change::Gone,
        (true, true) => Change::Changed,
    }
}

/// Reads a setting of a key, which is JSON in one line.
fn json(text: Option<String>) -> Option<Value> {
    text.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

impl RunLog {
    /// Returns what a node was built from in this run; `None` when the run has no result of it, or the store has
    /// dropped its record.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn trace(&self, store: &Store, node: &str) -> Result<Option<Trace>, EngineError> {
        let Some((entry, key)) = self.node(node).and_then(|entry| Some((entry, entry.key?))) else { return Ok(None) };
        let Some(record) = store.action(&key)? else { return Ok(None) };
        let inputs = self.inputs_of(store, &record.explained, &entry.reads)?;
        Ok(Some(Trace { key, explained: record.explained, inputs }))
    }

    /// Names the inputs of a key: which output of which node that was read has that content. What this run did not
    /// select was built by an earlier one.
    fn inputs_of(
        &self,
        store: &Store,
        explained: &Explained,
        reads: &[String],
    ) -> Result<Vec<(String, String, Artifact)>, EngineError> {
        let digests: Vec<&str> = explained
            .parts()
            .iter()
            .filter(|(part, _)| is_input(part))
            .map(|(part, digest)| if part.contains(" field ") { "" } else { digest.as_str() })
            .collect();
        let mut named: Vec<Option<(String, String, Artifact)>> = vec![None; digests.len()];
        let earlier = Self::numbers(store)?.into_iter().rev().filter(|run| *run < self.run).take(LOOKED_BACK);
        for log in std::iter::once(Ok(self.clone())).chain(earlier.map(|run| Self::read(store, Some(run)))) {
            let log = log?;
            for (digest, name) in
                digests.iter().zip(&mut named).filter(|(digest, name)| !digest.is_empty() && name.is_none())
            {
                *name = log.output_with(digest, reads);
            }
            if digests.iter().zip(&named).all(|(digest, name)| digest.is_empty() || name.is_some()) {
                break;
            }
        }
        let unknown = || {
            (
                "an input of a run that is not kept".to_owned(),
                String::new(),
                Artifact::Folder { files: BTreeMap::new() },
            )
        };
        Ok(named.into_iter().map(|name| name.unwrap_or_else(unknown)).collect())
    }

    /// Returns which output of which of these nodes has that content.
    fn output_with(&self, digest: &str, nodes: &[String]) -> Option<(String, String, Artifact)> {
        let entries = nodes.iter().filter_map(|node| self.node(node));
        let mut outputs =
            entries.flat_map(|entry| entry.outputs.iter().map(move |(name, artifact)| (entry, name, artifact)));
        let found = outputs.find(|(_, _, artifact)| artifact.digest().to_string() == digest);
        found.map(|(entry, name, artifact)| (entry.node.clone(), name.clone(), artifact.clone()))
    }
}

impl Ids {
    fn of(ids: &[String]) -> Self {
        Self { count: ids.len(), first: ids.iter().take(NAMED).cloned().collect() }
    }
}

impl fmt::Display for RecordChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (ids, word) in [(&self.added, "added"), (&self.edited, "edited"), (&self.removed, "removed")] {
            if ids.count == 0 {
                continue;
            }
            let records = if ids.count == 1 { "record" } else { "records" };
            let more = if ids.count > ids.first.len() { " …" } else { "" };
            let comma = if first { "" } else { ", " };
            let noun = if first { format!(" {records}") } else { String::new() };
            write!(f, "{comma}{}{noun} {word} ({}{more})", ids.count, ids.first.join(", "))?;
            first = false;
        }
        if first { f.write_str("no record differs") } else { Ok(()) }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::New => "is new",
            Self::Gone => "is gone",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { name, old, new } => values(f, name, old.as_ref(), new.as_ref()),
            Self::Setting { name, old, new } => values(f, &format!("setting {name}"), old.as_ref(), new.as_ref()),
            Self::Tool { name, old, new } => values(f, &format!("tool {name}"), old.as_ref(), new.as_ref()),
            Self::File { name, change, .. } => write!(f, "file {name} {change}"),
            Self::Field { name, change } => write!(f, "field {name} {change}"),
            Self::Order => f.write_str("the inputs are in another order"),
            Self::Input { node, output, change, records } => {
                let colon = if output.is_empty() { "" } else { ":" };
                write!(f, "input {node}{colon}{output} {change}")?;
                match (change, records) {
                    (Change::Changed, Some(records)) => write!(f, ": {records}"),
                    _ => Ok(()),
                }
            }
        }
    }
}

fn values<T: fmt::Display>(f: &mut fmt::Formatter<'_>, name: &str, old: Option<&T>, new: Option<&T>) -> fmt::Result {
    match (old, new) {
        (Some(old), Some(new)) => write!(f, "{name}: {old} → {new}"),
        (None, Some(new)) => write!(f, "{name}: new, {new}"),
        (Some(old), None) => write!(f, "{name}: gone, was {old}"),
        (None, None) => f.write_str(name),
    }
}
