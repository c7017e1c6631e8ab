//! What can go wrong in the engine, beside a node's own failure.

use std::path::PathBuf;

use miette::Diagnostic;

use crate::node::{FailureClass, NodeError};
use crate::store::StoreError;

/// What can go wrong in the engine.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum EngineError {
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// A record set.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] crate::record::RecordError),
    /// The lock cannot be read.
    #[error("lock `{path}` cannot be read: {what}")]
    #[diagnostic(code(engine::bad_lock), help("take it from git again, or delete it to pin every source anew"))]
    Lock {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The list of excluded records cannot be read.
    #[error("`{}:{line}` excludes nothing: {what}", path.display())]
    #[diagnostic(
        code(engine::bad_exclusion),
        help(
            "a line is {{\"id\": \"OWNER/NAME#NUMBER\"}} and may have a \"note\"; `tunesmith purge` writes such lines"
        )
    )]
    Exclusions {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A warm start from an adapter that learnt what is excluded.
    #[error("the adapter that the lock pins for the warm start of `{node}` learnt rows of `{rows}` that are excluded")]
    #[diagnostic(
        code(engine::excluded_warm_start),
        help("only a training in full unlearns them: `tunesmith lock --cold {node}`")
    )]
    ExcludedWarmStart {
        /// The node.
        node: String,
        /// The rows' output.
        rows: String,
    },
    /// `--locked` and a source would move.
    #[error("node `{node}` would change the lock: {reason}")]
    #[diagnostic(code(engine::locked), help("run without `--locked`, look at the lock's difference, and commit it"))]
    Locked {
        /// The node.
        node: String,
        /// Why it would move.
        reason: String,
    },
    /// `--offline` and a source must be fetched.
    #[error("node `{node}` would open a socket: {reason}")]
    #[diagnostic(code(engine::offline), help("run without `--offline`, or use a lock whose snapshots are in a store"))]
    Offline {
        /// The node.
        node: String,
        /// Why it must be fetched.
        reason: String,
    },
    /// A file whose name no record and no key can carry.
    #[error("node `{node}` reads file `{name}`, whose name is no UTF-8")]
    #[diagnostic(code(engine::name_is_no_text), help("rename the file, or leave it out by `exclude`"))]
    NameIsNoText {
        /// The node.
        node: String,
        /// The name, with what is no UTF-8 replaced.
        name: String,
    },
    /// A local file that a setting names is not there.
    #[error("node `{node}` reads `{path}`, which is not there")]
    #[diagnostic(
        code(engine::missing_file),
        help("setting `{setting}` is relative to the manifest's folder; `optional = true` lets a file be absent")
    )]
    MissingFile {
        /// The node.
        node: String,
        /// The setting that names it.
        setting: String,
        /// The path.
        path: PathBuf,
    },
    /// A local file that a setting names and that this user may not read.
    #[error("node `{node}` reads `{}`, which cannot be read: {cause}", path.display())]
    #[diagnostic(
        code(engine::unreadable_file),
        help("setting `{setting}` names it: let this user read it, or leave it out")
    )]
    UnreadableFile {
        /// The node.
        node: String,
        /// The setting that names it.
        setting: String,
        /// The path.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Globs that cannot be read.
    #[error("node `{node}`: `{glob}` is no glob: {what}")]
    #[diagnostic(code(engine::bad_glob), help("`*` stands for a name's part, `**` for folders: `docs/**/*.md`"))]
    BadGlob {
        /// The node.
        node: String,
        /// The glob.
        glob: String,
        /// What is wrong with it.
        what: String,
    },
    /// A placeholder names a field that its node did not give.
    #[error("node `{node}` reads `{{{from}.{field}}}`, which `{from}` did not give")]
    #[diagnostic(code(engine::missing_field), help("`tunesmith show {from}` lists the fields that it gives"))]
    MissingField {
        /// The reading node.
        node: String,
        /// The node that should give it.
        from: String,
        /// The field.
        field: String,
    },
    /// A node gave other outputs than its kind declares.
    #[error("node `{node}` gave the outputs {got:?}, its kind declares {declared:?}")]
    #[diagnostic(code(engine::wrong_outputs), help("this is a bug of tunesmith: please report it"))]
    WrongOutputs {
        /// The node.
        node: String,
        /// What it gave.
        got: Vec<String>,
        /// What the kind declares.
        declared: Vec<String>,
    },
    /// An `out` whose folder is a link to elsewhere.
    #[error("`out` of node `{node}` leaves the project: `{path}` leads to `{leads_to}`")]
    #[diagnostic(
        code(engine::out_outside),
        help("a folder on its way is a symbolic link; name a path inside the project")
    )]
    OutOutside {
        /// The node.
        node: String,
        /// The path as the manifest has it.
        path: String,
        /// Where it leads.
        leads_to: PathBuf,
    },
    /// A job file that this worker cannot run.
    #[error("job `{path}` cannot be run: {what}")]
    #[diagnostic(code(engine::bad_job), help("jobs are made by `tunesmith build` of the same version"))]
    BadJob {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The number of no run.
    #[error("run {run} is not kept")]
    #[diagnostic(code(engine::unknown_run))]
    UnknownRun {
        /// The number.
        run: u64,
        /// Which are.
        #[help]
        help: String,
    },
    /// The name of no node.
    #[error("no node is called `{name}`")]
    #[diagnostic(code(engine::unknown_node))]
    UnknownNode {
        /// The name.
        name: String,
        /// A name that is near.
        #[help]
        help: String,
    },
    /// The file system.
    #[error(transparent)]
    #[diagnostic(code(engine::io), help("check that the disk has room and that the folder can be written"))]
    Io(#[from] std::io::Error),
}

impl EngineError {
    /// Returns whether a build cannot go on with its other nodes: the store's index fails.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Sqlite(_)) | Self::Record(crate::record::RecordError::Store(StoreError::Sqlite(_)))
        )
    }

    /// Returns whether an object is missing or damaged, so that its producer has to run again.
    pub(super) fn is_about_bytes(&self) -> bool {
        let gone = |error: &StoreError| matches!(error, StoreError::Missing { .. } | StoreError::Damaged { .. });
        match self {
            Self::Store(error) | Self::Record(crate::record::RecordError::Store(error)) => gone(error),
            _ => false,
        }
    }

    /// Returns the error as the failure of the node that met it.
    pub(super) fn into_failure(self) -> NodeError {
        let class = match self {
            Self::WrongOutputs { .. } => FailureClass::Bug,
            _ => FailureClass::Permanent,
        };
        NodeError::new(class, &self)
    }
}
