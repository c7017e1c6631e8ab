//! What the engine says while it works. The terminal, `--json` and the run log are three observers of the same words.

use serde::Serialize;

use super::StaleReason;
use crate::node::{NodeError, Progress};

/// Something that happened to a node.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Said {
    /// It is fresh; nothing runs.
    Fresh,
    /// It starts to run.
    Started {
        /// Why.
        reason: StaleReason,
    },
    /// It goes on.
    Progress(Progress),
    /// A line for people.
    Note {
        /// The line.
        text: String,
    },
    /// A line for people about something wrong that does not end the run.
    Warning {
        /// The line.
        text: String,
    },
    /// A try failed and another one follows.
    Retry {
        /// Which try comes next, from 2.
        attempt: u32,
        /// Why the last one failed.
        error: NodeError,
    },
    /// It ran and gave a result.
    Built {
        /// Milliseconds.
        duration_ms: u64,
        /// Whether the bytes are those of the last build, so that nothing after it runs for its sake.
        unchanged: bool,
    },
    /// It failed.
    Failed {
        /// Why.
        error: NodeError,
    },
    /// It does not run since something before it failed or was not met.
    Skipped {
        /// The node that it waits for.
        because: String,
    },
    /// An effect that was not asked for.
    NotDeployed,
    /// Its `out` was written, found right, or left alone.
    Out {
        /// The path as the manifest has it.
        path: String,
        /// What was done.
        what: super::OutWrite,
    },
}

/// Takes what happens during a build; called from any thread.
pub trait Observer: Sync {
    /// Takes what happened to `node`.
    fn said(&self, node: &str, said: &Said);
}
