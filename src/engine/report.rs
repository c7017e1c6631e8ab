//! What became of a build, node by node.

use std::sync::Arc;
use std::time::Duration;

use super::{Known, OutWrite, StaleReason};
use crate::graph::NodeIndex;
use crate::node::NodeError;

/// What became of a node.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was fresh.
    Fresh(Arc<Known>),
    /// It ran.
    Built {
        /// What it gave.
        known: Arc<Known>,
        /// Why it ran.
        reason: StaleReason,
        /// Whether the bytes are those of the last build.
        unchanged: bool,
    },
    /// It failed.
    Failed(NodeError),
    /// It did not run: this node before it has no result.
    Skipped(NodeIndex),
    /// It is an effect that was not asked for.
    NotDeployed,
    /// The build ended before its turn.
    NotReached,
}

impl Outcome {
    /// Returns what the node has, where it has a result.
    pub fn known(&self) -> Option<&Arc<Known>> {
        match self {
            Self::Fresh(known) | Self::Built { known, .. } => Some(known),
            Self::Failed(_) | Self::Skipped(_) | Self::NotDeployed | Self::NotReached => None,
        }
    }

    /// Returns the same outcome with this as what the node has.
    pub(super) fn with(self, known: Arc<Known>) -> Self {
        match self {
            Self::Fresh(_) => Self::Fresh(known),
            Self::Built { reason, unchanged, .. } => Self::Built { known, reason, unchanged },
            without => without,
        }
    }
}

/// A node's part of a build.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// The node.
    pub index: NodeIndex,
    /// What became of it.
    pub outcome: Outcome,
    /// When its run started, from the build's start.
    pub started: Duration,
    /// How long it ran.
    pub duration: Duration,
    /// What was done about its `out`.
    pub out: Option<OutWrite>,
}

/// What became of a build.
#[derive(Clone, Debug, Default)]
pub struct BuildReport {
    /// One entry for each selected node, in topological order.
    pub nodes: Vec<NodeReport>,
    /// How long it took.
    pub duration: Duration,
    /// Whether a fresh node has another result than was noted of it last: settings were put back.
    pub restored: bool,
}

impl BuildReport {
    /// Returns whether anything is other than it was before.
    pub fn is_news(&self) -> bool {
        let is_news = |node: &NodeReport| {
            !matches!(node.outcome, Outcome::Fresh(_) | Outcome::NotDeployed)
                || !matches!(node.out, None | Some(OutWrite::Right))
        };
        self.restored || self.nodes.iter().any(is_news)
    }

    /// Returns the failures with their nodes.
    pub fn failures(&self) -> impl Iterator<Item = (NodeIndex, &NodeError)> {
        self.nodes.iter().filter_map(|node| match &node.outcome {
            Outcome::Failed(error) => Some((node.index, error)),
            _ => None,
        })
    }

    /// Returns how many nodes ran.
    pub fn built(&self) -> usize {
        self.nodes.iter().filter(|node| matches!(node.outcome, Outcome::Built { .. })).count()
    }
}
