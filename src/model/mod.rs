//! Tensors: file formats, tokenizer, template, transformer, LoRA.

pub mod gguf;
