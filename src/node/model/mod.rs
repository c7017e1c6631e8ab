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

/// Reads what hubs and registries answer about a base model, and what the manifest names as one, for the fuzz target.
pub fn read_answers(bytes: &[u8]) {
    hub::read_answers(bytes);
    let [host, namespace, model, tag] = ["registry.ollama.ai", "library", "tiny", "1b"].map(str::to_owned);
    drop(ollama::model_layer(&origin::OllamaName { host, namespace, model, tag }, bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(text.parse::<origin::Origin>());
    }
}

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[&base::Base];

#[cfg(test)]
mod tests;
