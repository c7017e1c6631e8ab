//! Kinds of the family `filter`.

mod conversations;
mod split;
mod synthesize;

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] =
    &[&conversations::Conversations, &split::Split, &synthesize::Synthesize, &super::command::FILTER];
