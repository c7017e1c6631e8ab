//! Kinds of the family `eval`.

mod condition;
mod error;
mod gate;

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[&gate::Gate];
