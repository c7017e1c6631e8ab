//! What can be wrong with a model's files.

use std::path::PathBuf;

use miette::Diagnostic;

use super::Device;
use super::gguf::GgufError;
use super::lora::LoraError;
use super::safetensors::SafetensorsError;
use super::weights::ShardError;

/// Results of reading and running models.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

/// What can be wrong with a model's files.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ModelError {
    /// A GGUF that cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Gguf(#[from] GgufError),
    /// A safetensors file that cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// A file of safetensors that cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Shard(#[from] ShardError),
    /// A folder without a file that a model needs.
    #[error("the model's folder has no `{name}`")]
    #[diagnostic(
        code(model::missing_file),
        help("a model's folder has config.json, tokenizer.json, tokenizer_config.json and *.safetensors")
    )]
    MissingFile {
        /// The file's name.
        name: &'static str,
    },
    /// A file of weights that the index names and the folder lacks.
    #[error("the model's index names `{name}`, which its folder does not have")]
    #[diagnostic(code(model::missing_shard), help("fetch all files that `model.safetensors.index.json` names"))]
    MissingShard {
        /// The file's name.
        name: String,
    },
    /// One tensor in two files.
    #[error("the tensor `{name}` is in `{}` and in `{}`", files[0], files[1])]
    #[diagnostic(
        code(model::tensor_twice),
        help("leave one set of weights in the folder, or `model.safetensors.index.json` that says which counts")
    )]
    TensorTwice {
        /// Its name.
        name: String,
        /// The files.
        files: [String; 2],
    },
    /// A JSON file of the model that is not what it should be.
    #[error("`{path}` is not the JSON that a model has under this name")]
    #[diagnostic(code(model::bad_json), help("fetch the file again from the model's publisher"))]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// A model of another family.
    #[error("the base model has the architecture `{found}`, trained are: {known}")]
    #[diagnostic(
        code(model::unknown_architecture),
        help("set `model.base` to a model of one of these architectures, such as Llama 3, SmolLM2, Mistral or Qwen3")
    )]
    Architecture {
        /// What the file says.
        found: String,
        /// What is known.
        known: &'static str,
    },
    /// A rotary embedding that is stretched in a way that is not computed here.
    #[error("the base model has rotary scaling of the type `{found}`, computed are: {known}")]
    #[diagnostic(
        code(model::unknown_rope_scaling),
        help(
            "set `model.base` to a model without it; where it was only added for longer texts than the model was trained \
             with, as Qwen's publisher suggests for `yarn`, take the model as it is published"
        )
    )]
    RopeScaling {
        /// What the file says.
        found: String,
        /// What is known.
        known: &'static str,
    },
    /// A variation of an architecture that is not computed here.
    #[error("the base model has {what}, which is not trained here")]
    #[diagnostic(
        code(model::unsupported_feature),
        help("set `model.base` to a model without it; of quantised weights take the publisher's plain ones or a GGUF")
    )]
    Unsupported {
        /// The variation.
        what: String,
    },
    /// A hyperparameter is absent or of the wrong type.
    #[error("the base model's metadata has no usable `{key}`")]
    #[diagnostic(code(model::missing_key), help("the file is no complete model: convert or fetch it again"))]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A tensor is absent.
    #[error("the base model has no tensor `{name}`")]
    #[diagnostic(code(model::missing_tensor), help("the file is no complete model: convert or fetch it again"))]
    MissingTensor {
        /// Its name, as the file should have it.
        name: String,
    },
    /// Tensors that would not be computed with.
    #[error("the base model has tensors that the architecture `{architecture}` does not have: {names}")]
    #[diagnostic(
        code(model::surplus_tensors),
        help(
            "the weights and the metadata are of different models, or the model is a variation that is not known here"
        )
    )]
    SurplusTensors {
        /// Some of their names.
        names: String,
        /// The architecture.
        architecture: &'static str,
    },
    /// A weight that is no number.
    #[error("tensor `{name}` of `{path}` has a number that is infinite or none")]
    #[diagnostic(
        code(model::not_finite),
        help(
            "the file is damaged, or was made from a training run that failed: fetch it again, or take another model"
        )
    )]
    NotFinite {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// A tensor of another shape than the hyperparameters say.
    #[error("tensor `{name}` has the shape {found:?}, the model's hyperparameters say {expected:?}")]
    #[diagnostic(
        code(model::wrong_shape),
        help("the weights and the metadata are of different models: fetch both again")
    )]
    Shape {
        /// Its name.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor whose numbers cannot be read.
    #[error("tensor `{name}` of `{path}` cannot be read")]
    #[diagnostic(code(model::unreadable_tensor), help("the file is damaged: fetch or convert it again"))]
    Tensor {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<candle_core::Error>,
    },
    /// A tensor stored in numbers of a type that is not read.
    #[error("tensor `{name}` is stored as `{found}`")]
    #[diagnostic(
        code(model::unknown_dtype),
        help("types that are read: F32, F16, BF16; from a GGUF also Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q2_K to Q6_K")
    )]
    DType {
        /// Its name.
        name: String,
        /// The type.
        found: String,
    },
    /// A tokenizer that cannot be rebuilt from a GGUF.
    #[error("the base model's tokenizer is `{found}`, which cannot be rebuilt from a GGUF")]
    #[diagnostic(
        code(model::unknown_tokenizer),
        help(
            "known are byte-level BPE tokenizers with `tokenizer.ggml.pre` of: {known}; give the model as a folder with \
             its tokenizer.json instead"
        )
    )]
    UnknownTokenizer {
        /// What the metadata says.
        found: String,
        /// What is known.
        known: &'static str,
    },
    /// A tokenizer that llama.cpp would need a name for.
    #[error("the base model's tokenizer splits text in a way that has no name in a GGUF")]
    #[diagnostic(
        code(model::unnamed_split),
        help(
            "known are the splits of: {known}; with a wrong one the model would read text otherwise than it was trained: \
             use the publisher's own GGUF as base"
        )
    )]
    UnnamedSplit {
        /// What is known.
        known: &'static str,
    },
    /// A tokenizer of another model.
    #[error("the tokenizer has the id {id}, the weights have {vocabulary} tokens")]
    #[diagnostic(
        code(model::tokenizer_size),
        help("tokenizer and weights are of different models: take both from one publisher")
    )]
    TokenizerSize {
        /// The tokenizer's largest id.
        id: u32,
        /// Rows of the embedding table.
        vocabulary: usize,
    },
    /// The tokenizer's own complaint.
    #[error("the base model's tokenizer does not work")]
    #[diagnostic(code(model::bad_tokenizer), help("fetch tokenizer.json, or the GGUF, again"))]
    Tokenizer(#[source] tokenizers::Error),
    /// No chat template.
    #[error("the base model has no chat template")]
    #[diagnostic(
        code(model::no_template),
        help("choose the `Instruct` or `chat` version of the model: rows are rendered with the model's own template")
    )]
    NoTemplate,
    /// The template's own complaint.
    #[error("the base model's chat template does not work")]
    #[diagnostic(
        code(model::bad_template),
        help("the cause names the line of the template; roles must be ones it knows")
    )]
    Template(#[source] minijinja::Error),
    /// An adapter that does not fit the base model.
    #[error("the adapter does not fit: {what}")]
    #[diagnostic(code(model::adapter_mismatch), help("use the adapter with the base model that it was trained on"))]
    Adapter {
        /// What does not fit.
        what: String,
    },
    /// An adapter whose settings or files are wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lora(#[from] LoraError),
    /// A device that this program has no code for.
    #[error("`device` is `{device}`, and this tunesmith was built without the feature `cuda`")]
    #[diagnostic(
        code(model::no_cuda),
        help(
            "build it with `cargo build --release --features cuda`, which needs CUDA's toolkit, or set `device = \"cpu\"`"
        )
    )]
    NoCuda {
        /// As the manifest has it.
        device: Device,
    },
    /// A device that fails, or is not there.
    #[error("`{device}` fails")]
    #[diagnostic(
        code(model::device),
        help(
            "`nvidia-smi` lists what is there and free; where memory is short, lower `max-tokens`, take a base that is \
             quantised or smaller, or set `device = \"cpu\"`"
        )
    )]
    Device {
        /// As the manifest has it.
        device: Device,
        /// What it says.
        #[source]
        cause: Box<candle_core::Error>,
    },
    /// The worker threads cannot be started.
    #[error("the threads for training cannot be started")]
    #[diagnostic(code(model::threads), help("the system's limit of processes may be reached: `ulimit -u`"))]
    Threads(#[source] rayon::ThreadPoolBuildError),
    /// The file system.
    #[error(transparent)]
    #[diagnostic(code(model::io), help("check that the file is there and can be read"))]
    Io(#[from] std::io::Error),
}
