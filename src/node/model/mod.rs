//! Kinds of the family `model`.

mod base;
mod error;
mod fetch;
mod hub;
mod inspect;
mod ollama;
mod origin;
mod pypi;
mod registry;
mod settings;
mod verify;

use super::Kind;

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[&base::Base];

#[cfg(test)]
mod tests;
