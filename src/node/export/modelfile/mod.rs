//! `export.modelfile`: what Ollama needs beside a GGUF: template, system prompt, stops, parameters.

#[cfg(feature = "train")]
mod error;
#[cfg(feature = "train")]
mod go;
#[cfg(feature = "train")]
mod served;
#[cfg(feature = "train")]
mod write;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::settings::{accepted, canonical};
use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Rehearsal, Run, SettingProblem,
    Weight,
};

#[cfg(feature = "train")]
pub(super) use self::served::{NO_TEMPLATE, Served};

/// The kind `modelfile`.
pub(super) struct Modelfile;

/// Settings of `export.modelfile`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// The GGUF's file name beside the Modelfile, as `out` of the `gguf` node has it.
    #[serde(default = "default_gguf")]
    gguf: String,
    /// Ollama's parameters, such as `temperature`, `num_ctx` or `stop`; an array writes one line for each.
    #[serde(default)]
    parameters: BTreeMap<String, Value>,
    #[serde(default)]
    #[schemars(skip)]
    system: String,
}

fn default_gguf() -> String {
    "model.gguf".into()
}

/// The parameters that a Modelfile may set.
const PARAMETERS: &[&str] = &[
    "num_ctx",
    "repeat_last_n",
    "repeat_penalty",
    "temperature",
    "seed",
    "stop",
    "num_predict",
    "draft_num_predict",
    "top_k",
    "top_p",
    "min_p",
];

static INFO: KindInfo = KindInfo {
    family: Family::Export,
    name: "modelfile",
    version: 1,
    summary: "a Modelfile for Ollama: the GGUF with its chat template, system prompt, stops and parameters",
    inputs: &[Content::Gguf],
    outputs: &[OutputInfo { name: "modelfile", content: Content::Files }],
    fields: &["stops"],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &["system"],
    pinned: false,
    effect: false,
};

impl Kind for Modelfile {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = canonical::<Settings>(settings)?;
        let mut problems = parameter_problems(&value["parameters"]);
        if value["gguf"].as_str().is_none_or(|name| name.is_empty() || name.contains(['\n', '"'])) {
            let help = "write the name that `out` of the `gguf` node ends with";
            problems.push(SettingProblem::new(&["gguf"], "export::file_name", "this is no file name", help));
        }
        accepted(value, problems)
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Follows
    }

    #[cfg(feature = "train")]
    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        write::modelfile(run, &run.settings()?)
    }

    #[cfg(not(feature = "train"))]
    fn run(&self, _: &Run<'_>) -> Result<Outcome, NodeError> {
        Err(super::NoModelHalf { wanted: INFO.name }.into())
    }
}

/// Renders conversations by a chat template and makes a Go template of it, for the fuzz target. Where one can be made, it is
/// of the turns that the chat template writes.
#[cfg(feature = "train")]
pub fn try_template(source: &str) {
    use crate::model::template::ChatTemplate;

    let Ok(template) = ChatTemplate::new(source, Some("<s>".into()), Some("</s>".into())) else { return };
    if let Some(turns) = go::Turns::of(&template) {
        drop(turns.without_beginning("<s>").go());
    }
}

/// Returns what is wrong with the setting `parameters`.
pub(super) fn parameter_problems(parameters: &Value) -> Vec<SettingProblem> {
    let mut problems = Vec::new();
    for (name, parameter) in parameters.as_object().into_iter().flatten() {
        if let Some((message, help)) = bad_parameter(name, parameter) {
            problems.push(SettingProblem::new(&["parameters", name], "export::parameter", message, help));
        }
    }
    problems
}

fn bad_parameter(name: &str, value: &Value) -> Option<(String, String)> {
    if !PARAMETERS.contains(&name) {
        let near = PARAMETERS.iter().find(|known| strsim::jaro(known, name) > 0.75);
        let help =
            near.map_or(format!("parameters: {}", PARAMETERS.join(", ")), |known| format!("did you mean `{known}`?"));
        return Some((format!("Ollama has no parameter `{name}`"), help));
    }
    let single = |value: &Value| value.is_number() || value.is_string();
    let right = match value {
        Value::Array(items) => name == "stop" && items.iter().all(Value::is_string),
        value => single(value) && (name == "stop") == value.is_string(),
    };
    let form = if name == "stop" { "a text, or an array of texts" } else { "a number" };
    (!right).then(|| (format!("parameter `{name}` is {form}"), format!("write {form}")))
}

#[cfg(test)]
#[cfg(feature = "train")]
mod tests;
