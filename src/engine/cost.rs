//! What a run is going to take of this machine, asked of its kind before it runs.

use super::prepare::Prepared;
use super::{EngineError, Resolver};
use crate::graph::NodeIndex;
use crate::node::{Cancel, Cost, Events, Grant, NodeError, Run, Secrets};

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
        let scratch = tempfile::Builder::new().prefix("cost-").tempdir_in(self.store.root().join("scratch"));
        let scratch = scratch.map_err(|error| EngineError::from(error).into_failure())?;
        let job = self.job(node, kind, prepared, grant, scratch.path());
        kind.cost(&Run { job: &job, store: self.store, events, cancel: &Cancel::default(), secrets })
    }
}
