//! Building a node again, aside: nothing of it is published, so that its outputs can be compared with the stored ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::execute::{Executor, Failure, check_outputs, objects_of};
use super::prepare::Prepared;
use super::{EngineError, Observer, Resolver};
use crate::graph::NodeIndex;
use crate::node::{Cancel, Grant, NodeError, Outcome, Secrets};
use crate::store::{Artifact, Store};

/// How a node is rebuilt.
pub struct Rebuild<'a> {
    /// The program that heavy nodes run in; `None` runs them in this process.
    pub worker: Option<&'a Path>,
    /// What the run may use.
    pub grant: Grant,
    /// Takes what happens.
    pub observer: &'a dyn Observer,
    /// Stops the run.
    pub cancel: &'a Cancel,
    /// Gives secrets.
    pub secrets: &'a dyn Secrets,
}

/// What a rebuild came to.
#[derive(Clone, Debug)]
pub enum Rebuilt {
    /// It ran.
    Outcome(Outcome),
    /// It failed.
    Failed(NodeError),
}

/// Runs a node in a store of its own that has its inputs and nothing else: no memo of former runs can stand in for
/// work. The store is dropped afterwards.
///
/// # Errors
/// Errors of the store, such as inputs that are no longer there.
pub fn rebuild(
    resolver: &Resolver<'_>,
    index: NodeIndex,
    prepared: &Prepared,
    options: &Rebuild<'_>,
) -> Result<Rebuilt, EngineError> {
    let folder = tempfile::Builder::new().prefix("verify-").tempdir_in(resolver.store.root().join("scratch"))?;
    let aside = Store::open(&folder.path().join("store"), None)?;
    for input in &prepared.inputs {
        lend(resolver.store, &aside, &input.artifact)?;
    }
    // From nothing: a source that would only ask for news asks for all.
    let prepared = Prepared { previous: BTreeMap::new(), ..prepared.clone() };
    let resolver = Resolver { store: &aside, ..*resolver };
    let executor = Executor {
        resolver: &resolver,
        observer: options.observer,
        cancel: options.cancel,
        secrets: options.secrets,
        worker: options.worker,
        grant: options.grant,
        complained: Arc::default(),
    };
    let node = &resolver.graph[index];
    let kind = resolver.kind(node)?;
    match executor.tries(node, kind, &prepared) {
        Ok(outcome) => {
            check_outputs(node, kind, &prepared, &outcome)?;
            Ok(Rebuilt::Outcome(outcome))
        }
        Err(Failure::Node(error)) => Ok(Rebuilt::Failed(error)),
        Err(Failure::Engine(error)) => Err(error),
    }
}

/// Copies an artifact with all its objects from one store to another.
fn lend(from: &Store, to: &Store, artifact: &Artifact) -> Result<(), EngineError> {
    for digest in objects_of(from, artifact)? {
        to.put(&from.get(&digest)?)?;
    }
    match artifact {
        Artifact::File(file) => {
            to.put_file(&from.path(file)?)?;
        }
        Artifact::Folder { files } => {
            for file in files.values() {
                to.put_file(&from.path(file)?)?;
            }
        }
        Artifact::Records(_) => {}
    }
    Ok(())
}
