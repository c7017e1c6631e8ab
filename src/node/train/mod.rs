//! Kinds of the family `train`. Without the feature `train` there are none.

#[cfg(feature = "train")]
mod full;
#[cfg(feature = "train")]
mod lora;
#[cfg(feature = "train")]
mod session;
#[cfg(feature = "train")]
#[cfg(test)]
mod tests;
#[cfg(feature = "train")]
mod training;

use super::Kind;

/// The kinds of this family.
#[cfg(feature = "train")]
pub(super) const KINDS: &[&dyn Kind] = &[&lora::LORA, &full::FULL];

/// The kinds of this family.
#[cfg(not(feature = "train"))]
pub(super) const KINDS: &[&dyn Kind] = &[];
