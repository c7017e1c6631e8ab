//! What can go wrong while documents are fetched.

use miette::Diagnostic;

use crate::net::NetError;
use crate::record::RecordError;
use crate::store::StoreError;

/// What can go wrong while documents are fetched.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum GithubDocsError {
    /// The network or GitHub.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Net(#[from] NetError),
    /// The answer for a reference is no commit.
    #[error("`{repo}` has no commit: the server answered `{answer}`")]
    #[diagnostic(
        code(source::github_docs::no_commit),
        help("the server is not GitHub's API, or its form has changed: check `api`")
    )]
    NoCommit {
        /// The repository, with the reference.
        repo: String,
        /// How the answer begins.
        answer: String,
    },
    /// A tree that even one folder at a time is not told whole.
    #[error("folder `{folder}` of `{repo}` has more entries than the server lists")]
    #[diagnostic(code(source::github_docs::truncated), help("no setting helps: clone it, and use `source.markdown`"))]
    Truncated {
        /// The repository.
        repo: String,
        /// The folder; empty for the top.
        folder: String,
    },
    /// A path in a tree that no repository can have.
    #[error("the tree of `{repo}` has the path `{path}`, which leads out of it")]
    #[diagnostic(code(source::github_docs::bad_path), help("the server is not to be trusted: check `api`"))]
    BadPath {
        /// The repository.
        repo: String,
        /// The path.
        path: String,
    },
    /// A file's bytes are not those that its name in Git promises.
    #[error("file `{path}` of `{repo}` came with other bytes than those named {id}")]
    #[diagnostic(
        code(source::github_docs::wrong_bytes),
        help("something between here and the server changes what it sends: run the command again elsewhere")
    )]
    WrongBytes {
        /// The repository.
        repo: String,
        /// The path.
        path: String,
        /// Git's name for the bytes.
        id: String,
    },
    /// The archive cannot be read.
    #[error("the archive of `{repo}` is damaged")]
    #[diagnostic(
        code(source::github_docs::damaged_archive),
        help("run the command again: what was whole of it is kept")
    )]
    DamagedArchive {
        /// The repository.
        repo: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The archive has a path that leads out of it.
    #[error("the archive of `{repo}` has the path `{path}`, which leads out of it")]
    #[diagnostic(code(source::github_docs::bad_archive), help("the server is not to be trusted: check `api`"))]
    BadArchive {
        /// The repository.
        repo: String,
        /// The path.
        path: String,
    },
    /// A glob, which the settings' check let pass.
    #[error("a glob cannot be read")]
    #[diagnostic(code(source::github_docs::glob), help("this is a bug of tunesmith: please report it"))]
    Glob(#[from] globset::Error),
    /// Record sets.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] RecordError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}
