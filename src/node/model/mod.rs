//! Kinds of the family `model`.

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[];
