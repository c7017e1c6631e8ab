//! `tunesmith chat`: a conversation with the model that a node gave.
//!
//! Where standard input is no terminal, each line is a question, and answers go to standard output. `/bye` or the end of
//! the input ends it, `/new` begins a new conversation, Ctrl-C stops an answer.
//!
//! `--json` writes one object `chat` an answer: `question`, `answer`, `prompt-tokens`, `tokens`, `ended` (whether the model
//! ended it by itself), `left-out` (messages that no longer fit), and with `--base` the base's: `base` (the same but for
//! `question`).

#[cfg(feature = "llama")]
mod speaker;
#[cfg(feature = "llama")]
mod talk;

#[cfg(feature = "llama")]
use super::sampling::Sampling;
use super::{CliError, Context, Execute, Exit};

/// Arguments of `chat`.
#[derive(Debug, clap::Args)]
pub(super) struct Chat {
    /// The node: one that gives a GGUF, a training, or `model`
    node: String,
    /// Show the base's answer beside the model's
    #[arg(long)]
    base: bool,
    #[cfg(feature = "llama")]
    #[command(flatten)]
    sampling: Sampling,
}

impl Execute for Chat {
    #[cfg(feature = "llama")]
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        self.talk(context)
    }

    #[cfg(not(feature = "llama"))]
    fn execute(&self, _: &mut Context<'_>) -> Result<Exit, CliError> {
        Err(crate::llama::Absent { wanted: "chat" }.into())
    }
}
