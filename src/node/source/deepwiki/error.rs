//! What can go wrong while wikis are fetched.

use miette::Diagnostic;

use crate::net::NetError;
use crate::node::{FailureClass, NodeError};
use crate::record::RecordError;
use crate::store::StoreError;

/// What can go wrong while wikis are fetched.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum DeepwikiError {
    /// The network or the server.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Net(#[from] NetError),
    /// There is no wiki of the repository.
    #[error("DeepWiki has no wiki of `{repo}`: {told:?}")]
    #[diagnostic(
        code(source::deepwiki::not_indexed),
        help("check the name; a public repository is indexed once somebody opens its page at https://deepwiki.com")
    )]
    NotIndexed {
        /// The repository.
        repo: String,
        /// What the server said.
        told: String,
    },
    /// The server could not do what it was asked.
    #[error("DeepWiki's tool `{tool}` failed: {told:?}")]
    #[diagnostic(code(source::deepwiki::tool_failed), help("run the command again later"))]
    ToolFailed {
        /// The tool.
        tool: String,
        /// What the server said.
        told: String,
    },
    /// An answer that is no MCP.
    #[error("the answer of the MCP server is not what the protocol says: {what}")]
    #[diagnostic(
        code(source::deepwiki::bad_answer),
        help("check `mcp`; a proxy's notice or a new version of the server is the usual reason")
    )]
    BadAnswer {
        /// What is wrong with it.
        what: String,
    },
    /// A page payload that is no wiki.
    #[error("the page payload of `{repo}` cannot be read: {what}")]
    #[diagnostic(
        code(source::deepwiki::bad_payload),
        help("nothing of it was kept; check `site`, and run the command again later")
    )]
    BadPayload {
        /// The repository.
        repo: String,
        /// What is wrong with it.
        what: PayloadProblem,
    },
    /// A wiki with more bytes than allowed.
    #[error("the wiki of `{repo}` is larger than {limit} bytes")]
    #[diagnostic(code(source::deepwiki::too_large), help("raise `max-bytes`, if you want all of it"))]
    TooLarge {
        /// The repository.
        repo: String,
        /// Bytes.
        limit: u64,
    },
    /// Some wikis came, others did not.
    #[error("{} of {of} wikis could not be fetched: {}", pending.len(), pending.join("; "))]
    #[diagnostic(
        code(source::deepwiki::pending),
        help("what came is kept: the next run asks for {} alone", if pending.len() == 1 { "that one" } else { "those" })
    )]
    Pending {
        /// The repositories, each with the reason.
        pending: Vec<String>,
        /// Repositories in all.
        of: usize,
        /// Whether another try may succeed.
        transient: bool,
    },
    /// Record sets.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] RecordError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with a page payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadProblem {
    /// The bytes end within a row.
    #[error("it ends within row {row:x}, which wants {missing} bytes more")]
    Truncated {
        /// The row's number.
        row: u64,
        /// Bytes that are not there.
        missing: u64,
    },
    /// A row's head is none.
    #[error("there is no row at byte {at}")]
    NoRow {
        /// Where, in the joined chunks.
        at: usize,
    },
    /// A text row whose bytes are no text: its length is wrong.
    #[error("row {row:x} is no UTF-8")]
    NotText {
        /// The row's number.
        row: u64,
    },
    /// A page whose text is elsewhere, and not there.
    #[error("the text of page `{page}` is missing")]
    NoContent {
        /// The page's title.
        page: String,
    },
    /// No wiki in it.
    #[error("it holds no wiki; it begins {begins:?}")]
    NoWiki {
        /// How it begins.
        begins: String,
    },
}

impl DeepwikiError {
    /// Returns whether another try may succeed.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Net(net) => net.is_transient(),
            Self::ToolFailed { .. } | Self::BadAnswer { .. } | Self::BadPayload { .. } => true,
            Self::Pending { transient, .. } => *transient,
            _ => false,
        }
    }

    /// Returns whether a server wants to be left alone for longer than a run waits.
    pub(super) fn is_limit(&self) -> bool {
        matches!(self, Self::Net(NetError::RateLimited { .. }))
    }

    /// Makes the node's failure.
    pub(super) fn failure(self) -> NodeError {
        match &self {
            Self::Net(NetError::Cancelled) => NodeError::cancelled(),
            error if error.is_transient() => NodeError::new(FailureClass::Transient, error),
            error => NodeError::new(FailureClass::Permanent, error),
        }
    }
}

/// Returns how a text begins, for a message.
pub(super) fn begins(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take(40).collect();
    let mut begins: String = words.join(" ").chars().take(120).collect();
    if begins.len() < text.trim().len() {
        begins.push('…');
    }
    begins
}
