//! What can go wrong with a file of JSON lines.

use std::path::PathBuf;

use miette::Diagnostic;

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
    /// The last line was not written to its end.
    #[error("`{}:{line}`, the last line, is torn: its writer was stopped in the middle of it", path.display())]
    #[diagnostic(
        code(source::jsonl::torn_line),
        help("fetch that record again, delete the line, or set `on-bad-line = \"skip\"`")
    )]
    Torn {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
    },
    /// The file is compressed in a way that is not read.
    #[error("`{}` is compressed with zstd", path.display())]
    #[diagnostic(code(source::jsonl::compression), help("`zstd -d` it, or compress it with gzip"))]
    Zstd {
        /// The file.
        path: PathBuf,
    },
    /// The gzip stream is damaged or cut off.
    #[error("`{}` is not a whole gzip file", path.display())]
    #[diagnostic(code(source::jsonl::gzip), help("fetch it again; `gzip -t` tests it"))]
    Gzip {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
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
