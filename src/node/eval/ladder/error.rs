//! What can go wrong on a ladder.

use miette::Diagnostic;

/// What can go wrong on a ladder.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum LadderError {
    /// Not exactly one training.
    #[error("a ladder has one adapter or one model, `from` names {count}")]
    #[diagnostic(code(eval::one_adapter), help("name one node of the family `train` in `from`"))]
    OneAdapter { count: usize },

    /// No row has a trained token.
    #[error("there are no held-out rows to measure the loss on: {why}")]
    #[diagnostic(code(eval::no_rows), help("add held-out rows to `from`, such as `dataset:eval`"))]
    NoRows { why: String },

    /// A GGUF of another model.
    #[error("`{rung}` has a vocabulary of {found} tokens, the base model one of {expected}")]
    #[diagnostic(code(eval::other_vocabulary), help("name only GGUFs that were made from this base model"))]
    OtherVocabulary { rung: String, found: usize, expected: usize },

    /// The file system.
    #[error("the adapter's predictions cannot be kept beside the run")]
    #[diagnostic(code(eval::scratch), help("check that the disk has room, or lower `trained-tokens`"))]
    Scratch(#[source] std::io::Error),
}
