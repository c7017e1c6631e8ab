//! Kinds of the family `source`.

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[];
