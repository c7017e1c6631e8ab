//! The checked graph: nodes in an order in which each comes after what it reads.

use std::collections::BTreeMap;
use std::ops::Index;
use std::sync::OnceLock;
use std::time::Duration;

use miette::SourceSpan;
use serde_json::Value;

use super::catalog::{LocalFiles, Output};
use crate::manifest::{Device, Family, Refresh};

/// A node's number in the graph's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub(super) u32);

impl NodeIndex {
    /// Returns the number, from 0.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// A checked graph without cycles.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) dependants: Vec<Vec<NodeIndex>>,
    pub(super) notes: Vec<Note>,
    /// Made when a node is first asked for by name.
    pub(super) by_name: OnceLock<BTreeMap<String, NodeIndex>>,
}

/// One node; of a matrix, one of its combinations.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name, with the values of the axes: `expert@alpha=16,rank=8`.
    pub name: String,
    /// The name in the manifest: `expert`.
    pub declared: String,
    /// The axes of the matrix with this node's values, by name.
    pub axes: Vec<(String, String)>,
    /// The table that it stands in.
    pub family: Family,
    /// `type`; of the model, `base`.
    pub kind: String,
    /// Family and `type`, such as `train.lora`.
    pub kind_name: String,
    /// The canonical settings: every default filled in, the shared settings of `[model]` copied in.
    pub settings: Value,
    /// What it reads: `from` in the manifest's order, the model, fields, the gate.
    pub inputs: Vec<Edge>,
    /// The gate that must be met before it runs; among `inputs` too.
    pub gate: Option<NodeIndex>,
    /// Where the default output is copied to: relative to the manifest, with `/`, without `.` and `..`.
    pub out: Option<String>,
    /// When its snapshot is taken anew.
    pub refresh: Refresh,
    /// How it is run.
    pub run: RunLimits,
    /// The outputs, the default first.
    pub outputs: Vec<Output>,
    /// The local files that it reads.
    pub files: Vec<LocalFiles>,
    /// The `{node.field}` placeholders in its string settings.
    pub references: Vec<Reference>,
    /// Whether a run changes something outside the project.
    pub effect: bool,
    /// The place of its name in the manifest.
    pub span: SourceSpan,
}

/// How one node is run: its own options, then those of all nodes, then the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Further tries after a transient failure.
    pub retries: u32,
    /// The longest time of one try.
    pub timeout: Option<Duration>,
    /// Threads; the engine's choice when absent.
    pub threads: Option<usize>,
    /// Bytes of memory; the engine's choice when absent.
    pub memory: Option<u64>,
    /// The device, for kinds that have a choice; the CPU when absent.
    pub device: Option<Device>,
    /// Whether what follows is rehearsed before a run; by the run's length when absent.
    pub rehearse: Option<bool>,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { retries: 2, timeout: None, threads: None, memory: None, device: None, rehearse: None }
    }
}

/// An input of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// What it is for.
    pub role: Role,
    /// The node that is read.
    pub from: NodeIndex,
    /// The output that is read; empty for a node that has none.
    pub output: String,
    /// The place in the manifest that makes the edge.
    pub span: SourceSpan,
}

/// What an input is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Named by `from`.
    From,
    /// The base model.
    Model,
    /// Only fields are read.
    Fields,
    /// The gate that must be met.
    Gate,
}

impl Role {
    /// Returns the word for it in drawings and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::Model => "model",
            Self::Fields => "fields",
            Self::Gate => "gate",
        }
    }
}

/// One `{node.field}` in a string setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The setting that has the placeholder: keys, and indices in decimal.
    pub path: Vec<String>,
    /// The placeholder as it stands there, with its braces.
    pub placeholder: String,
    /// The node that is read.
    pub node: NodeIndex,
    /// The field that is read.
    pub field: String,
}

/// Something that a user should know although it is no problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The node.
    pub node: String,
    /// One lower-case phrase.
    pub text: String,
}

impl Graph {
    /// Returns the nodes, each after all that it reads. The order depends on the manifest's text alone.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Returns the numbers of all nodes, in order.
    pub fn indices(&self) -> impl DoubleEndedIterator<Item = NodeIndex> + use<> {
        (0..self.nodes.len() as u32).map(NodeIndex)
    }

    /// Returns the node with exactly this name.
    pub fn find(&self, name: &str) -> Option<NodeIndex> {
        let by_name = || self.indices().map(|index| (self[index].name.clone(), index)).collect();
        self.by_name.get_or_init(by_name).get(name).copied()
    }

    /// Returns the nodes that read this one directly, in order.
    pub fn dependants(&self, node: NodeIndex) -> &[NodeIndex] {
        &self.dependants[node.get()]
    }

    /// Returns the nodes that this one reads directly, in order, each once.
    pub fn dependencies(&self, node: NodeIndex) -> Vec<NodeIndex> {
        let mut nodes: Vec<NodeIndex> = self[node].inputs.iter().map(|edge| edge.from).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Returns what a user should know although it is no problem.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

impl Index<NodeIndex> for Graph {
    type Output = Node;

    fn index(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.get()]
    }
}
