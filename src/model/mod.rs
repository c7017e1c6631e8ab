//! Tensors: file formats, tokenizer, template, transformer, adapters.

#[cfg(feature = "llama")]
pub mod convert;
pub mod gguf;
