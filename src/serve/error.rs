//! Why a model cannot be asked.

use miette::Diagnostic;

use crate::llama::LlamaError;
use crate::model::ModelError;

/// Why a model cannot be asked.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ServeError {
    /// llama.cpp.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Llama(#[from] LlamaError),
    /// A chat template that does not parse.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Template(#[from] ModelError),
    /// The file does not say how conversations are written.
    #[error("the model has no chat template, so nobody can say how it is asked")]
    #[diagnostic(
        code(serve::no_template),
        help("give the base model a `chat_template` in its tokenizer_config.json, and build again")
    )]
    NoTemplate,
    /// The chat template refuses a conversation.
    #[error("the model's chat template refuses this conversation: {why}")]
    #[diagnostic(code(serve::refused), help("most take `user` and `assistant` in turn, and some no `system`"))]
    Refused {
        /// In the template's words.
        why: String,
    },
    /// A text with a token of the vocabulary in it that cannot be taken apart.
    #[error("a text holds {token:?}, which this model reads as a token of its template")]
    #[diagnostic(code(serve::marker), help("leave it out"))]
    Marker {
        /// The token.
        token: String,
    },
    /// A conversation that leaves no room for an answer.
    #[error("the conversation has {tokens} tokens, and the context holds {length}")]
    #[diagnostic(code(serve::too_long), help("ask in fewer words, or give `--context` more tokens"))]
    TooLong {
        /// How many it has; for texts that are much too long, how many at the least.
        tokens: usize,
        /// How many fit.
        length: usize,
    },
    /// The server cannot run.
    #[error("the server cannot run")]
    #[diagnostic(code(serve::io))]
    Io(#[from] std::io::Error),
    /// The thread of the server ended by a panic.
    #[error("the server's thread ended without a word")]
    #[diagnostic(code(serve::ended), help("this is a bug of tunesmith: please report it"))]
    Ended,
}
