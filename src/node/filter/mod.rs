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

use super::{Kind, KindInfo};

/// Returns whether an output of a kind has what the kind leaves out, each record for a reason that is counted.
pub fn is_dropped(info: &KindInfo, output: &str) -> bool {
    output == rows::DROPPED && info.outputs.iter().any(|known| known.name == output)
}

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
