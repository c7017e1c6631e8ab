//! What can go wrong while a GGUF is exported, beside what `convert` and llama.cpp say.

use miette::Diagnostic;

/// What can go wrong while a GGUF is exported.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum ExportError {
    /// Not exactly one training.
    #[error("a GGUF is made from one adapter or one model, `from` names {count}")]
    #[diagnostic(code(export::one_adapter), help("name one node of the family `train`: `from = [\"NAME\"]`"))]
    OneAdapter { count: usize },

    /// Rows that nothing is measured on.
    #[error("`from` names the rows `{rows}`, which nothing is made of")]
    #[diagnostic(code(export::needless_rows), help("set `imatrix = \"{rows}\"`, or remove it from `from`"))]
    NeedlessRows { rows: String },

    /// `imatrix` names no rows of `from`.
    #[error("`imatrix` names `{imatrix}`, which is no rows in `from`")]
    #[diagnostic(code(export::imatrix), help("add it to `from`: `from = [\"TRAINING\", \"{imatrix}\"]`"))]
    Imatrix { imatrix: String },

    /// Rows that have no tokens.
    #[error("the rows of `{imatrix}` have no tokens to measure the importance on: {why}")]
    #[diagnostic(code(export::no_rows), help("name the rows that the adapter is trained on"))]
    NoRows { imatrix: String, why: String },

    /// The file system.
    #[error(transparent)]
    #[diagnostic(code(export::io), help("check that the disk has room for the model in 16 bits"))]
    Io(#[from] std::io::Error),
}
