//! What can go wrong while a GGUF is exported, beside what `convert` and llama.cpp say.

use miette::Diagnostic;

/// What can go wrong while a GGUF is exported.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum ExportError {
    /// Not exactly one adapter.
    #[error("a GGUF is made from one adapter, `from` names {count}")]
    #[diagnostic(code(export::one_adapter), help("name one node of the family `train`: `from = [\"NAME\"]`"))]
    OneAdapter { count: usize },

    /// The file system.
    #[error(transparent)]
    #[diagnostic(code(export::io), help("check that the disk has room for the model in 16 bits"))]
    Io(#[from] std::io::Error),
}
