//! What can go wrong while issues are fetched.

use miette::Diagnostic;

use crate::net::NetError;
use crate::record::RecordError;
use crate::store::StoreError;

/// What can go wrong while issues are fetched.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum GithubIssuesError {
    /// The network or GitHub.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Net(#[from] NetError),
    /// A comment that names no issue.
    #[error("comment {comment} of `{repo}` belongs to `{issue_url}`, which names no issue")]
    #[diagnostic(
        code(source::github_issues::no_issue),
        help("the server is not GitHub's API, or its form has changed: check `api`")
    )]
    NoIssue {
        /// The repository.
        repo: String,
        /// The comment's id.
        comment: u64,
        /// Where it says it belongs.
        issue_url: String,
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
