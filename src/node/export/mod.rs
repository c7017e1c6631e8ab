//! Kinds of the family `export`.

mod gguf;
mod modelfile;

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[&gguf::ExportGguf, &modelfile::Modelfile, &super::command::EXPORT];
