//! What can go wrong when renders are compared.

use miette::Diagnostic;

/// What can go wrong when renders are compared.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum ParityError {
    /// Not exactly one GGUF.
    #[error("one GGUF is compared with the training, `from` names {count}")]
    #[diagnostic(code(eval::one_gguf), help("name one node of the type `gguf` in `from`"))]
    OneGguf { count: usize },

    /// Nothing to compare by.
    #[error("there are no rows to compare: {why}")]
    #[diagnostic(code(eval::no_rows), help("add rows to `from`, such as `dataset:eval`"))]
    NoRows { why: String },

    /// In a rehearsal, none is as it should be.
    #[error("none of {rows} rows is served by the tokens that it would be trained with")]
    #[diagnostic(
        code(eval::all_differ),
        help("the warning before shows the first; base model and GGUF have other templates or tokenizers")
    )]
    AllDiffer { rows: u64 },

    /// The file does not say how conversations are written.
    #[error("the GGUF has no chat template: whoever serves it guesses one")]
    #[diagnostic(
        code(eval::no_template),
        help("give the base model a `chat_template` in its tokenizer_config.json, and export it again")
    )]
    NoTemplate,
}
