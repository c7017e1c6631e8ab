//! What can be wrong with a GGUF file.

use std::path::PathBuf;

use miette::Diagnostic;

/// What can be wrong with a GGUF file.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum GgufError {
    /// Another kind of file.
    #[error("`{path}` is not a GGUF file: it starts with `{found}`")]
    #[diagnostic(code(gguf::not_gguf), help("a model for llama.cpp or Ollama is one file that starts with `GGUF`"))]
    NotGguf {
        /// The file.
        path: PathBuf,
        /// Its first bytes, escaped.
        found: String,
    },
    /// Version 1, or one that is not known yet.
    #[error("`{path}` has GGUF version {version}, versions 2 and 3 are read")]
    #[diagnostic(code(gguf::version), help("convert the model again with a current converter"))]
    Version {
        /// The file.
        path: PathBuf,
        /// What the header says.
        version: u32,
    },
    /// A length or an offset that leads out of the file, or a text that is not UTF-8.
    #[error("`{path}` is damaged at byte {at}: {what}")]
    #[diagnostic(code(gguf::damaged), help("fetch the file again and compare its digest with the publisher's"))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the reader stood.
        at: u64,
        /// What does not fit.
        what: String,
    },
    /// A needed metadata key is not there.
    #[error("`{path}` has no `{key}` of the expected type in its metadata")]
    #[diagnostic(code(gguf::missing_key), help("the file is no complete model: convert it again from its source"))]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// The writer was given another tensor than it had announced.
    #[error("tensor `{name}` has {found} bytes where {expected} were announced")]
    #[diagnostic(code(gguf::tensor_size), help("this is a bug of tunesmith: please report it"))]
    TensorSize {
        /// The tensor.
        name: String,
        /// Bytes given.
        found: u64,
        /// Bytes announced.
        expected: u64,
    },
    /// The writer was finished before all tensors were given.
    #[error("{missing} of the announced tensors were not written")]
    #[diagnostic(code(gguf::missing_tensors), help("this is a bug of tunesmith: please report it"))]
    MissingTensors {
        /// How many.
        missing: usize,
    },
    /// The file system.
    #[error(transparent)]
    #[diagnostic(code(gguf::io), help("check that the file can be read and that the disk has room"))]
    Io(#[from] std::io::Error),
}
