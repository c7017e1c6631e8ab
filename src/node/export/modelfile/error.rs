//! What can go wrong while a Modelfile is written.

use miette::Diagnostic;

/// What can go wrong while a Modelfile is written.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum ModelfileError {
    /// Not exactly one GGUF.
    #[error("a Modelfile is made for one GGUF, `from` names {count}")]
    #[diagnostic(code(export::one_gguf), help("name one node of the type `gguf`: `from = [\"NAME\"]`"))]
    OneGguf { count: usize },

    /// A text that the Modelfile's quotes cannot hold.
    #[error("{what} cannot be quoted in a Modelfile: {why}")]
    #[diagnostic(code(export::unquotable), help("use other quotes in the text, such as ' or “ ”"))]
    Unquotable { what: String, why: &'static str },
}
