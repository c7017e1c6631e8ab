//! Which records became which rows and which models, and back: by what each node was last built from.
//!
//! Nodes note their inputs and results; rows note the records they came from; and the id of a row that a filter made
//! starts with that of its record. So a record is followed through id-sorted sets by look-ups. Only rows that come from
//! outside as rows may name a record anywhere, and are scanned.

mod contribution;
mod origin;

use std::collections::{BTreeMap, BTreeSet};

pub use contribution::contribution;
pub use origin::Share;

use super::{EngineError, Resolver, RunLog};
use crate::graph::{Node, NodeIndex};
use crate::manifest::{Family, suggest};
use crate::record::{Line, Naming, Record, RecordSet};
use crate::store::{Artifact, Digest, RecordsRef};

/// Earlier runs that are looked at for the maker of an input that was built again since.
const LOOKED_BACK: usize = 50;

/// Inputs of a build: node, output, content.
type Inputs = Vec<(String, String, Artifact)>;

/// The last build of every node that was built.
pub struct Ancestry<'r> {
    resolver: &'r Resolver<'r>,
    nodes: Vec<BuiltNode>,
}

/// A node's last build.
#[derive(Clone, Debug)]
pub struct BuiltNode {
    /// The node.
    pub index: NodeIndex,
    /// What it was built from: node, output, content.
    pub inputs: Inputs,
    /// What it has.
    pub outputs: BTreeMap<String, Artifact>,
}

/// A record in an output.
#[derive(Clone, Debug)]
pub struct Held {
    /// The node.
    pub index: NodeIndex,
    /// Its output.
    pub output: String,
    /// The record.
    pub record: Record,
    /// The digest of its canonical form.
    pub digest: Digest,
}

/// Where some records went.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The node.
    pub index: NodeIndex,
    /// Its output that has rows of them; nothing for a model, which was made from such rows.
    pub output: Option<String>,
    /// The rows: ids in order, each once.
    pub rows: Vec<String>,
}

impl<'r> Ancestry<'r> {
    /// Looks up what every node was last built from. Nothing is decided and no record is read.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn of(resolver: &'r Resolver<'r>) -> Result<Self, EngineError> {
        let mut nodes = Vec::new();
        for index in resolver.graph.indices() {
            let trace = resolver.trace(&resolver.graph[index].name)?;
            let known = resolver.last_built(index)?;
            if trace.is_none() && known.is_none() {
                continue;
            }
            let inputs = trace.map(|trace| trace.inputs).unwrap_or_default();
            let outputs = known.map(|known| known.outputs.clone()).unwrap_or_default();
            nodes.push(BuiltNode { index, inputs, outputs });
        }
        Ok(Self { resolver, nodes })
    }

    /// Returns the nodes that were built, in topological order.
    pub fn nodes(&self) -> &[BuiltNode] {
        &self.nodes
    }

    /// Returns a node of the graph.
    pub fn node(&self, index: NodeIndex) -> &'r Node {
        &self.resolver.graph[index]
    }

    /// Returns the outputs that have a record of this id.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn holders(&self, id: &str) -> Result<Vec<Held>, EngineError> {
        let mut held = Vec::new();
        for (built, output, set) in self.sets() {
            if let Some(line) = self.open(&set)?.line(id)? {
                let (index, output) = (built.index, output.clone());
                held.push(Held { index, output, digest: line.digest(), record: line.record()? });
            }
        }
        Ok(held)
    }

    /// Returns up to two ids that a misspelt one is likely meant to be: those that stand near it, or near it under
    /// another repository's name.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn near(&self, id: &str) -> Result<Vec<String>, EngineError> {
        let mut candidates = BTreeSet::new();
        for (_, _, set) in self.sets() {
            let set = self.open(&set)?;
            candidates.extend(set.neighbours(id)?);
            let Some((_, rest)) = id.split_once('#') else { continue };
            let firsts = set.chunks().iter().filter_map(|chunk| Some(chunk.first.split_once('#')?.0));
            for repo in firsts.collect::<BTreeSet<&str>>() {
                let meant = format!("{repo}#{rest}");
                candidates.extend(set.line(&meant)?.map(|line| line.id().to_owned()));
            }
        }
        let near = suggest::nearest(id, candidates.iter().map(String::as_str));
        Ok(near.into_iter().map(str::to_owned).collect())
    }

    /// Returns the ids that rows of some records may name: their own, and those of rows and corrections from outside that
    /// name them, whose own ids later rows start with.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn seeds(&self, ids: &[String]) -> Result<Naming, EngineError> {
        let naming = Naming::of(ids.iter().cloned())?;
        let mut seeds = naming.ids().clone();
        for (built, _, set) in self.sets() {
            let set = self.open(&set)?;
            if self.node(built.index).family == Family::Source && has_rows(&set)? {
                let lines = naming.scan(self.resolver.store, &set)?;
                seeds.extend(lines.iter().map(Line::id).map(str::to_owned));
            }
        }
        Ok(Naming::of(seeds)?)
    }

    /// Returns where records went: outputs with rows of them, and what was made from such rows, in topological order.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn reached(&self, seeds: &Naming) -> Result<Vec<Reached>, EngineError> {
        let mut reached = Vec::new();
        for built in &self.nodes {
            let mut has_sets = false;
            for (name, artifact) in &built.outputs {
                let Artifact::Records(set) = artifact else { continue };
                has_sets = true;
                let rows = self.rows_in(set, seeds)?;
                if !rows.is_empty() {
                    reached.push(Reached { index: built.index, output: Some(name.clone()), rows });
                }
            }
            if has_sets {
                continue;
            }
            let mut rows = BTreeSet::new();
            for (_, set) in self.behind(built)? {
                rows.extend(self.rows_in(&set, seeds)?);
            }
            if !rows.is_empty() {
                reached.push(Reached { index: built.index, output: None, rows: rows.into_iter().collect() });
            }
        }
        Ok(reached)
    }

    /// Returns the record sets that a node's files were made from, directly or through other files, each once, by the
    /// output that gave them.
    ///
    /// # Errors
    /// Errors of the store and of the run logs.
    pub fn behind(&self, built: &BuiltNode) -> Result<Vec<(String, RecordsRef)>, EngineError> {
        let mut sets: Vec<(String, RecordsRef)> = Vec::new();
        let mut open = vec![built.inputs.clone()];
        let mut seen = BTreeSet::new();
        while let Some(inputs) = open.pop() {
            for (node, output, artifact) in inputs {
                if output.is_empty() || !seen.insert((node.clone(), artifact.digest())) {
                    continue;
                }
                match artifact {
                    Artifact::Records(set) => sets.push((format!("{node}:{output}"), set)),
                    made => open.extend(self.maker(&node, &made)?),
                }
            }
        }
        sets.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(sets)
    }

    /// Returns what a node was built from when it gave `artifact`.
    fn maker(&self, node: &str, artifact: &Artifact) -> Result<Option<Inputs>, EngineError> {
        let last = self.nodes.iter().find(|built| self.node(built.index).name == node);
        if let Some(last) = last.filter(|last| last.outputs.values().any(|output| output == artifact)) {
            return Ok(Some(last.inputs.clone()));
        }
        for log in RunLog::last(self.resolver.store, LOOKED_BACK)? {
            let gave = log.node(node).is_some_and(|entry| entry.outputs.values().any(|output| output == artifact));
            if gave && let Some(trace) = log.trace(self.resolver.store, node)? {
                return Ok(Some(trace.inputs));
            }
        }
        Ok(None)
    }

    /// Returns the ids of a set's records that name one of the seeds. Of a set that the store no longer has, none.
    fn rows_in(&self, set: &RecordsRef, seeds: &Naming) -> Result<Vec<String>, EngineError> {
        let lines = self.open(set).and_then(|set| Ok(seeds.look_up(&set)?));
        match lines {
            Err(error) if error.is_about_bytes() => Ok(Vec::new()),
            lines => Ok(lines?.iter().map(|line| line.id().to_owned()).collect()),
        }
    }

    /// Returns all record sets, with node and output.
    fn sets(&self) -> impl Iterator<Item = (&BuiltNode, &String, RecordsRef)> {
        let outputs = self.nodes.iter().flat_map(|built| built.outputs.iter().map(move |output| (built, output)));
        outputs.filter_map(|(built, (name, artifact))| match artifact {
            Artifact::Records(set) => Some((built, name, *set)),
            Artifact::File(_) | Artifact::Folder { .. } => None,
        })
    }

    fn open(&self, set: &RecordsRef) -> Result<RecordSet<'r>, EngineError> {
        Ok(RecordSet::open(self.resolver.store, set)?)
    }
}

/// Returns whether a source's records are rows or corrections; a source has records of one sort.
fn has_rows(set: &RecordSet<'_>) -> Result<bool, EngineError> {
    let first = set.records().next().transpose()?;
    Ok(first.is_some_and(|record| record.conversation().is_some()))
}
