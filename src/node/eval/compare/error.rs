//! What can go wrong in a comparison.

use miette::Diagnostic;

/// What can go wrong in a comparison.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum CompareError {
    /// Neither questions nor held-out rows.
    #[error("there is nothing to compare by")]
    #[diagnostic(
        code(eval::nothing_to_compare),
        help("set `questions` to a file, or add held-out rows to `from`, such as `dataset:eval`")
    )]
    NothingToCompare,

    /// Not exactly one tuned model.
    #[error("one GGUF is compared with the base, `from` names {count}")]
    #[diagnostic(code(eval::one_gguf), help("name one node of the type `gguf` in `from`"))]
    OneGguf { count: usize },
}
