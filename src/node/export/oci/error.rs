//! What can go wrong with an artifact in a registry.

use miette::Diagnostic;

use crate::net::NetError;
use crate::node::{FailureClass, NodeError};

/// What can go wrong with an artifact in a registry.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum OciError {
    /// The network or the server.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Net(#[from] NetError),
    /// The password is not there.
    #[error("environment variable `{variable}`, which `password` names, is not set")]
    #[diagnostic(code(oci::no_password), help("set it where `tunesmith build` runs"))]
    NoPassword { variable: String },
    /// The password would be read by all on the way.
    #[error("`{host}` asks to log in at `{realm}`, which is not encrypted")]
    #[diagnostic(code(oci::plain), help("the registry's administrator must name an `https://` address there"))]
    Plain { host: String, realm: String },
    /// The registry says no.
    #[error("`{host}` does not let `{name}` be written ({status}): {what}")]
    #[diagnostic(code(oci::refused), help("{help}"))]
    Refused { host: String, name: String, status: u16, what: String, help: String },
    /// The bytes that came are not those that were sent.
    #[error("`{host}` has other bytes for `{file}` than those here: {found}")]
    #[diagnostic(
        code(oci::wrong_digest),
        help("something on the way changes what is sent, such as a proxy: run the same command again")
    )]
    WrongDigest { host: String, file: String, found: String },
    /// An answer that makes no sense.
    #[error("`{host}` gave an answer that cannot be used: {what}")]
    #[diagnostic(code(oci::bad_answer), help("check `reference`: what answers there may be no registry"))]
    BadAnswer { host: String, what: String },
    /// The alias names something that nobody here put there.
    #[error("`{alias}` of `{repository}` is no longer what was deployed: it is {found}")]
    #[diagnostic(
        code(oci::changed_since),
        help("somebody moved it since; `oras tag {repository}:{before} {alias}` moves it")
    )]
    ChangedSince { repository: String, alias: String, found: String, before: String },
    /// What a rollback would go back to.
    #[error("`{tag}` is no longer in `{repository}`, so `{alias}` cannot go back to it")]
    #[diagnostic(
        code(oci::gone),
        help("deploy a former state of the project: `git checkout` and `tunesmith build --deploy`")
    )]
    Gone { repository: String, tag: String, alias: String },
    /// A tag that was new, in a registry that never forgets one.
    #[error("`{alias}` named nothing before, and the registry of `{repository}` deletes no tags")]
    #[diagnostic(code(oci::no_delete), help("delete it by the registry's own page, or leave it"))]
    NoDelete { repository: String, alias: String },
    /// A file to send.
    #[error("a file that is to be sent cannot be read")]
    #[diagnostic(code(oci::io), help("run the same command again"))]
    Io(#[from] std::io::Error),
}

/// Makes the node's failure of an error, which another try may mend when it lies in the network or at the server.
pub(super) fn failure(error: OciError) -> NodeError {
    match &error {
        OciError::Net(NetError::Cancelled) => NodeError::cancelled(),
        OciError::Net(net) if net.is_transient() => NodeError::new(FailureClass::Transient, &error),
        _ => NodeError::new(FailureClass::Permanent, &error),
    }
}
