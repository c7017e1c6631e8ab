//! Kinds of the family `export`.

#[cfg(not(feature = "train"))]
mod absent;
mod adapter_gguf;
mod card;
mod copy;
mod files;
mod gguf;
mod helm_values;
mod huggingface;
mod model_card;
mod modelfile;
mod oci;
mod ollama;
mod safetensors;
mod sending;
mod sha256;

use super::Kind;
#[cfg(not(feature = "train"))]
use absent::NoModelHalf;
use sha256::sha256;

pub use self::helm_values::try_edit;
#[cfg(feature = "train")]
pub use self::modelfile::try_template;
pub use self::ollama::address as ollama_address;

/// Reads what hubs, registries and servers answer to a deployment, for the fuzz target.
///
/// # Panics
/// When something is not written as it was read, which is a bug.
pub fn read_answers(bytes: &[u8]) {
    huggingface::read_answers(bytes);
    oci::read_answers(bytes);
    ollama::read_answers(bytes);
}

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[
    &gguf::ExportGguf,
    &adapter_gguf::AdapterGguf,
    &safetensors::ExportSafetensors,
    &model_card::ModelCard,
    &modelfile::Modelfile,
    &ollama::ExportOllama,
    &helm_values::HelmValues,
    &huggingface::HuggingFace,
    &oci::ExportOci,
    &copy::ExportCopy,
    &super::command::EXPORT,
];
