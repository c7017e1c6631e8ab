//! Kinds of the family `filter`.

mod conversations;
mod decontaminate;
mod dedup;
mod mix;
mod quality;
mod rows;
mod scrub;
mod split;
mod synthesize;
mod text;

pub use conversations::{Converter, Ground, grounds};

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[
    &conversations::Conversations,
    &quality::Quality,
    &scrub::Scrub,
    &dedup::Dedup,
    &decontaminate::Decontaminate,
    &mix::Mix,
    &synthesize::Synthesize,
    &split::Split,
    &super::command::FILTER,
];
