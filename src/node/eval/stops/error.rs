//! What can go wrong when a model is asked whether it stops.

use miette::Diagnostic;

/// What can go wrong when a model is asked whether it stops.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum StopsError {
    /// Not exactly one model.
    #[error("one GGUF is asked, `from` names {count}")]
    #[diagnostic(code(eval::one_gguf), help("name one node of the type `gguf` in `from`"))]
    OneGguf { count: usize },

    /// Neither questions nor rows.
    #[error("there is nothing to ask")]
    #[diagnostic(
        code(eval::nothing_to_ask),
        help("set `questions` to a file, or add held-out rows to `from`, such as `dataset:eval`")
    )]
    NothingToAsk,
}
