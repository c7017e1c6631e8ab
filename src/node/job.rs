//! The serialised job: all that a node's run needs, in process, in a child, or elsewhere.
//!
//! A job knows no manifest and no graph. Its form is versioned, since a worker may be older than its driver.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Device;
use crate::record::Counts;
use crate::store::{Artifact, Digest};

/// The version of the job's form; a worker refuses any other.
pub const JOB_FORMAT: u32 = 1;

/// One run of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Job {
    /// [`JOB_FORMAT`].
    pub format: u32,
    /// The node's name, for messages only.
    pub node: String,
    /// The kind, as `family.type`, such as `filter.split`.
    pub kind: String,
    /// The kind's version when the job was made; a worker with another refuses.
    pub kind_version: u32,
    /// The node's key. It names the trajectory of nothing but this run: kinds do not look into it.
    pub key: Digest,
    /// Canonical settings: every default filled in, keys sorted.
    pub settings: Value,
    /// What the node reads of other nodes, in the order of the manifest.
    pub inputs: Vec<JobInput>,
    /// Local files that the node reads, by the setting that names them.
    pub files: Vec<JobFile>,
    /// Root of the local store.
    pub store: PathBuf,
    /// Root of the shared store, if there is one.
    pub remote: Option<PathBuf>,
    /// Of a rehearsal: the root of the store that what `store` lacks is read from; the shared one is that store's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<PathBuf>,
    /// Whether the run opens no socket, and fails where it would have to. Kinds that are there to change something outside,
    /// and those that fetch what the lock pins, are held back before they run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
    /// An empty folder that the run may write in; it is dropped afterwards.
    pub scratch: PathBuf,
    /// The output of the last run of this node, for kinds that go on from it (sources that ask only what is new).
    pub previous: BTreeMap<String, Artifact>,
    /// What the run may use. On one instruction set it never changes bytes, but that a GPU gives others than the CPU.
    pub grant: Grant,
    /// Of a node that changes something outside of the project: where that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<super::Outside>,
}

/// One input from another node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobInput {
    /// What the input is for: `from`, or `model` for the base model.
    pub role: InputRole,
    /// The node that made it, for messages and lineage.
    pub node: String,
    /// The output's name, such as `train`.
    pub output: String,
    /// The content; an empty folder where only fields are read.
    pub artifact: Artifact,
    /// What the node's run gave beside its outputs (`Outcome::fields`); for the role `fields` only the one that is read.
    pub fields: BTreeMap<String, Value>,
}

/// What an input is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputRole {
    /// Named by `from`.
    From,
    /// The base model, from `[model]`.
    Model,
    /// Only the fields are read, through `{node.field}` or a gate's condition.
    Fields,
    /// Pinned in the lock for a warm start: an earlier result of the node, and what that was made from.
    WarmStart,
}

/// One local file with its content's digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobFile {
    /// The setting that named it, such as `path`.
    pub setting: String,
    /// The name that enters the key: relative to the setting's folder, with `/`; for a single file its file name.
    pub name: String,
    /// Where it is on this machine.
    pub path: PathBuf,
    /// BLAKE3 of the content when it was planned.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// What a run may use of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Grant {
    /// Threads.
    pub threads: usize,
    /// Bytes of memory, where a limit is known.
    pub memory: Option<u64>,
    /// The device; the CPU for kinds that have no choice.
    #[serde(default)]
    pub device: Device,
}

/// What a run gives back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// The outputs by name; exactly those that the kind declares.
    pub outputs: BTreeMap<String, Artifact>,
    /// Metrics and other values that `{node.field}` and gates read, such as `loss`. A pure function of the key for
    /// kinds that are exact: no times in here.
    pub fields: BTreeMap<String, Value>,
    /// Counted remarks for people, such as dropped records by reason; kept with the action record.
    pub report: Vec<Count>,
}

/// One counted remark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What was counted, such as `dropped: answer shorter than 120 characters`.
    pub what: String,
    /// How many.
    pub count: u64,
}

impl Count {
    /// Returns counted remarks in the order of their text.
    pub fn all(counts: &Counts) -> Vec<Self> {
        counts.iter().map(|(what, count)| Self { what: what.to_owned(), count }).collect()
    }

    /// Returns the counts of a source of several: what was read of it, the rows that stayed, and the remarks. Each begins
    /// with the source's name and a colon, by which the table of a build finds them.
    pub fn of_source(source: &str, read: u64, rows: u64, remarks: &Counts) -> Vec<Self> {
        let count = |what: &str, count| Self { what: format!("{source}: {what}"), count };
        let remarks = remarks.iter().map(|(what, n)| count(what, n));
        [count("read", read), count("rows", rows)].into_iter().chain(remarks).collect()
    }
}

/// What a run says while it goes on: one JSON object a line on a worker's standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Work done so far.
    Progress(Progress),
    /// A line for people.
    Note {
        /// The line.
        text: String,
    },
    /// A line for people about something that is wrong but does not end the run.
    Warning {
        /// The line.
        text: String,
    },
    /// The run ended well. Last event.
    Done {
        /// What it gave.
        outcome: Outcome,
    },
    /// The run failed. Last event.
    Failed {
        /// Why.
        error: super::NodeError,
    },
}

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// How many of those an earlier run did, where it is known; they tell nothing of this one's pace.
    #[serde(default)]
    pub kept: u64,
    /// Units in all, when known.
    pub total: Option<u64>,
    /// What a unit is: `records`, `bytes`, `steps`, `requests`.
    pub unit: String,
    /// A short live text, such as `loss 1.234 · 95 tokens/s`.
    pub detail: String,
    /// Seconds that are left, where the run knows better than what its pace so far says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
}
