//! The model half: weights and their files, tokenizer, chat template, token rows, transformer, LoRA, optimiser.
//!
//! ```text
//! weights files ─→ Base ─┬─→ Tokenizer, ChatTemplate ─→ rows: conversations as token ids with a trained mask
//!                        ├─→ Transformer (frozen) + Adapter (trained) ─┬─→ loss, gradient ─→ optimiser
//!                        └─→ WholeModel (trained) ─────────────────────┘
//! ```
//!
//! It knows records and stored files, but no node and no manifest. What it computes depends on its inputs and the seed alone:
//! not on the number of threads or on the width of the machine's vectors. Without the feature `train` only the headers of
//! its file formats are there, [`gguf`] and [`safetensors`].

#[cfg(feature = "train")]
pub mod config;
#[cfg(feature = "llama")]
pub mod convert;
mod device;
mod disk;
#[cfg(feature = "train")]
mod error;
#[cfg(feature = "train")]
mod floats;
pub mod gguf;
#[cfg(feature = "train")]
mod kernel;
#[cfg(feature = "train")]
pub mod lora;
#[cfg(feature = "train")]
pub mod optimizer;
#[cfg(feature = "train")]
pub mod quantize;
#[cfg(feature = "train")]
pub mod rows;
pub mod safetensors;
#[cfg(feature = "train")]
pub mod template;
#[cfg(feature = "train")]
pub mod tokenizer;
#[cfg(feature = "train")]
pub mod transformer;
#[cfg(feature = "train")]
mod vectors;
#[cfg(feature = "train")]
pub mod weights;

pub use device::Device;
#[cfg(feature = "train")]
pub use error::{ModelError, Result};
