//! The files that nodes of this family read and make.

use serde::Serialize;

use crate::node::{NodeError, Run};
use crate::store::{Artifact, FileRef};

/// Returns the GGUFs of `from`.
pub(super) fn ggufs<'r>(run: &'r Run<'_>) -> Vec<&'r FileRef> {
    let file = |artifact: &'r Artifact| match artifact {
        Artifact::File(file) => Some(file),
        _ => None,
    };
    run.inputs().filter_map(|input| file(&input.artifact)).collect()
}

/// Stores items as JSON, a line each.
pub(super) fn store_lines<T: Serialize>(
    run: &Run<'_>,
    items: impl IntoIterator<Item = T>,
) -> Result<Artifact, NodeError> {
    let mut lines = String::new();
    for item in items {
        lines += &serde_json::to_string(&item).map_err(|error| run.bad_job(error.to_string()))?;
        lines.push('\n');
    }
    Ok(Artifact::File(run.store.put_file_bytes(lines.as_bytes())?))
}
