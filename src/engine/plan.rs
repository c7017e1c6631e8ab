//! What a build would do, by the decisions that the build takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::prepare::Prepared;
use super::{Decision, EngineError, Known, Resolver, StaleReason};
use crate::graph::NodeIndex;

/// A plan: one entry for each selected node, in topological order.
#[derive(Debug, Default)]
pub struct Plan {
    /// The nodes with what would be done about them.
    pub nodes: Vec<(NodeIndex, Planned)>,
}

/// What would be done about a node.
#[derive(Debug)]
pub enum Planned {
    /// Nothing; this is what it has.
    Fresh(Arc<Known>),
    /// It would run.
    Run(Box<Prepared>, StaleReason),
    /// It would run unless what runs before it gives the same bytes as before.
    Perhaps(Vec<NodeIndex>),
    /// It would run, but effects must be asked for.
    NotDeployed,
    /// It cannot be decided: a file is missing, or `--locked` or `--offline` forbid it.
    Refused(EngineError),
}

impl Plan {
    /// Returns whether nothing would run.
    pub fn is_fresh(&self) -> bool {
        self.nodes.iter().all(|(_, planned)| matches!(planned, Planned::Fresh(_) | Planned::NotDeployed))
    }
}

/// Plans a build of `selected`. Nothing is built and no socket is opened.
///
/// # Errors
/// Errors of the store. What concerns one node is in its entry.
pub fn plan(resolver: &Resolver<'_>, selected: &BTreeSet<NodeIndex>, deploy: &Deploy) -> Result<Plan, EngineError> {
    let mut known = as_they_are(resolver, selected)?;
    let mut plan = Plan::default();
    for index in resolver.graph.indices() {
        if !selected.contains(&index) {
            continue;
        }
        let planned = match resolver.decide(index, &known) {
            Ok(Decision::Fresh(result)) => {
                known[index.get()] = Some(Arc::clone(&result));
                Planned::Fresh(result)
            }
            _ if is_held_effect(resolver, index, deploy)? => Planned::NotDeployed,
            Ok(Decision::Run(prepared, reason)) => Planned::Run(prepared, reason),
            Ok(Decision::Waits(on)) => Planned::Perhaps(on),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => Planned::Refused(error),
        };
        plan.nodes.push((index, planned));
    }
    Ok(plan)
}

/// Returns what is known of the nodes that were not selected: what they have, or what they gave when they were last
/// built. `--from NODE` builds on that, however stale it is.
pub(super) fn as_they_are(
    resolver: &Resolver<'_>,
    selected: &BTreeSet<NodeIndex>,
) -> Result<Vec<Option<Arc<Known>>>, EngineError> {
    let mut known: Vec<Option<Arc<Known>>> = vec![None; resolver.graph.nodes().len()];
    if selected.len() == known.len() {
        return Ok(known);
    }
    let wanted: Vec<NodeIndex> = selected.iter().copied().collect();
    let upstream = resolver.graph.upstream(&wanted);
    for index in resolver.graph.indices() {
        if selected.contains(&index) || !upstream[index.get()] {
            continue;
        }
        known[index.get()] = match resolver.decide(index, &known) {
            Ok(Decision::Fresh(fresh)) => Some(fresh),
            _ => resolver.last_built(index)?,
        };
    }
    Ok(known)
}

/// Which effects run.
#[derive(Clone, Debug, Default)]
pub struct Deploy {
    /// All that are selected.
    pub all: bool,
    /// Those that the user named as targets.
    pub named: BTreeSet<NodeIndex>,
}

/// Returns whether a node is an effect that was not asked for.
pub(super) fn is_held_effect(resolver: &Resolver<'_>, index: NodeIndex, deploy: &Deploy) -> Result<bool, EngineError> {
    let node = &resolver.graph[index];
    let effect = resolver.kind(node)?.is_effect(&node.settings);
    Ok(effect && !deploy.all && !deploy.named.contains(&index))
}
