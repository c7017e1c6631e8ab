//! The settings of a card. All kinds that write one read them as one group.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::SettingProblem;

/// What a card says.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct CardSettings {
    /// The card's title.
    #[serde(default = "default_title")]
    pub(crate) title: String,

    /// What the card says below its title, in Markdown: what the model is for, and what it is not for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,

    /// The licence by its name on the hub, such as `apache-2.0`. That of the base must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) license: Option<String>,

    /// Languages by their codes, such as `en`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) language: Vec<String>,

    /// Tags on the hub.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,

    /// The base's name on the hub; that of `[model]`, where it is from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base_model: Option<String>,

    /// What the card says of the data and the training, such as `{ "Conversations" = "{expert.rows}" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) training: BTreeMap<String, String>,

    /// What the card says of evaluations, such as `{ "Held-out loss" = "{expert.eval-loss}" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) evaluation: BTreeMap<String, String>,
}

fn default_title() -> String {
    "Fine-tuned model".into()
}

impl CardSettings {
    /// Returns settings as written with `base-model` in the place of `base`, which is where `[model]` is from: of that only
    /// a name on the hub is said, the rest is this machine's matter.
    pub(crate) fn with_base(written: &Value) -> Value {
        let mut written = written.clone();
        if let Some(settings) = written.as_object_mut()
            && let Some(Value::String(base)) = settings.remove("base")
            && let Some(base) = base.strip_prefix("hf:").and_then(|base| base.split('@').next())
        {
            settings.entry("base-model").or_insert(base.into());
        }
        written
    }

    /// Returns what is wrong with canonical settings beyond their form.
    pub(crate) fn problems(settings: &Value) -> Vec<SettingProblem> {
        let is_line = |text: &str| !text.trim().is_empty() && !text.contains(['\n', '\r']);
        let keys = ["title", "license", "base-model"].into_iter();
        let wrong = keys.filter(|key| settings[*key].as_str().is_some_and(|text| !is_line(text)));
        let problem = |key: &str| {
            let message = format!("`{key}` is no line of text");
            SettingProblem::new(&[key], "settings::wrong_value", message, "write one line, or leave it out")
        };
        wrong.map(problem).collect()
    }
}
