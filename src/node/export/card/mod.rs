//! Model cards: the hub's metadata, and what a model was made of. One says only what is known: no times, no machine.

mod settings;
#[cfg(feature = "train")]
mod text;

pub(super) use self::settings::CardSettings;
#[cfg(feature = "train")]
pub(super) use self::text::{Facts, adapter_config, base, card, lora, table_of};

/// The name of a card in a repository.
pub(super) const README: &str = "README.md";
