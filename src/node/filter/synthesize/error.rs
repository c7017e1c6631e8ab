//! What can go wrong while a model writes.

use miette::Diagnostic;

use crate::node::NodeError;
use crate::node::endpoint::{self, EndpointError};
use crate::record::RecordError;
use crate::store::StoreError;

/// What can go wrong while a model writes.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum SynthesizeError {
    /// The endpoint.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Endpoint(#[from] EndpointError),
    /// Record sets.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] RecordError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

/// Makes the node's failure of an error.
pub(super) fn failure(error: SynthesizeError) -> NodeError {
    match error {
        SynthesizeError::Endpoint(error) => endpoint::failure(error),
        other => other.into(),
    }
}
