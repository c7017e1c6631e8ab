//! What a node put outside of the project, so that it can be taken back: one named state of the store for each node.
//!
//! An entry is durable before the change that it tells of. A run that was ended in between leaves an entry whose change
//! was not made; the next one sees that by the target, not by the ledger.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{NodeError, Run};
use crate::store::{Digest, FileLock};

/// More entries are not kept.
const MOST: usize = 50;

/// What an effect needs to know of the project around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outside {
    /// The manifest's folder: paths of targets start from it.
    pub folder: PathBuf,
    /// The name of the state that the ledger is kept under.
    pub ledger: String,
    /// When the command was started, in seconds since 1970: what one command deployed is rolled back by one.
    pub time: u64,
}

/// Why an effect cannot be taken back.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LedgerError {
    /// Nothing is noted.
    #[error("node `{node}` has deployed nothing that could be taken back")]
    #[diagnostic(code(node::nothing_deployed), help("the store of the project that deployed it knows; others do not"))]
    Nothing {
        /// The node.
        node: String,
    },
    /// The kind has no way back.
    #[error("what node `{node}` does cannot be taken back")]
    #[diagnostic(
        code(node::no_way_back),
        help("of the exports, `ollama`, `helm-values`, `huggingface` and `oci` can be rolled back")
    )]
    NoWayBack {
        /// The node.
        node: String,
    },
}

/// One change outside of the project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry<T> {
    /// When the command was started that made it, in seconds since 1970.
    pub time: u64,
    /// What was changed, in the kind's own form.
    pub change: T,
}

/// What is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kept<T> {
    /// Oldest first.
    entries: Vec<Entry<T>>,
    /// Names of what the node made outside, oldest first: nothing else may be deleted there.
    made: Vec<String>,
}

/// A node's ledger, which nobody else writes meanwhile.
pub(super) struct Ledger<'a, T> {
    run: &'a Run<'a>,
    outside: &'a Outside,
    kept: Kept<T>,
    _alone: FileLock,
}

impl<'a, T: Serialize + DeserializeOwned> Ledger<'a, T> {
    /// Opens the ledger of a run's node.
    pub(super) fn open(run: &'a Run<'a>) -> Result<Self, NodeError> {
        let outside = run.outside()?;
        let alone = run.store.lock(&Digest::of(outside.ledger.as_bytes()))?;
        let kept = run.store.state(&outside.ledger)?.unwrap_or(Kept { entries: Vec::new(), made: Vec::new() });
        Ok(Self { run, outside, kept, _alone: alone })
    }

    /// Returns the newest entry of a run's node, which may be a rehearsal, without keeping others from writing.
    pub(super) fn seen(run: &Run<'_>) -> Result<Option<T>, NodeError> {
        let store = run.store.lender().unwrap_or(run.store);
        let kept: Option<Kept<T>> = store.state(&run.outside()?.ledger)?;
        Ok(kept.and_then(|mut kept| kept.entries.pop()).map(|entry| entry.change))
    }

    /// Returns the newest entry.
    pub(super) fn last(&self) -> Option<&T> {
        self.kept.entries.last().map(|entry| &entry.change)
    }

    /// Returns the newest entry, without which there is nothing to take back.
    pub(super) fn newest(&self) -> Result<&T, NodeError> {
        let nothing = || LedgerError::Nothing { node: self.run.job.node.clone() };
        Ok(self.last().ok_or_else(nothing)?)
    }

    /// Adds an entry, durably.
    pub(super) fn push(&mut self, change: T) -> Result<(), NodeError> {
        let beyond = (self.kept.entries.len() + 1).saturating_sub(MOST);
        self.kept.entries.drain(..beyond);
        self.kept.entries.push(Entry { time: self.outside.time, change });
        self.write()
    }

    /// Replaces the newest entry, durably.
    pub(super) fn replace(&mut self, change: T) -> Result<(), NodeError> {
        if let Some(last) = self.kept.entries.last_mut() {
            last.change = change;
        }
        self.write()
    }

    /// Takes the newest entry away, durably.
    pub(super) fn pop(&mut self) -> Result<(), NodeError> {
        self.kept.entries.pop();
        self.write()
    }

    /// Returns the names of what the node made outside, oldest first.
    pub(super) fn made(&self) -> &[String] {
        &self.kept.made
    }

    /// Notes what the node is about to make outside, durably.
    pub(super) fn make(&mut self, name: &str) -> Result<(), NodeError> {
        self.kept.made.retain(|made| made != name);
        self.kept.made.push(name.to_owned());
        self.write()
    }

    /// Forgets what the node made outside.
    pub(super) fn forget(&mut self, name: &str) -> Result<(), NodeError> {
        self.kept.made.retain(|made| made != name);
        self.write()
    }

    fn write(&self) -> Result<(), NodeError> {
        self.run.store.put_state(&self.outside.ledger, &self.kept)?;
        Ok(self.run.store.flush()?)
    }
}

/// Returns when what the ledger of this name has newest was made; nothing where it has nothing.
///
/// # Errors
/// Errors of the store.
pub fn last_time(store: &crate::store::Store, ledger: &str) -> crate::store::Result<Option<u64>> {
    let kept: Option<Kept<serde_json::Value>> = store.state(ledger)?;
    Ok(kept.and_then(|kept| kept.entries.last().map(|entry| entry.time)))
}
