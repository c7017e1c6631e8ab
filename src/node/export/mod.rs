//! Kinds of the family `export`.

mod gguf;

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[&gguf::ExportGguf];
