//! What differs between two runs of a node, in the user's terms: settings, files, and the records of its inputs.
//!
//! Inputs are named by their nodes, not by their place in the key. Of a record set the difference says which records;
//! of any other artifact only that it changed.

mod rows;
mod trace;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{EngineError, Trace};
use crate::record::{RecordError, diff};
use crate::store::{Artifact, RecordsRef, Store, StoreError};

pub use self::rows::{RowChange, RowChanges, row_changes};

/// Ids that are named of each sort of change; the rest is counted.
const NAMED: usize = 5;

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

impl Ids {
    fn of(ids: &[String]) -> Self {
        Self { count: ids.len(), first: ids.iter().take(NAMED).cloned().collect() }
    }
}
