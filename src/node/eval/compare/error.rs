//! What can go wrong in a comparison.

use miette::Diagnostic;

/// What can go wrong in a comparison.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum CompareError {
    /// The file of questions cannot be used.
    #[error("the questions in `{file}` cannot be used: {what}")]
    #[diagnostic(
        code(eval::bad_questions),
        help("a question is `[[question]]` with `ask = \"…\"` and `expect = [\"…\"]`; see the README")
    )]
    BadQuestions { file: String, what: String },

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

    /// A file.
    #[error(transparent)]
    #[diagnostic(code(eval::io), help("check that the file can be read and that the disk has room"))]
    Io(#[from] std::io::Error),
}
