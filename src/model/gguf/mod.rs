//! GGUF, the file format of llama.cpp: the header read with every length checked, and a streaming writer.
//!
//! The header keeps its metadata in the file's order and with the file's types, so that a converted model carries
//! exactly what its base carried. Nothing here decodes tensors: `crate::llama` does.

mod error;
mod header;
#[cfg(test)]
#[cfg(feature = "train")]
pub(crate) mod tiny;
mod types;
mod value;
mod write;

pub use error::GgufError;
pub use header::{Header, TensorInfo};
pub use types::{FileType, TensorType};
pub use value::{Array, Value};
pub use write::{PlannedTensor, Writer};

/// The first four bytes of every GGUF file.
pub const MAGIC: &[u8; 4] = b"GGUF";

/// Where tensors start: at multiples of this, unless the file says otherwise.
pub const DEFAULT_ALIGNMENT: u64 = 32;
