//! llama.cpp behind one small API: load a model, tokenize, log-probabilities, generate, importance, quantise, dequantise.
//!
//! All of llama.cpp that tunesmith uses is called from here, on the CPU; `unsafe` code stays in this folder. Nothing is printed:
//! what llama.cpp logs is kept, and its last words are part of an error. An assertion of C++ ends the process, so
//! callers run in a worker of their own (`Weight::Heavy`).
//!
//! It knows no template, and of sampling temperature and top-p: conversations are rendered by `crate::model`.

#[cfg(not(feature = "llama"))]
mod absent;
#[cfg(feature = "llama")]
mod answer;
#[cfg(feature = "llama")]
mod context;
#[cfg(feature = "llama")]
mod error;
#[cfg(feature = "llama")]
mod generate;
#[cfg(feature = "llama")]
mod importance;
#[cfg(feature = "llama")]
mod log;
#[cfg(feature = "llama")]
mod model;
#[cfg(feature = "llama")]
mod quantize;
#[cfg(feature = "llama")]
mod tensor;

#[cfg(not(feature = "llama"))]
pub use absent::Absent;
#[cfg(feature = "llama")]
pub use context::{Context, ContextOptions, Interrupt};
#[cfg(feature = "llama")]
pub use error::LlamaError;
#[cfg(feature = "llama")]
pub use generate::{Generated, Generation};
#[cfg(feature = "llama")]
pub use importance::{Importance, importance};
#[cfg(feature = "llama")]
pub use log::quantized_tensors;
#[cfg(feature = "llama")]
pub use model::{Markers, Model, SpecialToken, Token};
#[cfg(feature = "llama")]
pub use quantize::quantize;
#[cfg(feature = "llama")]
pub use tensor::{dequantize, quantize_rows};

/// The llama.cpp that results are made with, for keys: its own version, and the crate that pins its commit.
pub const VERSION: &str = "0.6.0 (llama-cpp-sys-2 0.1.161)";

#[cfg(test)]
#[cfg(feature = "llama")]
mod tests;
