//! Kinds of the family `filter`.

mod conversations;
mod split;

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[&conversations::Conversations, &split::Split, &super::command::FILTER];
