//! Kinds of the family `train`. Without the feature `train` there are none.

#[cfg(feature = "train")]
mod full;
#[cfg(feature = "train")]
mod lora;
#[cfg(feature = "train")]
mod session;

use super::Kind;

/// The kinds of this family.
#[cfg(feature = "train")]
pub(super) const KINDS: &[&dyn Kind] = &[&lora::Lora, &full::Full];

/// The kinds of this family.
#[cfg(not(feature = "train"))]
pub(super) const KINDS: &[&dyn Kind] = &[];
