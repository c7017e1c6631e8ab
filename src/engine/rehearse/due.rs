//! When a run is rehearsed: by itself in a build, or on request.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::execute::{Executor, Failure, Forward};
use super::super::job::device;
use super::super::plan::as_they_are;
use super::super::{Deploy, EngineError, Known, Plan, Planned, Prepared, Resolver, Said};
use super::stage::{Rehearse, read, rehearse};
use super::told::Rehearsed;
use crate::graph::NodeIndex;
use crate::node::{Cost, Device, Rehearsal};

/// A run that takes more seconds is rehearsed, unless the manifest says otherwise.
const LONG: u64 = 600;

impl Resolver<'_> {
    /// Returns whether a run is rehearsed before it starts, where that takes so much.
    ///
    /// # Errors
    /// A kind that this program has not.
    pub fn is_rehearsed(&self, index: NodeIndex, cost: Option<&Cost>) -> Result<bool, EngineError> {
        let node = &self.graph[index];
        let kind = self.kind(node)?;
        if kind.rehearsal() != Rehearsal::Opens || self.following(index)?.is_empty() {
            return Ok(false);
        }
        // Nothing is forecast for a GPU, which nobody uses for a minute's work.
        let is_long = || cost.map_or(device(node, kind) != Device::Cpu, |cost| cost.seconds > LONG);
        Ok(node.run.rehearse.unwrap_or_else(is_long))
    }

    /// Returns the nodes that can be run on stand-ins once a node has one, in order.
    pub(super) fn following(&self, index: NodeIndex) -> Result<Vec<NodeIndex>, EngineError> {
        let mut following = Vec::new();
        for later in self.graph.indices().filter(|later| *later > index) {
            let reads = |from: NodeIndex| from == index || following.contains(&from);
            if read(&self.graph[later]).any(reads) && self.kind(&self.graph[later])?.rehearsal() == Rehearsal::Follows {
                following.push(later);
            }
        }
        Ok(following)
    }
}

/// Rehearses the runs of a plan that can be, whatever they take. Those whose inputs are not there yet have nothing.
///
/// # Errors
/// Errors of the store. What would fail is in what it returns.
pub fn rehearse_planned(
    resolver: &Resolver<'_>,
    plan: &Plan,
    options: &Rehearse<'_>,
) -> Result<Vec<(NodeIndex, Option<Rehearsed>)>, EngineError> {
    let mut known = as_they_are(resolver, options.selected)?;
    for (index, planned) in &plan.nodes {
        if let Planned::Fresh(result) = planned {
            known[index.get()] = Some(Arc::clone(result));
        }
    }
    let mut all = Vec::new();
    for (index, planned) in &plan.nodes {
        let node = &resolver.graph[*index];
        if resolver.kind(node)?.rehearsal() != Rehearsal::Opens || node.run.rehearse == Some(false) {
            continue;
        }
        match planned {
            Planned::Run(prepared, _) => {
                all.push((*index, Some(rehearse(resolver, *index, prepared, &known, options)?)));
            }
            Planned::Perhaps(_) => all.push((*index, None)),
            Planned::Fresh(_) | Planned::NotDeployed | Planned::Refused(_) => {}
        }
    }
    Ok(all)
}

/// A rehearsal that a build does before a run, if it is due.
pub(in super::super) struct Before<'a> {
    pub(in super::super) index: NodeIndex,
    pub(in super::super) known: Vec<Option<Arc<Known>>>,
    pub(in super::super) selected: &'a BTreeSet<NodeIndex>,
    pub(in super::super) deploy: &'a Deploy,
}

impl Before<'_> {
    /// Rehearses the run if that is due.
    pub(in super::super) fn rehearse(&self, executor: &Executor<'_>, prepared: &Prepared) -> Result<(), Failure> {
        let resolver = executor.resolver;
        let node = &resolver.graph[self.index];
        if node.run.rehearse == Some(false) || resolver.following(self.index)?.is_empty() {
            return Ok(());
        }
        let events = Forward { node: &node.name, observer: executor.observer };
        let cost = match node.run.rehearse {
            // What cannot be forecast fails in the run itself.
            None => resolver.cost(self.index, prepared, executor.grant, (&events, executor.secrets)).ok().flatten(),
            Some(_) => None,
        };
        if !resolver.is_rehearsed(self.index, cost.as_ref())? {
            return Ok(());
        }
        let Executor { observer, cancel, secrets, worker, grant, .. } = *executor;
        let (selected, deploy) = (self.selected, self.deploy);
        let options = Rehearse { selected, deploy, worker, grant, observer, cancel, secrets };
        let rehearsed = rehearse(resolver, self.index, prepared, &self.known, &options)?;
        let (line, warnings) = rehearsed.told(resolver);
        for text in warnings {
            observer.said(&node.name, &Said::Warning { text });
        }
        if let Some(error) = rehearsed.failure(resolver, self.index) {
            return Err(Failure::Node(error));
        }
        observer.said(&node.name, &Said::Note { text: format!("rehearsed what follows: {line}") });
        Ok(())
    }
}
