//! Kinds of the family `eval`.

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[];
