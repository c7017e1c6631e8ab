//! The settings of `export.ollama`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::host;
use super::name::ModelName;
use crate::node::SettingProblem;
use crate::node::export::modelfile::parameter_problems;
use crate::node::settings::{accepted, canonical as checked, environment_name, literal_secret};

/// Settings of `export.ollama`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Settings {
    /// The name that users ask for, such as `expert:8b`; without a tag `latest` is meant. It is moved to the immutable
    /// tag, which is this name with 12 digits of the content's SHA-256.
    pub(super) name: String,
    /// The server, such as `http://ollama.example.org:11434`; by default what `OLLAMA_HOST` says, or this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    /// Where the token of a proxy before the server is, as `env:NAME`. It is sent to `host` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    /// A model on the server that an adapter is put on, such as `llama3.1:8b`, where `from` names a GGUF of an adapter
    /// alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<String>,
    /// The Go template in place of the one that is made from the model's chat template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) template: Option<String>,
    /// Ollama's parameters, such as `temperature`, `num_ctx` or `stop`.
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, Value>,
    /// How many older tags of this node stay on the server, newest first. What a rollback would go back to stays always.
    #[serde(default = "default_keep")]
    pub(super) keep: usize,
    #[serde(default)]
    #[schemars(skip)]
    pub(super) system: String,
}

const fn default_keep() -> usize {
    2
}

/// Returns the settings in canonical form, or everything that is wrong with them.
pub(super) fn canonical(settings: &Value) -> Result<Value, Vec<SettingProblem>> {
    let value = checked::<Settings>(settings)?;
    let mut problems = parameter_problems(&value["parameters"]);
    for key in ["name", "base"] {
        if let Some(name) = value[key].as_str()
            && name.parse::<ModelName>().is_err()
        {
            let help = "write it as `NAME:TAG` of letters, digits, `-`, `_` and `.`, such as `expert:8b`";
            let message = format!("`{name}` can be no model's name");
            problems.push(SettingProblem::new(&[key], "settings::wrong_value", message, help));
        }
    }
    if let Some(host) = value["host"].as_str()
        && let Err(error) = host::address(host)
    {
        let help = "write it as `http://HOST:11434`";
        problems.push(SettingProblem::new(&["host"], "settings::wrong_value", error.to_string(), help));
    }
    if value["token"].as_str().is_some_and(|token| environment_name(token).is_none()) {
        problems.push(literal_secret("env:NAME"));
    }
    accepted(value, problems)
}
