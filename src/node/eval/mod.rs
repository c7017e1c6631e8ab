//! Kinds of the family `eval`.

mod compare;
mod condition;
mod error;
mod gate;

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[&compare::Compare, &gate::Gate];
