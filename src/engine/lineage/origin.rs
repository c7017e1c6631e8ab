//! From results back: which source each record of a set came from, and which build gave some bytes.

use std::collections::BTreeMap;

use super::{Ancestry, BuiltNode, Inputs, LOOKED_BACK};
use crate::engine::{EngineError, RunLog};
use crate::graph::NodeIndex;
use crate::manifest::Family;
use crate::record::{Record, SourceRef};
use crate::store::{Artifact, RecordsRef};

/// What a source gave to some rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Records of it that became rows.
    pub records: u64,
    /// Rows that came from them.
    pub rows: u64,
}

impl Ancestry<'_> {
    /// Returns how many rows of a set came from how many records of each source; under no node what is in no source
    /// any more.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn shares(&self, set: &RecordsRef) -> Result<BTreeMap<Option<NodeIndex>, Share>, EngineError> {
        let mut rows: BTreeMap<String, u64> = BTreeMap::new();
        for record in self.open(set)?.records() {
            for id in origins(&record?) {
                *rows.entry(id).or_default() += 1;
            }
        }
        let mut shares: BTreeMap<Option<NodeIndex>, Share> = BTreeMap::new();
        for (built, _, source) in self.sets() {
            if self.node(built.index).family != Family::Source {
                continue;
            }
            let held = self.open(&source)?.holds(rows.keys().map(String::as_str))?;
            let share = shares.entry(Some(built.index)).or_default();
            let mut held = held.into_iter();
            rows.retain(|_, count| {
                let is_held = held.next().unwrap_or_default();
                if is_held {
                    share.records += 1;
                    share.rows += *count;
                }
                !is_held
            });
        }
        let lost = shares.entry(None).or_default();
        (lost.records, lost.rows) = (rows.len() as u64, rows.values().sum());
        shares.retain(|_, share| share.records > 0);
        Ok(shares)
    }

    /// Returns the first ids of a set.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn ids(&self, set: &RecordsRef, limit: usize) -> Result<Vec<String>, EngineError> {
        let set = self.open(set)?;
        let ids = set.lines().take(limit).map(|line| Ok(line?.id().to_owned()));
        ids.collect()
    }

    /// Returns the record that a row names as its source, as it is now: its node, the record, and whether it is still the
    /// same.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn source(&self, source: &SourceRef) -> Result<Option<(NodeIndex, Record, bool)>, EngineError> {
        for (built, _, set) in self.sets() {
            if self.node(built.index).family == Family::Source
                && let Some(line) = self.open(&set)?.line(&source.id)?
            {
                return Ok(Some((built.index, line.record()?, line.digest() == source.digest)));
            }
        }
        Ok(None)
    }

    /// Returns the build of the newest run whose output, or a file in it, has a digest that starts with `digest`.
    ///
    /// # Errors
    /// Errors of the store and of the run logs.
    pub fn by_digest(&self, digest: &str) -> Result<Option<BuiltNode>, EngineError> {
        let fits = |outputs: &BTreeMap<String, Artifact>| outputs.values().any(|output| has_digest(output, digest));
        if let Some(built) = self.nodes.iter().find(|built| fits(&built.outputs)) {
            return Ok(Some(built.clone()));
        }
        for log in RunLog::last(self.resolver.store, LOOKED_BACK)? {
            for entry in log.nodes.iter().filter(|entry| fits(&entry.outputs)) {
                let Some(index) = self.resolver.graph.find(&entry.node) else { continue };
                let trace = log.trace(self.resolver.store, &entry.node)?;
                let inputs: Inputs = trace.map(|trace| trace.inputs).unwrap_or_default();
                return Ok(Some(BuiltNode { index, inputs, outputs: entry.outputs.clone() }));
            }
        }
        Ok(None)
    }
}

/// Returns the ids of the records that a record came from: a row that names none came as a row, from itself.
fn origins(record: &Record) -> Vec<String> {
    let sources = record.conversation().map(|row| row.sources.as_slice()).unwrap_or_default();
    if sources.is_empty() {
        return vec![record.id().to_owned()];
    }
    sources.iter().map(|source| source.id.clone()).collect()
}

fn has_digest(artifact: &Artifact, start: &str) -> bool {
    let fits = |digest: crate::store::Digest| digest.to_string().starts_with(start);
    let in_folder = match artifact {
        Artifact::Folder { files } => files.values().any(|file| fits(file.digest)),
        Artifact::File(_) | Artifact::Records(_) => false,
    };
    in_folder || fits(artifact.digest())
}
