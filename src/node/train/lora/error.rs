//! What can go wrong in training.

use miette::Diagnostic;

/// What can go wrong in training.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum TrainError {
    /// No row can be trained.
    #[error("none of {count} rows can be trained: {why}")]
    #[diagnostic(code(train::no_rows), help("rows need an answer by the assistant within `max-tokens` tokens"))]
    NoRows { count: usize, why: String },

    /// A row that would teach nothing.
    #[error("no token of row `{row}` would be trained, within {max_tokens} tokens: {text}")]
    #[diagnostic(
        code(train::untrained_row),
        help(
            "`tunesmith show NODE --row '{row}' --tokens` shows what training sees of it; shorten questions in the \
             filter (`max-question-tokens`), raise `max-tokens`, or leave such rows out with `untrained-rows = \"drop\"`"
        )
    )]
    Untrained { row: String, max_tokens: usize, text: String },

    /// The loss or the gradient is no number any more.
    #[error("training diverged in step {step}: the loss is {loss}, the gradient's norm is {norm}")]
    #[diagnostic(code(train::diverged), help("set a lower `learning-rate` (it is {rate}), or a longer warm-up"))]
    Diverged { step: u64, loss: f64, norm: f64, rate: f64 },

    /// Rows longer than the model's context.
    #[error("`max-tokens` is {max_tokens}, the base model attends over {context} tokens")]
    #[diagnostic(code(train::context), help("set `max-tokens = {context}` in `[model]`, or less"))]
    Context { max_tokens: usize, context: usize },
}
