//! What a collection of the store must keep: what locks pin, what the last runs gave, what nodes were last built
//! from, and checkpoints.

use super::execute::objects_of;
use super::resolve::snapshot_key;
use super::{EngineError, Lockfile, RunLog, Trace};
use crate::node::Checkpoint;
use crate::record::RecordError;
use crate::store::{Artifact, Digest, FileRef, Roots, Store, StoreError};

/// Returns the roots: snapshots of `locks`, results of the last `runs` builds, and the last build of every node.
///
/// # Errors
/// Errors of the store. What is named but no longer there needs no keeping.
pub fn roots(store: &Store, locks: &[Lockfile], runs: usize) -> Result<Roots, EngineError> {
    let mut roots = Roots::default();
    for entry in locks.iter().flat_map(|lock| lock.entries().values()) {
        roots.keys.insert(snapshot_key(&entry.settings, &entry.outputs));
        for artifact in entry.outputs.values() {
            keep(store, artifact, &mut roots)?;
        }
    }
    for start in locks.iter().flat_map(|lock| lock.warm_starts().values()) {
        for artifact in start.outputs.values().chain(start.rows.values()) {
            keep(store, artifact, &mut roots)?;
        }
    }
    for run in RunLog::last(store, runs)? {
        roots.keys.extend(run.nodes.iter().filter_map(|entry| entry.key));
    }
    for trace in store.states::<Trace>("node/")? {
        roots.keys.insert(trace.key);
        // The sets that it was built from are what `explain` compares with.
        for (_, _, artifact) in trace.inputs.iter().filter(|(_, _, artifact)| matches!(artifact, Artifact::Records(_)))
        {
            keep(store, artifact, &mut roots)?;
        }
    }
    // What a kind goes on from is known to it by a named state that is nothing but a file, or a list of checkpoints.
    roots.objects.extend(store.states::<FileRef>("")?.into_iter().map(|file| file.digest));
    let checkpoints = store.states::<Vec<Checkpoint>>("")?.into_iter().flatten();
    roots.objects.extend(checkpoints.map(|checkpoint| checkpoint.file.digest));
    for key in roots.keys.clone() {
        let record = match store.action(&key) {
            Err(StoreError::Unreadable { .. }) => None,
            record => record?,
        };
        for artifact in record.iter().flat_map(|record| record.outputs.values()) {
            keep(store, artifact, &mut roots)?;
        }
    }
    Ok(roots)
}

fn keep(store: &Store, artifact: &Artifact, roots: &mut Roots) -> Result<(), EngineError> {
    let packed: Vec<Digest> = match objects_of(store, artifact) {
        Err(EngineError::Record(RecordError::Store(StoreError::Missing { .. } | StoreError::Damaged { .. }))) => {
            Vec::new()
        }
        objects => objects?,
    };
    roots.objects.extend(packed);
    match artifact {
        Artifact::File(file) => roots.objects.extend([file.digest]),
        Artifact::Folder { files } => roots.objects.extend(files.values().map(|file| file.digest)),
        Artifact::Records(_) => {}
    }
    Ok(())
}
