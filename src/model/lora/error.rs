//! What can be wrong with an adapter: with its settings, or with its files.

use miette::Diagnostic;

/// What can be wrong with an adapter.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum LoraError {
    /// Targets that name no module of the base model.
    #[error("`targets`: {what} names no module of the base model")]
    #[diagnostic(code(lora::no_target), help("{help}"))]
    NoTarget {
        /// The name, the pattern, or all of them.
        what: String,
        /// What is known, and what was likely meant.
        help: String,
    },
    /// A pattern that is no regular expression.
    #[error("`{pattern}` is no regular expression")]
    #[diagnostic(
        code(lora::bad_pattern),
        help("patterns are matched with whole paths of modules, such as `.*self_attn\\.(q|v)_proj`")
    )]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// Why.
        #[source]
        cause: Box<fancy_regex::Error>,
    },
    /// A pattern for ranks or alphas that stands for no trained module.
    #[error("`{setting}`: `{pattern}` matches no trained module")]
    #[diagnostic(
        code(lora::unused_pattern),
        help("a pattern is the end of a module's path, or all of it; trained are: {trained}")
    )]
    UnusedPattern {
        /// `rank-pattern` or `alpha-pattern`.
        setting: &'static str,
        /// The pattern.
        pattern: String,
        /// The names of the trained modules.
        trained: String,
    },
    /// Two patterns for the same module: which one holds would be a guess.
    #[error("`{setting}`: `{first}` and `{second}` both match `{module}`")]
    #[diagnostic(code(lora::ambiguous_pattern), help("write patterns of which one alone matches a module"))]
    AmbiguousPattern {
        /// `rank-pattern` or `alpha-pattern`.
        setting: &'static str,
        /// A pattern.
        first: String,
        /// Another one.
        second: String,
        /// The module.
        module: String,
    },
    /// A block that the base model does not have.
    #[error("`layers` names block {layer}, the base model has the blocks 0 to {last}")]
    #[diagnostic(code(lora::no_such_layer), help("blocks are counted from 0"))]
    NoSuchLayer {
        /// The block.
        layer: usize,
        /// The last one that there is.
        last: usize,
    },
    /// A rank above what the weight itself can have.
    #[error("rank {rank} is larger than a side of `{module}`, which turns {inputs} numbers into {outputs}")]
    #[diagnostic(
        code(lora::rank_too_large),
        help("set `rank` to {most} or less, or give such modules their own: `rank-pattern = {{ {name} = {most} }}`")
    )]
    RankTooLarge {
        /// The rank.
        rank: usize,
        /// The module.
        module: String,
        /// Its name.
        name: &'static str,
        /// Numbers that go in.
        inputs: usize,
        /// Numbers that come out.
        outputs: usize,
        /// The largest rank that it can have.
        most: usize,
    },
    /// One of an adapter's two files is not there.
    #[error("the adapter has no `{file}`")]
    #[diagnostic(
        code(lora::incomplete),
        help("an adapter has `adapter_config.json` and `adapter_model.safetensors`, as PEFT writes them")
    )]
    Incomplete {
        /// The file.
        file: &'static str,
    },
    /// The settings are not PEFT's.
    #[error("`adapter_config.json` is not what PEFT writes")]
    #[diagnostic(
        code(lora::bad_config),
        help("save the adapter again with PEFT's `save_pretrained`, or build it again")
    )]
    Config(#[source] serde_json::Error),
    /// The tensors cannot be read, or not be written.
    #[error("`adapter_model.safetensors` is no whole safetensors file")]
    #[diagnostic(
        code(lora::bad_tensors),
        help("save the adapter again with PEFT's `save_pretrained`, or build it again")
    )]
    Tensors(#[source] safetensors::SafeTensorError),
    /// Something of PEFT that is not computed here.
    #[error("the adapter {what}, which is not supported")]
    #[diagnostic(
        code(lora::unsupported_feature),
        help(
            "supported are LoRA, rsLoRA and DoRA of linear modules, with ranks and alphas by pattern, without biases"
        )
    )]
    Unsupported {
        /// What it has or does, in words behind "the adapter".
        what: String,
    },
    /// Tensors and settings that do not belong together, or to the base model.
    #[error("the adapter does not fit: {what}")]
    #[diagnostic(code(lora::mismatch), help("use the adapter with the base model that it was trained on"))]
    Mismatch {
        /// What does not fit.
        what: String,
    },
}
