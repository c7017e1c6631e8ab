//! What can go wrong between a base model and a GGUF.

use std::path::PathBuf;

use miette::Diagnostic;

use crate::llama::LlamaError;
use crate::model::ModelError;
use crate::model::config::KNOWN_ARCHITECTURES;
use crate::model::gguf::GgufError;
use crate::model::weights::ShardError;

/// What can go wrong between a base model and a GGUF.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ConvertError {
    /// A module of the adapter is nothing that a model has.
    #[error("the adapter changes `{module}`, which is no known part of a model")]
    #[diagnostic(
        code(convert::unknown_module),
        help("known parts: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, lm_head")
    )]
    UnknownModule {
        /// Its path.
        module: String,
    },
    /// The base has no tensor that the adapter changes.
    #[error("the adapter changes `{tensor}`, which the base model does not have")]
    #[diagnostic(
        code(convert::other_base),
        help("the adapter was trained on another model: build it again on this one")
    )]
    NoSuchTensor {
        /// Its GGUF name.
        tensor: String,
    },
    /// The base's tensor has another shape.
    #[error(
        "the adapter changes `{tensor}` as {adapter_rows} × {adapter_columns}, in the base model it is {rows} × {columns}"
    )]
    #[diagnostic(
        code(convert::other_base),
        help("the adapter was trained on another model: build it again on this one")
    )]
    OtherShape {
        /// Its GGUF name.
        tensor: String,
        /// Outputs in the adapter.
        adapter_rows: u64,
        /// Inputs in the adapter.
        adapter_columns: u64,
        /// Outputs in the base.
        rows: u64,
        /// Inputs in the base.
        columns: u64,
    },
    /// A kind of adapter that llama.cpp knows only when it is merged.
    #[error(
        "the adapter brings the rows of `{tensor}` to a length of their own (DoRA), which llama.cpp cannot do beside a base"
    )]
    #[diagnostic(code(convert::no_form), help("merge it: `export.gguf`; or train without `dora`"))]
    NoForm {
        /// A tensor that it changes so.
        tensor: String,
    },
    /// A number that is no number, or too large for the type.
    #[error("tensor `{tensor}` has a number that {target} cannot hold: {number}")]
    #[diagnostic(
        code(convert::not_finite),
        help("if the training loss was finite, export with `quantization = \"BF16\"`; else train with a lower rate")
    )]
    NotFinite {
        /// Its name.
        tensor: String,
        /// The type.
        target: &'static str,
        /// The number.
        number: f32,
    },
    /// A type that is made only with an importance matrix.
    #[error("tensor `{tensor}` is stored as {kind} only with an importance matrix")]
    #[diagnostic(
        code(convert::needs_importance),
        help(
            "set `imatrix` to the rows to measure it on; types without one, from small to large: Q2_K, IQ3_S, Q3_K_M, \
             IQ4_XS, Q4_K_M, Q5_K_M, Q6_K, Q8_0"
        )
    )]
    NeedsImportance {
        /// Its name.
        tensor: String,
        /// The type.
        kind: &'static str,
    },
    /// A size that the file cannot have.
    #[error("no file of this model has {wanted} bits a weight, within 1 %")]
    #[diagnostic(
        code(convert::size),
        help("it has from {least:.2} to {most:.2}; a small model's steps between them are large")
    )]
    Size {
        /// What was asked for.
        wanted: f64,
        /// The smallest file's.
        least: f64,
        /// The largest file's.
        most: f64,
    },
    /// A model that llama.cpp alone quantises.
    #[error("the types of this model's tensors are llama.cpp's to choose")]
    #[diagnostic(code(convert::no_rules), help("set `quantization` instead of `bits-per-weight`"))]
    NoRules,
    /// An architecture whose order of rows is not known.
    #[error("models of the architecture `{architecture}` cannot be merged")]
    #[diagnostic(code(convert::architecture), help("known are: {KNOWN_ARCHITECTURES}"))]
    Architecture {
        /// What the base says it is.
        architecture: String,
    },
    /// The caller asked for the end.
    #[error("cancelled")]
    #[diagnostic(code(convert::interrupted))]
    Interrupted,
    /// No threads could be started.
    #[error("no threads can be started")]
    #[diagnostic(code(convert::threads), help("the system's limit on threads is reached"))]
    Threads(#[source] rayon::ThreadPoolBuildError),
    /// The GGUF that is read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Gguf(#[from] GgufError),
    /// The folder of the base.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] ModelError),
    /// Decoding the base.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Llama(#[from] LlamaError),
    /// A file that cannot be read.
    #[error("`{path}` cannot be read")]
    #[diagnostic(code(convert::io), help("check the disk; `tunesmith cache verify` finds damaged files"))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A file of safetensors that cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Shard(#[from] ShardError),
    /// A file that cannot be written.
    #[error("`{path}` cannot be written")]
    #[diagnostic(code(convert::write), help("check that the disk has room for the whole model"))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}
