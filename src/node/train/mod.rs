//! Kinds of the family `train`.

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[];
