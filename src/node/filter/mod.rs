//! Kinds of the family `filter`.

mod conversations;
mod split;

pub use conversations::{Ground, grounds};

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[&conversations::Conversations, &split::Split, &super::command::FILTER];
