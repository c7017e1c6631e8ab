//! Kinds of the family `export`.

mod copy;
mod files;
mod gguf;
mod helm_values;
mod huggingface;
mod modelfile;
mod oci;
mod ollama;
mod safetensors;
mod sending;
mod sha256;

use super::Kind;
use sha256::sha256;

pub use self::helm_values::try_edit;
pub use self::ollama::address as ollama_address;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[
    &gguf::ExportGguf,
    &safetensors::ExportSafetensors,
    &modelfile::Modelfile,
    &ollama::ExportOllama,
    &helm_values::HelmValues,
    &huggingface::HuggingFace,
    &oci::ExportOci,
    &copy::ExportCopy,
    &super::command::EXPORT,
];
