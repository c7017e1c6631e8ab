//! Why a command did not do what it was asked for, and the exit code that says so.

use std::path::PathBuf;

use miette::Diagnostic;

use super::Exit;
use crate::graph::UnknownTarget;
use crate::manifest::Problems;

/// Why a command failed.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum CliError {
    /// The manifest is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Manifest(Box<Problems>),
    /// A name on the command line selects nothing.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] Box<UnknownTarget>),
    /// No manifest is there.
    #[error("there is no `pipeline.toml` in `{folder}` or a folder above it")]
    #[diagnostic(
        code(cli::no_manifest),
        help("`tunesmith init` writes one for this repository; `-f FILE` names one elsewhere")
    )]
    NoManifest {
        /// Where the search began.
        folder: PathBuf,
    },
    /// The manifest's file cannot be read.
    #[error("the manifest `{file}` cannot be read")]
    #[diagnostic(code(cli::unreadable_manifest), help("name another file with `-f FILE`"))]
    UnreadableManifest {
        /// As it was named.
        file: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The manifest's file is no text.
    #[error("the manifest `{file}` is no UTF-8 text: byte {offset} is not part of a character")]
    #[diagnostic(code(cli::not_text), help("save it as UTF-8; if it is no manifest, name another with `-f FILE`"))]
    NotText {
        /// As it was named.
        file: String,
        /// Where, in bytes from the start.
        offset: usize,
    },
    /// `init` would overwrite a manifest.
    #[error("`{file}` is there already")]
    #[diagnostic(code(cli::would_overwrite), help("`tunesmith init --force` overwrites it"))]
    WouldOverwrite {
        /// The file.
        file: String,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    #[diagnostic(code(cli::io))]
    Io(#[from] std::io::Error),
}

impl From<Problems> for CliError {
    fn from(problems: Problems) -> Self {
        Self::Manifest(Box::new(problems))
    }
}

impl CliError {
    /// Returns the exit code that says this.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Io(_) => Exit::Failed,
            Self::Manifest(_)
            | Self::Target(_)
            | Self::NoManifest { .. }
            | Self::UnreadableManifest { .. }
            | Self::NotText { .. }
            | Self::WouldOverwrite { .. } => Exit::Wrong,
        }
    }
}
