//! What stands in llama.cpp's place when it is not built in.

use miette::Diagnostic;

/// This tunesmith has no llama.cpp.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("this tunesmith was built without llama.cpp, which `{wanted}` needs")]
#[diagnostic(code(llama::absent), help("build it with its default features: `cargo build --release`"))]
pub struct Absent {
    /// What needs it.
    pub wanted: &'static str,
}
