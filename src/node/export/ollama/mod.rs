//! `export.ollama`: a model on an Ollama server, through its HTTP API: an immutable tag that is named by its content, and
//! the alias that users ask for, which is moved to it.
//!
//! What the server has already is not sent again, so a second run changes nothing and a broken one goes on. The alias
//! moves last, by one request: users get the old model or the new one. What it named before is noted, and kept on the
//! server under a tag, so that `tunesmith rollback` can move it back. Only tags that this node made are ever deleted.

mod api;
mod deploy;
mod error;
mod host;
mod local;
mod name;
mod recipe;
mod rollback;
mod settings;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::settings::Settings;
use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, Rehearsal, Run, SettingProblem, Weight,
};

pub use self::host::address;

/// The kind `ollama`.
pub(super) struct ExportOllama;

static INFO: KindInfo = KindInfo {
    family: Family::Export,
    name: "ollama",
    version: 1,
    summary: "a model on an Ollama server: an immutable tag named by its content, and an alias that moves to it",
    inputs: &[Content::Gguf],
    outputs: &[],
    fields: &["tag", "alias", "digest"],
    determinism: Determinism::Varies,
    weight: Weight::Light,
    weights: false,
    model_settings: &["system"],
    pinned: false,
    effect: true,
};

impl Kind for ExportOllama {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        settings::canonical(settings)
    }

    /// Where the server is and how it is reached says nothing of what is put there.
    fn outside_key(&self) -> &'static [&'static str] {
        &["host", "token", "keep"]
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let recipe = recipe::Recipe::of(run, &settings)?;
        deploy::deploy(run, &settings, &recipe)
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Follows
    }

    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        deploy::look(run, &run.settings()?)
    }

    fn roll_back(&self, run: &Run<'_>) -> Result<Vec<String>, NodeError> {
        rollback::roll_back(run, &run.settings()?)
    }
}

/// One move of the alias, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Moved {
    /// The server.
    server: String,
    alias: String,
    /// What it named; nothing where it was new.
    before: Option<Tag>,
    /// What it names now.
    after: Tag,
}

/// A tag on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Tag {
    /// Such as `expert:8b-0123456789ab`.
    name: String,
    /// The digest of its manifest, as the server has it.
    digest: String,
}

/// Reads what servers of Ollama answer, for the fuzz target. A name that is one is written as it was read.
pub(super) fn read_answers(bytes: &[u8]) {
    api::read_words(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop(address(text));
    if let Ok(name) = text.parse::<name::ModelName>() {
        assert_eq!(name.to_string().parse().as_ref(), Ok(&name));
    }
}

#[cfg(test)]
mod tests;
