//! Warm starts: a node's runs start from an earlier result of it, which the lock pins.
//!
//! A node cannot read its own result in the graph. So the result is pinned like a snapshot, by `tunesmith lock`: its
//! digest is in the key, and the same commit gives the same bytes.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use serde_json::{Value, json};

use super::{EngineError, Resolver, WarmStart};
use crate::graph::{Node, NodeIndex};
use crate::node::{InputRole, JobInput, Kind};
use crate::store::{Artifact, Digest};

/// A part of a key: its name and its content.
type Part = (String, Digest);

/// The field that says how many warm starts a result has behind it.
const COUNT: &str = "warm-starts";

impl Resolver<'_> {
    /// Returns what runs of a node start from, as inputs of a run with their parts of its key.
    ///
    /// # Errors
    /// [`EngineError::ExcludedWarmStart`] when it learnt what is excluded since; errors of the store.
    pub(super) fn warm_inputs(&self, node: &Node, kind: &dyn Kind) -> Result<Vec<(Part, JobInput)>, EngineError> {
        if !kind.warm_starts() {
            return Ok(Vec::new());
        }
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(start) = lock.warm_start(&node.name).filter(|start| start.kind == node.kind_name) else {
            return Ok(Vec::new());
        };
        for (rows, artifact) in &start.rows {
            if let Artifact::Records(set) = artifact
                && self.exclusions.holds_any_of(self.store, set)?
            {
                return Err(EngineError::ExcludedWarmStart { node: node.name.clone(), rows: rows.clone() });
            }
        }
        Ok(inputs(node, start))
    }

    /// Pins what a node gave when it was last built: later runs start from it. `None` when it was never built, else
    /// whether that is a change.
    ///
    /// # Errors
    /// Errors of the store and of the lock.
    pub fn pin_warm_start(&self, index: NodeIndex) -> Result<Option<bool>, EngineError> {
        let node = &self.graph[index];
        let (Some(trace), Some(known)) = (self.trace(&node.name)?, self.last_built(index)?) else { return Ok(None) };
        let model = trace.inputs.iter().find(|(name, ..)| name == "model").map(|(.., artifact)| artifact.digest());
        let output = node.outputs.first().map(|output| output.name.as_str());
        let outputs = known.outputs.iter().filter(|(name, _)| Some(name.as_str()) == output);
        // What the result itself started from it has learnt again, or replayed: only what it was made of counts.
        let rows = trace
            .inputs
            .iter()
            .filter(|(name, _, artifact)| *name != node.name && matches!(artifact, Artifact::Records(_)));
        let start = WarmStart {
            kind: node.kind_name.clone(),
            model: model.unwrap_or_else(|| Digest::of(&[])),
            warm_starts: known.fields.get(COUNT).and_then(Value::as_u64).unwrap_or(0),
            outputs: outputs.map(|(name, artifact)| (name.clone(), artifact.clone())).collect(),
            rows: rows.map(|(name, output, artifact)| (format!("{name}:{output}"), artifact.clone())).collect(),
        };
        self.write_warm_start(node, Some(start)).map(Some)
    }

    /// Lets a node run in full again. Returns whether that is a change.
    ///
    /// # Errors
    /// Errors of the lock.
    pub fn unpin_warm_start(&self, index: NodeIndex) -> Result<bool, EngineError> {
        self.write_warm_start(&self.graph[index], None)
    }

    fn write_warm_start(&self, node: &Node, start: Option<WarmStart>) -> Result<bool, EngineError> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let _alone = self.store.lock(&Digest::of(lock.path().as_os_str().as_encoded_bytes()))?;
        lock.pin_warm_start(&node.name, start)
    }
}

/// Makes inputs of what is pinned. Rows keep the name of the output that they were; the node is the one that learnt them.
fn inputs(node: &Node, start: &WarmStart) -> Vec<(Part, JobInput)> {
    let input = |output: &String, artifact: &Artifact, fields| JobInput {
        role: InputRole::WarmStart,
        node: node.name.clone(),
        output: output.clone(),
        artifact: artifact.clone(),
        fields,
    };
    let fields =
        BTreeMap::from([("model".to_owned(), json!(start.model)), (COUNT.to_owned(), json!(start.warm_starts))]);
    let part = format!("warm-start {}", start.warm_starts);
    let outputs = start
        .outputs
        .iter()
        .map(|(output, artifact)| ((part.clone(), artifact.digest()), input(output, artifact, fields.clone())));
    let rows = start.rows.iter().map(|(output, artifact)| {
        (("warm-start rows".to_owned(), artifact.digest()), input(output, artifact, BTreeMap::new()))
    });
    outputs.chain(rows).collect()
}
