//! How the saved states of a long run are known to the store, so that a collection keeps them.

use serde::{Deserialize, Serialize};

use crate::store::FileRef;

/// A saved state of a run. A named state of the store that is a list of these keeps their files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Checkpoint {
    /// Steps that were done.
    pub step: u64,
    /// Whether it is of an epoch's end.
    pub ends_epoch: bool,
    /// The saved state.
    pub file: FileRef,
}
