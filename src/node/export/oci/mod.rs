//! `export.oci`: files as an artifact in an OCI registry (distribution and image specifications 1.1): an immutable tag that
//! is named by its digest, and the tag that users ask for, which is moved to it.
//!
//! What the registry has already is not sent again, so a second run changes nothing. The alias moves last, by one request.
//! What it named before is noted, and kept in the registry under a tag, so that `tunesmith rollback` can move it back.
//!
//! The protocol is spoken here, on [`crate::net`], whose proxies, certificates, limits and rules for tokens and redirects
//! hold for it as for all else; the crates that speak it bring an HTTP client and a runtime of their own.

mod auth;
mod blob;
mod deploy;
mod error;
mod reference;
mod registry;
mod rollback;
mod settings;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::settings::Settings;
use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, Rehearsal, Run, SettingProblem, Weight,
};

/// The kind `oci`.
pub(super) struct ExportOci;

static INFO: KindInfo = KindInfo {
    family: Family::Export,
    name: "oci",
    version: 1,
    summary: "files as an artifact in an OCI registry: an immutable tag named by its digest, and an alias that moves to it",
    inputs: &[Content::Gguf, Content::Adapter, Content::Files, Content::Weights],
    outputs: &[],
    fields: &["tag", "alias", "digest"],
    determinism: Determinism::Varies,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: true,
};

impl Kind for ExportOci {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        settings::canonical(settings)
    }

    /// How the registry is reached says nothing of what is put there.
    fn outside_key(&self) -> &'static [&'static str] {
        &["username", "password"]
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        deploy::deploy(run, &run.settings()?)
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
    /// Registry and repository, such as `ghcr.io/team/expert`.
    repository: String,
    alias: String,
    /// What it named; nothing where it was new.
    before: Option<Tag>,
    /// What it names now.
    after: Tag,
}

/// A tag in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Tag {
    name: String,
    /// The digest of its manifest, `sha256:…`.
    digest: String,
}

/// Reads what registries answer, for the fuzz target. A reference that is one is written as it was read.
pub(super) fn read_answers(bytes: &[u8]) {
    registry::read_token(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    drop(auth::Challenge::parse(text));
    blob::read_upload(text);
    if let Ok(reference) = text.parse::<reference::Reference>() {
        assert_eq!(reference.to_string().parse().as_ref(), Ok(&reference));
        assert!(reference.tag_with("0123456789ab").len() <= 128);
        drop(reference.registry());
    }
}

#[cfg(test)]
mod tests;
