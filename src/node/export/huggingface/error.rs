//! What can go wrong with a repository on the hub.

use miette::Diagnostic;

use crate::net::NetError;
use crate::node::{FailureClass, NodeError};

/// What can go wrong with a repository on the hub.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum HubError {
    /// The network or the server.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Net(#[from] NetError),
    /// The token is not there.
    #[error("environment variable `{variable}`, which `token` names, is not set")]
    #[diagnostic(
        code(huggingface::no_token),
        help(
            "make a token with the right to write at {endpoint}/settings/tokens, and set it where `tunesmith build` runs"
        )
    )]
    NoToken { variable: String, endpoint: String },
    /// The token would be read by all on the way.
    #[error("`{endpoint}` is not encrypted: the token could be read on the way")]
    #[diagnostic(code(huggingface::plain), help("write `https://`; `http://` is for this machine alone"))]
    Plain { endpoint: String },
    /// A token that cannot be of use.
    #[error("the token in `{variable}` cannot write to `{repo}`: {why}")]
    #[diagnostic(
        code(huggingface::no_right),
        help("make one with the right to write there at {endpoint}/settings/tokens, or have its owner let you in")
    )]
    NoRight { endpoint: String, repo: String, variable: String, why: String },
    /// The hub says no.
    #[error("`{endpoint}` does not let `{repo}` be written ({status}): {what}")]
    #[diagnostic(code(huggingface::refused), help("{help}"))]
    Refused { endpoint: String, repo: String, status: u16, what: String, help: String },
    /// All could read it.
    #[error("`{repo}` is public, and `private = true` is set: nothing was sent")]
    #[diagnostic(
        code(huggingface::public),
        help("make it private in its settings on the hub, name another one, or remove `private`")
    )]
    Public { repo: String },
    /// A file that the repository's own rules leave out.
    #[error("the `.gitignore` of `{repo}` leaves out `{path}`: nothing was sent")]
    #[diagnostic(code(huggingface::ignored), help("change it there, or give the file another name by `paths`"))]
    Ignored { repo: String, path: String },
    /// The storage for large files refuses one.
    #[error("`{repo}` does not take `{path}` ({code}): {what}")]
    #[diagnostic(code(huggingface::storage), help("nothing was deployed; what was sent before is not sent again"))]
    Storage { repo: String, path: String, code: u64, what: String },
    /// A part that came otherwise than it was sent.
    #[error("`{path}` is other bytes on `{endpoint}` than here")]
    #[diagnostic(
        code(huggingface::wrong_digest),
        help("something on the way changes what is sent, such as a proxy: run the same command again")
    )]
    WrongDigest { endpoint: String, path: String },
    /// More than goes into one commit.
    #[error("`{endpoint}` wants `{path}` of {size} bytes within the commit, which takes {limit} in all")]
    #[diagnostic(
        code(huggingface::too_large),
        help("let its `.gitattributes` put such files into the storage for large ones: `*.EXTENSION filter=lfs`")
    )]
    TooLarge { endpoint: String, path: String, size: u64, limit: u64 },
    /// An answer that makes no sense.
    #[error("`{endpoint}` gave an answer that cannot be used: {what}")]
    #[diagnostic(
        code(huggingface::bad_answer),
        help("check `endpoint` and `HF_ENDPOINT`: what answers there may be no hub")
    )]
    BadAnswer { endpoint: String, what: String },
    /// Somebody committed meanwhile.
    #[error("`{branch}` of `{repo}` moved while files were sent: it is at {found} now")]
    #[diagnostic(
        code(huggingface::moved),
        help("nothing was deployed: run the same command again, what was sent is not sent again")
    )]
    Moved { repo: String, branch: String, found: String },
    /// A rollback would lose somebody's work.
    #[error("`{path}` in `{repo}` is no longer what was deployed")]
    #[diagnostic(
        code(huggingface::changed_since),
        help("somebody changed it since: put back by hand what `{before}` has, the commit before")
    )]
    ChangedSince { repo: String, path: String, before: String },
    /// There is nothing to roll back in.
    #[error("`{branch}` of `{repo}` is gone from `{endpoint}`")]
    #[diagnostic(code(huggingface::gone), help("nothing can be put back there; deploy it anew"))]
    Gone { endpoint: String, repo: String, branch: String },
    /// A file to send.
    #[error("a file that is to be sent cannot be read")]
    #[diagnostic(code(huggingface::io), help("run the same command again"))]
    Io(#[from] std::io::Error),
}

/// Makes the node's failure of an error, which another try may mend when it lies in the network or at the server.
pub(super) fn failure(error: HubError) -> NodeError {
    match &error {
        HubError::Net(NetError::Cancelled) => NodeError::cancelled(),
        HubError::Net(net) if net.is_transient() => NodeError::new(FailureClass::Transient, &error),
        HubError::Moved { .. } => NodeError::new(FailureClass::Transient, &error),
        _ => NodeError::new(FailureClass::Permanent, &error),
    }
}
