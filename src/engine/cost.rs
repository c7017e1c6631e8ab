//! What a run is going to take of this machine, asked of its kind before it runs.

use std::path::Path;

use super::prepare::Prepared;
use super::{EngineError, Resolver};
use crate::graph::NodeIndex;
use crate::node::{Cancel, Cost, Events, Grant, JOB_FORMAT, Job, NodeError, Run, Secrets};

impl Resolver<'_> {
    /// Returns what a run on `prepared` inputs is going to take; nothing for kinds that take little. Nothing is built.
    ///
    /// # Errors
    /// Why the run would fail on this machine.
    pub fn cost(
        &self,
        index: NodeIndex,
        prepared: &Prepared,
        grant: Grant,
        (events, secrets): (&dyn Events, &dyn Secrets),
    ) -> Result<Option<Cost>, NodeError> {
        let node = &self.graph[index];
        let kind = self.kind(node).map_err(EngineError::into_failure)?;
        let root = self.store.root();
        let scratch = tempfile::Builder::new().prefix("cost-").tempdir_in(root.join("scratch"));
        let scratch = scratch.map_err(|error| EngineError::from(error).into_failure())?;
        let job = Job {
            format: JOB_FORMAT,
            node: node.name.clone(),
            kind: node.kind_name.clone(),
            kind_version: kind.info().version,
            key: prepared.key,
            settings: prepared.settings.clone(),
            inputs: prepared.inputs.clone(),
            files: prepared.files.clone(),
            store: root.to_owned(),
            remote: self.store.remote_root().map(Path::to_owned),
            scratch: scratch.path().to_owned(),
            previous: prepared.previous.clone(),
            grant: Grant {
                threads: node.run.threads.unwrap_or(grant.threads),
                memory: node.run.memory.or(grant.memory),
            },
            outside: None,
        };
        kind.cost(&Run { job: &job, store: self.store, events, cancel: &Cancel::default(), secrets })
    }
}
