//! What can go wrong with a command.

use std::path::PathBuf;

use miette::Diagnostic;

use crate::record::{ImportError, RecordError};
use crate::store::StoreError;

/// What can go wrong with a command.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum CommandError {
    /// A secret that the settings name is not there.
    #[error("environment variable `{variable}`, which `env.{setting}` passes on, is not set")]
    #[diagnostic(code(command::no_secret), help("set it where `tunesmith build` runs"))]
    NoSecret {
        /// The variable.
        variable: String,
        /// The setting that names it.
        setting: String,
    },
    /// The program could not be started.
    #[error("program `{program}` could not be started")]
    #[diagnostic(
        code(command::not_started),
        help(
            "is it installed and in `PATH`? A script of the project must stand in `files`, and runs as `[\"sh\", \"script.sh\"]` or `[\"./script.sh\"]`"
        )
    )]
    NotStarted {
        /// The program.
        program: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The program failed.
    #[error("program `{program}` {how}{log}")]
    #[diagnostic(
        code(command::failed),
        help("it runs in a folder with its inputs and its `files` alone: is something missing there?")
    )]
    Failed {
        /// The program.
        program: String,
        /// `ended with code 1` or `was ended by signal 9`.
        how: String,
        /// The last lines that it wrote.
        log: String,
    },
    /// Nothing lies where the standard input should.
    #[error("there is no `{}` for standard input", path.display())]
    #[diagnostic(code(command::no_stdin), help("in the command's folder there are: {found}"))]
    NoStdin {
        /// The path in the command's folder.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// The program did not write an output.
    #[error("the program wrote no `{}` for output `{output}`", path.display())]
    #[diagnostic(code(command::no_output), help("in its folder there are: {found}"))]
    NoOutput {
        /// The output.
        output: String,
        /// Its path in the command's folder.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// An output is not what the settings say.
    #[error("`{}` of output `{output}` {what}", path.display())]
    #[diagnostic(
        code(command::bad_output),
        help("outputs are plain files, or folders of plain files, inside the command's folder")
    )]
    BadOutput {
        /// The output.
        output: String,
        /// The path in the command's folder.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// A line of an output is no record.
    #[error("`{}:{line}` of output `{output}` is not {expected}", path.display())]
    #[diagnostic(code(command::bad_line), help("mend the program, or set `as` to what it writes"))]
    BadLine {
        /// The output.
        output: String,
        /// The path in the command's folder.
        path: PathBuf,
        /// The line's number, from 1.
        line: u64,
        /// What it should be.
        expected: &'static str,
        /// Why it is not.
        #[source]
        cause: ImportError,
    },
    /// The file system.
    #[error("the command's folder cannot be used")]
    #[diagnostic(code(command::io), help("check that the disk has room"))]
    Io(#[from] std::io::Error),
    /// Record sets.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] RecordError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}
