//! Kinds of the family `filter`.

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[];
