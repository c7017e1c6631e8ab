//! Base model and adapter → one GGUF, of plain floats or quantised; or safetensors, as the base has them.
//!
//! A tensor goes through a few rows at a time: read, decoded to 32 bits, `scale · B·A` added, with DoRA brought to its
//! trained length, rounded to 16 bits as the reference converter does, quantised, written. Nothing larger than some rows
//! is in memory, and no file is between. Everything is merged in GGUF's layout, where the rows of Llama's `attn_q` and
//! `attn_k` are interleaved: an adapter's rows are put into the same order.

mod adapter;
mod adapter_gguf;
mod error;
mod folder;
mod general;
mod merge;
mod metadata;
mod pre_tokenizer;
mod restore;
#[cfg(test)]
pub(crate) mod sample;
mod sentence_piece;
mod shards;
mod source;
mod special;
mod stream;
mod vocabulary;

pub use adapter::Adapter;
pub use adapter_gguf::{AdapterGguf, write_adapter_gguf};
pub use error::ConvertError;
pub use folder::FolderSource;
pub use merge::{Merge, Merged};
pub use restore::restored_files;
pub use shards::{MergeFolder, Usual, merge_folder, usual_float};
pub use source::{GgufSource, Source, SourceTensor, open};
pub use stream::{Chosen, Earlier, Place, Sizing, Target, merge, merge_quantised, types_for_size};

#[cfg(test)]
mod tests;
