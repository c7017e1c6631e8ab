//! Kinds of the family `export`.

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[&super::command::EXPORT];
