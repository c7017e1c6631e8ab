//! What a node's run is told.

use std::path::Path;

use super::Resolver;
use super::prepare::Prepared;
use crate::graph::Node;
use crate::manifest;
use crate::node::{Device, Grant, JOB_FORMAT, Job, Kind};

impl Resolver<'_> {
    /// Returns the job of a run on `prepared` inputs, with an empty folder of its own. What the node has no limits for
    /// is within `grant`.
    pub(super) fn job(&self, node: &Node, kind: &dyn Kind, prepared: &Prepared, grant: Grant, scratch: &Path) -> Job {
        Job {
            format: JOB_FORMAT,
            node: node.name.clone(),
            kind: node.kind_name.clone(),
            kind_version: kind.info().version,
            key: prepared.key,
            settings: prepared.settings.clone(),
            inputs: prepared.inputs.clone(),
            files: prepared.files.clone(),
            store: self.store.root().to_owned(),
            remote: self.store.lender().unwrap_or(self.store).remote_root().map(Path::to_owned),
            rehearsal: self.store.lender().map(|lender| lender.root().to_owned()),
            offline: self.mode.offline,
            scratch: scratch.to_owned(),
            previous: prepared.previous.clone(),
            grant: Grant {
                threads: node.run.threads.unwrap_or(grant.threads),
                memory: node.run.memory.or(grant.memory),
                device: device(node, kind),
            },
            outside: kind.is_effect(&prepared.settings).then(|| self.outside(&node.name)),
        }
    }
}

/// Returns the device that a node runs on: what the manifest says, for kinds that have a choice.
pub(super) fn device(node: &Node, kind: &dyn Kind) -> Device {
    match node.run.device.filter(|_| kind.has_devices()) {
        Some(manifest::Device::Cuda(index)) => Device::Cuda(usize::from(index)),
        None | Some(manifest::Device::Cpu) => Device::Cpu,
    }
}
