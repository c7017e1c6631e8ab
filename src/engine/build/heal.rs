//! What a build does when bytes that it had are missing or damaged: their producers run again, once each.

use crate::engine::Known;
use crate::engine::execute::objects_of;
use crate::graph::NodeIndex;
use crate::node::NodeError;
use crate::store::{Artifact, Digest, Store};

use super::Builder;

impl Builder<'_> {
    /// When a run found bytes of an input missing or damaged, sees to it that their producers run again. Returns whether
    /// the node is to be tried again.
    pub(super) fn heal(&mut self, index: NodeIndex, error: &NodeError) -> bool {
        if !is_about_bytes(error) || self.stopping {
            return false;
        }
        let mut again = self.healed.insert(index);
        // A pinned source reads its snapshot before.
        for artifact in self.resolver.snapshot(&self.resolver.graph[index].name).values() {
            if !is_whole(self.resolver.store, artifact) {
                self.resolver.store.distrust(artifact);
            }
        }
        for from in self.resolver.graph.dependencies(index) {
            if !self.options.selected.contains(&from) {
                continue;
            }
            // Another reader may have found it first.
            let Some(known) = self.known[from.get()].clone() else {
                again = true;
                continue;
            };
            if self.distrust_broken(&known) && self.healed.insert(from) {
                self.reopen(from);
                again = true;
            }
        }
        if again {
            self.ready.wait(index);
        }
        again
    }

    /// As [`Self::heal`], when bytes of what the node itself gave are missing or damaged.
    pub(super) fn heal_result(&mut self, index: NodeIndex, given: &Known, error: &NodeError) -> bool {
        let again = is_about_bytes(error) && self.distrust_broken(given) && self.healed.insert(index);
        if again {
            self.ready.wait(index);
        }
        again
    }

    /// Lets a settled node be built again.
    fn reopen(&mut self, index: NodeIndex) {
        self.known[index.get()] = None;
        self.reports.remove(&index);
        self.ready.reopen(index);
        let waiting = self.resolver.graph.dependants(index);
        for dependant in waiting.iter().filter(|dependant| self.held.remove(dependant).is_some()) {
            self.ready.wait(*dependant);
        }
    }

    /// Reads all that a node gave; what is not as it was stored is no hit any more. Returns whether there is such.
    fn distrust_broken(&self, known: &Known) -> bool {
        let store = self.resolver.store;
        let broken = known.outputs.values().filter(|artifact| !is_whole(store, artifact));
        broken.map(|artifact| store.distrust(artifact)).count() > 0
    }
}

/// Returns whether a node failed since an object was missing or damaged.
fn is_about_bytes(error: &NodeError) -> bool {
    error.code.as_deref().is_some_and(|code| ["store::missing_object", "store::damaged_object"].contains(&code))
}

/// Returns whether every byte of an artifact is there and right.
fn is_whole(store: &Store, artifact: &Artifact) -> bool {
    match artifact {
        Artifact::Records(_) => {
            // Each one is read: what is damaged is dropped by that, so that nobody takes it for whole by its name.
            let missing = |objects: Vec<Digest>| objects.iter().filter(|digest| store.get(digest).is_err()).count();
            objects_of(store, artifact).is_ok_and(|objects| missing(objects) == 0)
        }
        Artifact::File(_) | Artifact::Folder { .. } => store.files_are_whole(artifact),
    }
}
