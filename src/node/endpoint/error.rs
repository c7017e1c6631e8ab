//! What can go wrong at an endpoint.

use miette::Diagnostic;

use crate::net::NetError;
use crate::node::{FailureClass, NodeError};
use crate::store::StoreError;

/// What can go wrong at an endpoint.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum EndpointError {
    /// The network or the endpoint.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Net(#[from] NetError),
    /// `--offline` and an answer that is not kept.
    #[error("`{url}` would be asked, which opens a socket: the store has no answer to a request")]
    #[diagnostic(
        code(endpoint::offline),
        help("run without `--offline`; answers are kept, so what has one is not asked again")
    )]
    Offline {
        /// The address.
        url: String,
    },
    /// An answer without a choice, such as an error that came as a success.
    #[error("`{url}` answered without a choice: {excerpt}")]
    #[diagnostic(
        code(endpoint::no_choice),
        help("look at the endpoint's log; `endpoint` ends with `/v1` for most servers")
    )]
    NoChoice {
        /// The address.
        url: String,
        /// How the answer begins.
        excerpt: String,
    },
    /// An answer that JSON has no form for.
    #[error("an answer cannot be kept")]
    #[diagnostic(code(endpoint::unwritable), help("this is a bug of tunesmith: please report it"))]
    Unwritable(#[source] serde_json::Error),
    /// No threads to ask with.
    #[error("the threads that ask cannot be started")]
    #[diagnostic(code(endpoint::threads), help("lower `parallel`, or let this user start more threads"))]
    Threads(#[source] rayon::ThreadPoolBuildError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

/// Makes the node's failure of an error, which another try may mend when it lies in the network or at the endpoint.
pub(crate) fn failure(error: EndpointError) -> NodeError {
    match &error {
        EndpointError::Net(NetError::Cancelled) => NodeError::cancelled(),
        EndpointError::NoChoice { .. } => NodeError::new(FailureClass::Transient, &error),
        EndpointError::Net(net) if net.is_transient() => NodeError::new(FailureClass::Transient, &error),
        _ => NodeError::new(FailureClass::Permanent, &error),
    }
}
