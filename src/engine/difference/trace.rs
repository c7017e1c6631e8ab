//! What a node of an earlier run was built from, as far as the store still knows.

use std::collections::BTreeMap;

use super::is_input;
use crate::engine::{EngineError, RunLog, Trace};
use crate::store::{Artifact, Explained, Store};

/// Earlier runs that are looked at for an input that a run did not select.
const LOOKED_BACK: usize = 50;

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
