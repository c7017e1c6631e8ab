//! What a training gave, as exports and evaluations read it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{NodeError, Run};
use crate::model::lora::ADAPTER_CONFIG;
use crate::model::weights::WeightFiles;
use crate::store::{Artifact, Digest};

/// What a training gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tuned {
    /// An adapter for the base model: its files by name.
    Adapter(BTreeMap<String, PathBuf>),
    /// A model of its own.
    Whole(WeightFiles),
}

impl Tuned {
    /// Returns the one folder of `from` that is an adapter or a model.
    ///
    /// # Errors
    /// What `otherwise` makes of any other number of them; errors of the store.
    pub(crate) fn one<E: Into<NodeError>>(
        run: &Run<'_>,
        otherwise: impl FnOnce(usize) -> E,
    ) -> Result<Self, NodeError> {
        let mut all = Self::all(run)?;
        match (all.pop(), all.len()) {
            (Some(one), 0) => Ok(one),
            (last, rest) => Err(otherwise(rest + usize::from(last.is_some())).into()),
        }
    }

    /// Returns the digest of the model that an adapter is merged into, or that is converted as it is.
    ///
    /// # Errors
    /// A run without a base model where an adapter needs one.
    pub(crate) fn converted(run: &Run<'_>) -> Result<Digest, NodeError> {
        let whole = run.inputs().map(|input| &input.artifact).find(|artifact| match artifact {
            Artifact::Folder { files } => !files.contains_key(ADAPTER_CONFIG),
            _ => false,
        });
        Ok(match whole {
            Some(whole) => whole.digest(),
            None => run.model()?.artifact.digest(),
        })
    }

    fn all(run: &Run<'_>) -> Result<Vec<Self>, NodeError> {
        let mut found = Vec::new();
        for input in run.inputs() {
            let Artifact::Folder { files } = &input.artifact else { continue };
            let is_adapter = files.contains_key(ADAPTER_CONFIG);
            let paths = run.store.paths(files)?;
            found.push(if is_adapter { Self::Adapter(paths) } else { Self::Whole(WeightFiles::Folder(paths)) });
        }
        Ok(found)
    }
}
