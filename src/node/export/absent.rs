//! What stands in the model half's place when it is not built in.

use miette::Diagnostic;

/// This tunesmith has no model half, which reads weights, adapters and chat templates.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("this tunesmith was built without the model half, which `{wanted}` needs")]
#[diagnostic(code(export::no_model_half), help("build it with its default features: `cargo build --release`"))]
pub(super) struct NoModelHalf {
    /// The kind that needs it.
    pub(super) wanted: &'static str,
}
