//! Kinds of the family `eval`.

mod asking;
#[cfg(feature = "llama")]
mod candidate;
mod compare;
mod condition;
mod error;
#[cfg(feature = "llama")]
mod files;
mod gate;
#[cfg(feature = "llama")]
mod interval;
mod ladder;
mod parity;
mod stops;

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] =
    &[&compare::Compare, &ladder::Ladder, &parity::Parity, &stops::Stops, &gate::Gate];
