//! `export.huggingface`: files in a repository of a Hugging Face hub, as one commit that never changes.
//!
//! What the repository has already, by digest, is not sent again, so a second run changes nothing and a broken one goes
//! on. Large files go to the hub's storage first; the branch moves last, by one commit: who reads it gets the old files or
//! the new ones, never a part. What the files were before is noted, so that `tunesmith rollback` can put them back, by
//! another commit: the hub has no safe way to make a branch forget one. The token goes to the hub alone, never to its
//! storage.

mod account;
mod deploy;
mod error;
mod hub;
mod look;
mod rollback;
mod settings;
mod upload;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::settings::Settings;
use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, Rehearsal, Run, SettingProblem, Weight,
};

/// The kind `huggingface`.
pub(super) struct HuggingFace;

static INFO: KindInfo = KindInfo {
    family: Family::Export,
    name: "huggingface",
    version: 1,
    summary: "files in a repository of Hugging Face's hub, as one commit that never changes",
    inputs: &[Content::Gguf, Content::Adapter, Content::Files, Content::Weights],
    outputs: &[],
    fields: &["repo", "revision", "commit", "url"],
    determinism: Determinism::Varies,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: true,
};

impl Kind for HuggingFace {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        settings::canonical(settings)
    }

    /// Where the hub is and how it is reached says nothing of what is put there.
    fn outside_key(&self) -> &'static [&'static str] {
        &["endpoint", "token"]
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        deploy::deploy(run, &run.settings()?)
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Follows
    }

    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        look::look(run, &run.settings()?)
    }

    fn roll_back(&self, run: &Run<'_>) -> Result<Vec<String>, NodeError> {
        rollback::roll_back(run, &run.settings()?)
    }
}

/// What a file of a repository is, as the hub tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Blob {
    /// In the hub's storage for large files, by its SHA-256.
    Large { sha256: String, size: u64 },
    /// In git, by git's own name of its content.
    Git { oid: String, size: u64 },
}

/// One commit, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Published {
    /// The hub.
    endpoint: String,
    repo: String,
    branch: String,
    /// The commit that the branch had.
    before: String,
    /// The commit that was made; nothing before the hub said so.
    commit: Option<String>,
    /// What the repository has of this node then, by path.
    files: BTreeMap<String, Blob>,
    /// The files that the commit changes.
    changes: BTreeMap<String, Change>,
}

/// One file before and after; nothing where there was none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Change {
    before: Option<Blob>,
    after: Option<Blob>,
}

/// Reads what hubs answer, for the fuzz target.
pub(super) fn read_answers(bytes: &[u8]) {
    account::read_account(bytes);
    hub::read_answers(bytes);
    upload::read_batch(bytes);
}

#[cfg(test)]
mod tests;
