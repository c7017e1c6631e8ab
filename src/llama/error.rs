//! What can go wrong in llama.cpp.

use std::path::PathBuf;

use miette::Diagnostic;

/// What can go wrong in llama.cpp.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum LlamaError {
    /// The model was not loaded.
    #[error("llama.cpp cannot load `{path}`: {said}")]
    #[diagnostic(code(llama::load), help("check that it is a GGUF of an architecture that llama.cpp knows"))]
    Load {
        /// The file.
        path: PathBuf,
        /// llama.cpp's last words.
        said: String,
    },
    /// No context could be made.
    #[error("llama.cpp cannot hold a context of {length} tokens: {said}")]
    #[diagnostic(code(llama::context), help("there may be too little memory; a smaller `max-tokens` needs less"))]
    Context {
        /// Its length in tokens.
        length: u32,
        /// llama.cpp's last words.
        said: String,
    },
    /// A text could not be made into tokens.
    #[error("llama.cpp cannot tokenize a text of {bytes} bytes")]
    #[diagnostic(code(llama::tokenize), help("texts of more than 2 GiB have no tokens"))]
    Tokenize {
        /// Its length.
        bytes: usize,
    },
    /// More tokens than the context holds.
    #[error("{tokens} tokens do not fit into a context of {length}")]
    #[diagnostic(code(llama::too_long), help("raise `max-tokens` of `[model]`, or shorten the text"))]
    TooLong {
        /// How many were given.
        tokens: usize,
        /// How many fit.
        length: usize,
    },
    /// Nothing to go on from.
    #[error("an empty sequence has no next token")]
    #[diagnostic(code(llama::empty), help("this is a bug of tunesmith: please report it"))]
    Empty,
    /// A token number that the vocabulary does not have.
    #[error("token {token} is not in the vocabulary of {size}")]
    #[diagnostic(code(llama::unknown_token), help("the rows were made with another model's tokenizer"))]
    UnknownToken {
        /// The number.
        token: i32,
        /// The vocabulary's size.
        size: i32,
    },
    /// A run of the network failed.
    #[error("llama.cpp cannot compute: {said}")]
    #[diagnostic(code(llama::compute), help("there may be too little memory"))]
    Compute {
        /// llama.cpp's last words.
        said: String,
    },
    /// The caller asked for the end.
    #[error("cancelled")]
    #[diagnostic(code(llama::interrupted))]
    Interrupted,
    /// A model whose numbers run over.
    #[error("what `{tensor}` is multiplied with is not finite: its columns have no importance")]
    #[diagnostic(code(llama::importance), help("if the training loss was finite, train with a lower rate"))]
    Importance {
        /// The weight.
        tensor: String,
    },
    /// Quantising failed.
    #[error("llama.cpp cannot quantise to the type {file_type}: {said}")]
    #[diagnostic(code(llama::quantize), help("`Q4_K_M`, `Q5_K_M`, `Q6_K` and `Q8_0` work for every model"))]
    Quantize {
        /// llama.cpp's number of the type.
        file_type: u32,
        /// llama.cpp's last words.
        said: String,
    },
    /// Numbers of this type cannot be read.
    #[error("{bytes} bytes of the type {tensor_type} do not make {elements} numbers")]
    #[diagnostic(
        code(llama::dequantize),
        help("the file is damaged, or its type is one that only holds intermediate results")
    )]
    Dequantize {
        /// ggml's number of the type.
        tensor_type: u32,
        /// Bytes given.
        bytes: usize,
        /// Numbers wanted.
        elements: usize,
    },
    /// Numbers cannot be encoded as this type.
    #[error("rows of {columns} numbers cannot be stored as the type {tensor_type}")]
    #[diagnostic(
        code(llama::rows),
        help("the numbers are too large for the type, or it needs an importance matrix or rows of another length")
    )]
    Rows {
        /// ggml's number of the type.
        tensor_type: u32,
        /// Numbers of a row.
        columns: usize,
    },
    /// A path that C cannot take.
    #[error("`{path}` cannot be given to llama.cpp: it is not UTF-8, or has a zero byte in it")]
    #[diagnostic(code(llama::path), help("move the project to a folder with a plain name"))]
    Path {
        /// The path.
        path: PathBuf,
    },
}
