//! What can go wrong in training.

use miette::Diagnostic;

use crate::node::Device;

/// What can go wrong in training.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum TrainError {
    /// No row can be trained.
    #[error("none of {count} rows can be trained: {why}")]
    #[diagnostic(code(train::no_rows), help("rows need an answer by the assistant within `max-tokens` tokens"))]
    NoRows { count: usize, why: String },

    /// No row can be evaluated.
    #[error("none of {count} held-out rows of `{eval}` can be evaluated: {why}")]
    #[diagnostic(
        code(train::no_held_out_rows),
        help("hold out more rows (`filter.split` has `eval = 0.05`), or take `eval` out")
    )]
    NoHeldOut { eval: String, count: usize, why: String },

    /// `eval` is no input, or all of them.
    #[error("`eval` names `{eval}`, {what}")]
    #[diagnostic(
        code(train::unknown_eval),
        help("name it in `from` as well, such as `from = [\"dataset\", \"{eval}\"]`")
    )]
    Eval { eval: String, what: &'static str },

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

    /// A row of more tokens than are allowed.
    #[error("row `{row}` has {tokens} tokens, `max-tokens` is {max_tokens}: {text}")]
    #[diagnostic(
        code(train::over_length),
        help(
            "`tunesmith show NODE --row '{row}' --tokens` shows what training sees of it; shorten questions in the \
             filter (`max-question-tokens`), raise `max-tokens`, or set `over-length` to `\"truncate\"` or `\"drop\"`"
        )
    )]
    OverLength { row: String, tokens: usize, max_tokens: usize, text: String },

    /// The loss or the gradient is no number any more.
    #[error("training diverged in step {step}: the loss is {loss}, the gradient's norm is {norm}; its rows: {rows}")]
    #[diagnostic(
        code(train::diverged),
        help(
            "set a lower `learning-rate` (it is {rate}), or a longer warm-up; `tunesmith show NODE --row ID --tokens` \
             shows what training sees of a row"
        )
    )]
    Diverged { step: u64, loss: f64, norm: f64, rate: f64, rows: String },

    /// The loss grew far beyond what it was.
    #[error(
        "the loss exploded in step {step}: it is {loss:.3}, its running mean is {mean:.3}; rows of the step: {rows}"
    )]
    #[diagnostic(
        code(train::exploded),
        help(
            "set a lower `learning-rate` (it is {rate}), or a longer warm-up; look at the rows with `tunesmith show NODE \
             --row ID --tokens`; where the rows are meant to be so, `divergence = \"ignore\"` goes on"
        )
    )]
    Exploded { step: u64, loss: f64, mean: f64, rate: f64, rows: String },

    /// Rows longer than the model's context.
    #[error("`max-tokens` is {max_tokens}, the base model attends over {context} tokens")]
    #[diagnostic(code(train::context), help("set `max-tokens = {context}` in `[model]`, or less"))]
    Context { max_tokens: usize, context: usize },

    /// The machine's memory does not suffice.
    #[error("training needs {needed} of memory, {has} may be used ({parts})")]
    #[diagnostic(code(train::memory), help("{ways}"))]
    Memory { needed: String, has: String, parts: String, ways: String },

    /// All weights of a base that is a GGUF.
    #[error("all weights are trained of a base in safetensors, and this one is a GGUF")]
    #[diagnostic(
        code(train::whole_gguf),
        help(
            "set `model.base` to the model as its publisher has it, such as `hf:ORG/REPO`, or train an adapter, for which a \
             GGUF will do: `type = \"lora\"`"
        )
    )]
    WholeGguf,

    /// All weights on a GPU.
    #[error("`device` is `{device}`, and all weights are trained on the CPU alone")]
    #[diagnostic(
        code(train::whole_on_device),
        help("take `device` out of `[run.node.NAME]`, or train an adapter on the GPU: `type = \"lora\"`")
    )]
    WholeOnDevice { device: Device },

    /// The pinned adapter is of another shape or of another base.
    #[error("the adapter that the lock pins for the warm start does not fit: {what}")]
    #[diagnostic(
        code(train::warm_start_mismatch),
        help("train in full with `tunesmith lock --cold {node}`, or put the settings back that it was trained with")
    )]
    WarmStart { node: String, what: String },
}
