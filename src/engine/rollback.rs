//! Taking back what nodes changed outside of the project.

use std::collections::BTreeMap;

use super::execute::Forward;
use super::{EngineError, Observer, Resolver};
use crate::graph::{Node, NodeIndex};
use crate::node::{Cancel, Device, Grant, JOB_FORMAT, Job, NodeError, Outside, Run, Secrets, last_time};
use crate::store::Digest;

/// How changes are taken back.
pub struct RollBack<'a> {
    /// Takes what happens.
    pub observer: &'a dyn Observer,
    /// Stops it.
    pub cancel: &'a Cancel,
    /// Gives secrets.
    pub secrets: &'a dyn Secrets,
}

impl Resolver<'_> {
    /// Returns what an effect's run is told of the project.
    pub(super) fn outside(&self, node: &str) -> Outside {
        Outside { folder: self.root.to_owned(), ledger: self.ledger(node), time: self.mode.now }
    }

    /// Returns the name of the state under which a node's ledger is kept: a profile's nodes are other nodes.
    fn ledger(&self, node: &str) -> String {
        format!("deployed/{}/{node}", self.profile.unwrap_or_default())
    }
}

/// Returns the nodes that have deployed something, with the start of the command that did it last, in seconds since
/// 1970; those that read others first, which is the order to take them back in.
///
/// # Errors
/// Errors of the store.
pub fn deployed(resolver: &Resolver<'_>) -> Result<Vec<(NodeIndex, u64)>, EngineError> {
    let mut found = Vec::new();
    for index in resolver.graph.indices().rev() {
        let node: &Node = &resolver.graph[index];
        if node.effect
            && let Some(time) = last_time(resolver.store, &resolver.ledger(&node.name))?
        {
            found.push((index, time));
        }
    }
    Ok(found)
}

/// Takes back the last change that a node made outside, and returns what was done, a line each.
///
/// # Errors
/// Errors of the store; a failure of the node itself is inside.
pub fn roll_back(
    resolver: &Resolver<'_>,
    index: NodeIndex,
    options: &RollBack<'_>,
) -> Result<Result<Vec<String>, NodeError>, EngineError> {
    let node = &resolver.graph[index];
    let kind = resolver.kind(node)?;
    let scratch = tempfile::Builder::new().prefix("run-").tempdir_in(resolver.store.root().join("scratch"))?;
    let job = Job {
        format: JOB_FORMAT,
        node: node.name.clone(),
        kind: node.kind_name.clone(),
        kind_version: kind.info().version,
        key: Digest::of(b""),
        settings: node.settings.clone(),
        inputs: Vec::new(),
        files: Vec::new(),
        store: resolver.store.root().to_owned(),
        remote: None,
        rehearsal: None,
        offline: resolver.mode.offline,
        scratch: scratch.path().to_owned(),
        previous: BTreeMap::new(),
        grant: Grant { threads: 1, memory: None, device: Device::Cpu },
        outside: Some(resolver.outside(&node.name)),
    };
    let events = Forward { node: &node.name, observer: options.observer };
    let run =
        Run { job: &job, store: resolver.store, events: &events, cancel: options.cancel, secrets: options.secrets };
    Ok(kind.roll_back(&run))
}
