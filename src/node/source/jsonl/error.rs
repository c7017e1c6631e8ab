//! What can go wrong with a file of JSON lines.

use std::path::PathBuf;

use miette::Diagnostic;

use crate::node::source::text::TextError;
use crate::record::{ImportError, RecordError};
use crate::store::StoreError;

/// What can go wrong with a file of JSON lines.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum JsonlError {
    /// A line is no record.
    #[error("`{}:{line}` is not {expected}", path.display())]
    #[diagnostic(
        code(source::jsonl::bad_line),
        help(
            "mend the line, set `as` to what the file holds, or set `on-bad-line = \"skip\"` to leave such lines out"
        )
    )]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// What it should be.
        expected: &'static str,
        /// Why it is not.
        #[source]
        cause: ImportError,
    },
    /// The file cannot be opened or unpacked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Text(#[from] TextError),
    /// Somebody writes it.
    #[error("`{}` changed while it was read", path.display())]
    #[diagnostic(code(source::jsonl::changed), help("build again when it is written to its end"))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A memo cannot be written.
    #[error("the memo of a run of lines cannot be written")]
    #[diagnostic(code(source::jsonl::memo), help("this is a bug of tunesmith: please report it"))]
    Memo(#[from] serde_json::Error),
    /// A record set.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] RecordError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be read.
    #[error("the file cannot be read")]
    #[diagnostic(code(source::jsonl::io), help("check that it is there and that you may read it"))]
    Io(#[from] std::io::Error),
}
