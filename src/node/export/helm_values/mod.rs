//! `export.helm-values`: values in a YAML file, changed in place; then, where the manifest says so, `helm upgrade` and a
//! commit.
//!
//! Comments, order, quotes and anchors of the file stay, byte for byte. The file is replaced by a rename, so no reader
//! ever sees a part. What was replaced is noted before, step by step, so that a run that was broken off is gone on with,
//! and `tunesmith rollback` puts the former bytes back.

mod deploy;
mod error;
mod file;
mod git;
mod rollback;
mod settings;
mod upgrade;
mod yaml;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::settings::Settings;
use crate::node::{
    Content, Determinism, Family, FileInput, Kind, KindInfo, NodeError, Outcome, Rehearsal, Run, SettingProblem, Weight,
};

/// The kind `helm-values`.
pub(super) struct HelmValues;

static INFO: KindInfo = KindInfo {
    family: Family::Export,
    name: "helm-values",
    version: 1,
    summary: "values in a YAML file, changed in place; then `helm upgrade` and a commit where that is asked for",
    inputs: &[] as &[Content],
    outputs: &[],
    fields: &["changed", "commit"],
    determinism: Determinism::Varies,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: true,
};

impl Kind for HelmValues {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        settings::canonical(settings)
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        let path = PathBuf::from(settings["file"].as_str().unwrap_or_default());
        vec![FileInput { setting: "file", path, globs: None, optional: false }]
    }

    fn targets(&self) -> &'static [&'static str] {
        &["file"]
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
        rollback::roll_back(run)
    }
}

/// What one run changes, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Replaced {
    /// The file, from the manifest's folder.
    file: String,
    /// The values, in the order in which they were replaced.
    values: Vec<ReplacedValue>,
    /// The file's content before and after, by digest.
    before: crate::store::Digest,
    after: crate::store::Digest,
    /// What is run then.
    upgrade: Option<Vec<String>>,
    /// Whether it ran to a good end.
    upgraded: bool,
    /// The message of the commit that is made then.
    commit: Option<String>,
    /// Whether it is made.
    committed: bool,
}

/// One value: the bytes before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ReplacedValue {
    path: String,
    old: String,
    new: String,
}

/// Changes a text by `yaml::set` and tries to break it, for the fuzz target: the result is a text of the same nodes but
/// for the one value, and putting the value back gives the text of before.
///
/// # Panics
/// When it does not, which is a bug.
pub fn try_edit(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((first, text)) = text.split_once('\n') else { return };
    let (path, value) = first.split_once('=').unwrap_or((first, "x"));
    let Ok(path) = path.parse::<yaml::ValuePath>() else { return };
    assert_eq!(path.to_string().parse(), Ok(path.clone()));
    for value in [yaml::Scalar::Text(value.to_owned()), yaml::Scalar::Plain("17".into())] {
        let Ok(change) = yaml::set(text, &path, &value) else { return };
        assert_eq!(yaml::standing(&change.text, &path).map(|standing| standing.0), Ok(value.text().to_owned()));
        assert_eq!(yaml::set(&change.text, &path, &value).map(|again| again.text), Ok(change.text.clone()));
        let back = yaml::put_back(&change.text, &path, &change.new, &change.old);
        assert_eq!(back.map(|back| back.text), Ok(text.to_owned()));
    }
}
