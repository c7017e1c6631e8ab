//! Base model and adapter → one GGUF of plain floats, that llama.cpp then quantises.
//!
//! A tensor goes through in slabs of rows: read, decoded to 32 bits, `scale · B·A` added, with DoRA brought to its
//! trained length, rounded once to the target type, written. Nothing larger than a slab is in memory. Everything is
//! merged in GGUF's layout, where the rows of Llama's `attn_q` and `attn_k` are interleaved: an adapter's rows are put
//! into the same order.

mod adapter;
mod error;
mod folder;
mod merge;
mod metadata;
mod pre_tokenizer;
#[cfg(test)]
pub(crate) mod sample;
mod sentence_piece;
mod source;
mod special;
mod vocabulary;

pub use adapter::Adapter;
pub use error::ConvertError;
pub use folder::FolderSource;
pub use merge::{Merge, Merged, merge};
pub use source::{GgufSource, Source, SourceTensor};

#[cfg(test)]
mod tests;
