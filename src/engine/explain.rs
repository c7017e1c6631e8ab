//! How one node stands, with what it reads taken as it is: the ground of `explain`, `show`, `get` and `verify`.

use std::sync::Arc;

use super::prepare::Prepared;
use super::{Decision, EngineError, Known, Resolver, StaleReason};
use crate::graph::NodeIndex;

/// How one node stands.
#[derive(Debug)]
pub struct Explanation {
    /// The nodes before it that are not fresh themselves, in topological order. The node is compared with what they
    /// gave when they were last built.
    pub stale_inputs: Vec<StaleInput>,
    /// How it stands.
    pub standing: Standing,
    /// What a run would be made from; absent when an input was never built.
    pub prepared: Option<Box<Prepared>>,
    /// What it has: what is fresh, or what it gave when it was last built.
    pub known: Option<Arc<Known>>,
}

/// A node that is read, directly or not, and that is not fresh.
#[derive(Clone, Debug)]
pub struct StaleInput {
    /// The node.
    pub index: NodeIndex,
    /// Why; nothing when it only waits for another one.
    pub reason: Option<StaleReason>,
}

/// How one node stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// It has a result for the inputs as they are.
    Fresh,
    /// It has none.
    Stale(StaleReason),
    /// These nodes were never built, so nothing is known of its inputs.
    Waits(Vec<NodeIndex>),
}

/// Looks at one node and at all that it reads. Nothing is written and no socket is opened.
///
/// # Errors
/// Errors of the store; what cannot be decided, such as a missing file.
pub fn explain(resolver: &Resolver<'_>, index: NodeIndex) -> Result<Explanation, EngineError> {
    let mut known: Vec<Option<Arc<Known>>> = vec![None; resolver.graph.nodes().len()];
    let upstream = resolver.graph.upstream(&[index]);
    let mut stale_inputs = Vec::new();
    for before in resolver.graph.indices().filter(|before| upstream[before.get()] && *before != index) {
        let reason = match resolver.decide(before, &known)? {
            Decision::Fresh(result) => {
                known[before.get()] = Some(result);
                continue;
            }
            Decision::Run(_, reason) => Some(reason),
            Decision::Waits(_) => None,
        };
        stale_inputs.push(StaleInput { index: before, reason });
        known[before.get()] = resolver.last_built(before)?;
    }
    let node = &resolver.graph[index];
    let (standing, prepared, result) = match resolver.decide(index, &known)? {
        Decision::Fresh(result) => {
            let prepared = resolver.prepare(node, resolver.kind(node)?, &known)?;
            (Standing::Fresh, Some(Box::new(prepared)), Some(result))
        }
        Decision::Run(prepared, reason) => (Standing::Stale(reason), Some(prepared), resolver.last_built(index)?),
        Decision::Waits(on) => (Standing::Waits(on), None, resolver.last_built(index)?),
    };
    Ok(Explanation { stale_inputs, standing, prepared, known: result })
}
