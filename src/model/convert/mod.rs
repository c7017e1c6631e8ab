//! Base model and adapter → one GGUF, of plain floats or quantised.
//!
//! A tensor goes through a few rows at a time: read, decoded to 32 bits, `scale · B·A` added, rounded to 16 bits as the
//! reference converter does, quantised, written. Nothing larger than some rows is in memory, and no file is between.
//! Everything is merged in GGUF's layout, where the rows of
//! `attn_q` and `attn_k` are interleaved: an adapter's rows are put into the same order.

mod adapter;
mod error;
mod folder;
mod merge;
mod metadata;
#[cfg(test)]
pub(crate) mod sample;
mod source;
mod stream;

pub use adapter::{Adapter, Lora};
pub use error::ConvertError;
pub use folder::FolderSource;
pub use merge::{Merge, Merged, merge};
pub use source::{GgufSource, Source, SourceTensor};
pub use stream::{Target, merge_quantised};

#[cfg(test)]
mod tests;
