//! Kinds of the family `export`.

mod copy;
mod gguf;
mod helm_values;
mod modelfile;
mod ollama;

use super::Kind;

pub use self::helm_values::try_edit;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[
    &gguf::ExportGguf,
    &modelfile::Modelfile,
    &ollama::ExportOllama,
    &helm_values::HelmValues,
    &copy::ExportCopy,
    &super::command::EXPORT,
];
