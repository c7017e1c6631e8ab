//! What can be wrong with a model's files.

use std::path::PathBuf;

use miette::Diagnostic;

use super::lora::LoraError;

/// Results of reading and running models.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

/// What can be wrong with a model's files.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ModelError {
    /// The header of a weights file cannot be read.
    #[error("`{path}` cannot be read as {format}")]
    #[diagnostic(code(model::unreadable_weights), help("fetch the file again; a GGUF starts with the letters `GGUF`"))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it should be.
        format: &'static str,
        /// Why it is not.
        #[source]
        cause: Box<candle_core::Error>,
    },
    /// A safetensors header that does not fit its file.
    #[error("`{path}` is no whole safetensors file: {what}")]
    #[diagnostic(
        code(model::damaged_safetensors),
        help("fetch the file again and compare its size with the publisher's")
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
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
        help("set `model.base` to a model of the Llama family, such as Llama 3, SmolLM2 or Mistral")
    )]
    Architecture {
        /// What the file says.
        found: String,
        /// What is known.
        known: &'static str,
    },
    /// A variation of the Llama architecture that is not computed here.
    #[error("the base model has {what}, which is not trained here")]
    #[diagnostic(code(model::unsupported_feature), help("set `model.base` to a plain Llama-family model"))]
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
    #[diagnostic(
        code(model::unreadable_tensor),
        help("types that are read: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K")
    )]
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
    #[diagnostic(code(model::unknown_dtype), help("types that are read from safetensors: F32, F16, BF16"))]
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
    /// The worker threads cannot be started.
    #[error("the threads for training cannot be started")]
    #[diagnostic(code(model::threads), help("the system's limit of processes may be reached: `ulimit -u`"))]
    Threads(#[source] rayon::ThreadPoolBuildError),
    /// The file system.
    #[error(transparent)]
    #[diagnostic(code(model::io), help("check that the file is there and can be read"))]
    Io(#[from] std::io::Error),
}
