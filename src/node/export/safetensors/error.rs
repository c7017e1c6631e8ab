//! What can go wrong while a folder of safetensors is exported, beside what `convert` says.

use miette::Diagnostic;

/// What can go wrong while a folder of safetensors is exported.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum ExportError {
    /// Not exactly one training.
    #[error("a model is made from one adapter or one model, `from` names {count}")]
    #[diagnostic(code(export::one_adapter), help("name one node of the family `train`: `from = [\"NAME\"]`"))]
    OneAdapter { count: usize },

    /// A configuration that is no JSON object.
    #[error("the base's `{file}` cannot be read")]
    #[diagnostic(code(export::bad_json), help("fetch the base again and compare it with the publisher's"))]
    BadJson {
        file: &'static str,
        #[source]
        cause: serde_json::Error,
    },

    /// The file system.
    #[error(transparent)]
    #[diagnostic(code(export::io), help("check that the disk has room for the whole model"))]
    Io(#[from] std::io::Error),
}
