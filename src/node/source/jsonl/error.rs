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
    /// The file is packed, and damaged or cut off.
    #[error("`{}` is not a whole {form} file", path.display())]
    #[diagnostic(code(source::jsonl::packed), help("fetch it again; `{form} -t` tests it"))]
    Packed {
        /// The file.
        path: PathBuf,
        /// How it is packed: the name of the program, too.
        form: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A small file that would fill the memory.
    #[error("`{}` unpacks to more than {limit} bytes, 200 times its size", path.display())]
    #[diagnostic(code(source::jsonl::bomb), help("if that is right, unpack it yourself and name the unpacked file"))]
    Bomb {
        /// The file.
        path: PathBuf,
        /// Bytes.
        limit: u64,
    },
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
