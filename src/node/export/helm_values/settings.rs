//! The settings of `export.helm-values`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::yaml::{Scalar, ValuePath};
use crate::node::SettingProblem;
use crate::node::settings;

/// Settings of `export.helm-values`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Settings {
    /// The YAML file, such as `helm/app/values.yaml`.
    pub(super) file: String,
    /// What becomes of which value: paths as `helm --set` has them, such as `ollama.model` or `models[0].name`, with a
    /// text, a number or a truth value each. The values must be there already.
    pub(super) set: BTreeMap<String, Value>,
    /// The program that puts the values to work, with its arguments, such as `["helm", "upgrade", "app", "./helm/app"]`.
    /// It runs in the manifest's folder, in the environment of `tunesmith`; when it fails the file gets its former values
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) upgrade: Option<Vec<String>>,
    /// The message of a commit of this one file, such as `deploy {ollama.tag}`; without it nothing is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) commit: Option<String>,
}

/// Returns the settings in canonical form, or everything that is wrong with them.
pub(super) fn canonical(settings: &Value) -> Result<Value, Vec<SettingProblem>> {
    let value = settings::canonical::<Settings>(settings)?;
    let mut problems = Vec::new();
    if value["file"].as_str().is_none_or(str::is_empty) {
        problems.push(wrong(&["file"], "no file is named", "write it as `file = \"helm/app/values.yaml\"`"));
    }
    let set = value["set"].as_object();
    if set.is_none_or(serde_json::Map::is_empty) {
        let help = "write it as `set = { \"ollama.model\" = \"{NODE.tag}\" }`";
        problems.push(wrong(&["set"], "no value is named", help));
    }
    for (path, wanted) in set.into_iter().flatten() {
        if let Err(error) = path.parse::<ValuePath>() {
            let help = miette::Diagnostic::help(&error).map(|help| help.to_string()).unwrap_or_default();
            problems.push(wrong(&["set", path], error.to_string(), &help));
        }
        if scalar(wanted).is_none() {
            let message = format!("`{path}` is to become more than a single value");
            problems.push(wrong(&["set", path], message, "give a text, a number, `true` or `false`"));
        }
    }
    if value["upgrade"].as_array().is_some_and(|argv| argv.first().and_then(Value::as_str).is_none_or(str::is_empty)) {
        let help = "write it as `upgrade = [\"helm\", \"upgrade\", \"RELEASE\", \"CHART\"]`";
        problems.push(wrong(&["upgrade"], "no program is named", help));
    }
    if value["commit"].as_str().is_some_and(|message| message.trim().is_empty()) {
        let help = "write a message, or leave `commit` out";
        problems.push(wrong(&["commit"], "the commit's message is empty", help));
    }
    settings::accepted(value, problems)
}

/// Returns a setting as a value to write.
pub(super) fn scalar(value: &Value) -> Option<Scalar> {
    match value {
        Value::String(text) => Some(Scalar::Text(text.clone())),
        Value::Number(_) | Value::Bool(_) => Some(Scalar::Plain(value.to_string())),
        _ => None,
    }
}

fn wrong(path: &[&str], message: impl Into<String>, help: &str) -> SettingProblem {
    SettingProblem::new(path, "settings::wrong_value", message, help)
}
