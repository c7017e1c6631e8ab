//! What can go wrong while threads are fetched.

use std::path::PathBuf;

use miette::Diagnostic;

use crate::net::NetError;
use crate::node::source::text::TextError;
use crate::record::RecordError;
use crate::store::StoreError;

/// Results of this module.
pub(super) type Result<T> = std::result::Result<T, GithubError>;

/// What can go wrong while threads are fetched.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum GithubError {
    /// The network or GitHub.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Net(#[from] NetError),
    /// A comment that names no thread.
    #[error("comment {comment} of `{repo}` belongs to `{address}`, which names no issue and no pull request")]
    #[diagnostic(
        code(source::github::no_thread),
        help("the server is not GitHub's API, or its form has changed: check `api`")
    )]
    NoThread {
        /// The repository.
        repo: String,
        /// The comment's id.
        comment: u64,
        /// Where it says it belongs.
        address: String,
    },
    /// An answer from somewhere else.
    #[error("`{asked}` is answered by `{origin}`, which is not the API")]
    #[diagnostic(
        code(source::github::elsewhere),
        help("the token was not sent there; if that is the API now, name it by `api`")
    )]
    Elsewhere {
        /// The API's origin.
        asked: String,
        /// Who answered.
        origin: String,
    },
    /// GraphQL answered with an error.
    #[error("GitHub's GraphQL answered for `{repo}`: {message}")]
    #[diagnostic(code(source::github::graphql), help("{help}"))]
    GraphQl {
        /// The repository.
        repo: String,
        /// Its message.
        message: String,
        /// What to do.
        help: &'static str,
        /// Whether a smaller question may be answered.
        is_too_much: bool,
        /// Whether it says that there is no such thing.
        is_absent: bool,
    },
    /// What only GraphQL has, without a token.
    #[error("{what} without a token")]
    #[diagnostic(
        code(source::github::needs_token),
        help(
            "GitHub answers GraphQL only with a token: make one without any scope at https://github.com/settings/tokens, set `token = \"env:GITHUB_TOKEN\"`, and set that variable"
        )
    )]
    NeedsToken {
        /// What was asked for, up to "without a token".
        what: String,
    },
    /// The file that a first fetch begins with is not there.
    #[error("`seed` names `{}`, which is not there, and there is no snapshot yet", path.display())]
    #[diagnostic(
        code(source::github::seed_missing),
        help("check the path, or take `seed` out to fetch everything from GitHub")
    )]
    SeedMissing {
        /// The file, as the manifest has it.
        path: PathBuf,
    },
    /// The file that a first fetch begins with cannot be opened or unpacked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Seed(#[from] TextError),
    /// The cursor cannot be written.
    #[error("the cursor cannot be written")]
    #[diagnostic(code(source::github::cursor), help("this is a bug of tunesmith: please report it"))]
    Cursor(#[source] serde_json::Error),
    /// Record sets.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] RecordError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl GithubError {
    /// Returns whether the server lists no deeper.
    pub(super) fn is_too_deep(&self) -> bool {
        matches!(self, Self::Net(NetError::Refused { status: 422, .. }))
    }

    /// Returns whether a smaller question may be answered.
    pub(super) fn is_too_much(&self) -> bool {
        match self {
            Self::Net(NetError::Server { status: 502 | 504, .. } | NetError::Timeout { .. }) => true,
            Self::GraphQl { is_too_much, .. } => *is_too_much,
            _ => false,
        }
    }

    /// Returns whether REST may answer where GraphQL did not.
    pub(super) fn is_graphql_alone(&self) -> bool {
        matches!(
            self,
            Self::GraphQl { .. }
                | Self::Net(NetError::Refused { .. } | NetError::Server { .. } | NetError::NotJson { .. })
        )
    }
}
