//! `export.safetensors`: the adapter merged into the base model, or a model of its own, as the folder that transformers loads: weights,
//! configuration, tokenizer, and a model card.

#[cfg(feature = "llama")]
mod card;
#[cfg(feature = "llama")]
mod error;
#[cfg(feature = "llama")]
mod write;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::settings::{accepted, canonical, out_of_range};
use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Rehearsal, Run, SettingProblem,
    Weight,
};

/// The kind `safetensors`.
pub(super) struct ExportSafetensors;

/// Settings of `export.safetensors`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// How all weights are stored; as the base has each, unless it is set. Those of a quantised GGUF are decoded to 16
    /// bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dtype: Option<Dtype>,

    /// The most bytes of weights in one file.
    #[serde(default = "default_shard_bytes")]
    #[schemars(range(min = 1_000_000))]
    shard_bytes: u64,

    /// The card's title.
    #[serde(default = "default_title")]
    title: String,

    /// What the card says below its title, in Markdown: what the model is for, and what it is not for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,

    /// The licence by its name on the hub, such as `apache-2.0`. That of the base must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    license: Option<String>,

    /// Languages by their codes, such as `en`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    language: Vec<String>,

    /// Tags on the hub.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,

    /// The base's name on the hub; that of `[model]`, where it is from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_model: Option<String>,

    /// What the card says of the data and the training, such as `{ "Conversations" = "{expert.rows}" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    training: BTreeMap<String, String>,

    /// What the card says of evaluations, such as `{ "Held-out loss" = "{expert.eval-loss}" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    evaluation: BTreeMap<String, String>,

    /// Where `[model]` is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    base: Option<String>,
}

/// A type of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Dtype {
    /// 32 bits.
    F32,
    /// 16 bits, half precision.
    F16,
    /// 16 bits, bfloat16.
    Bf16,
}

fn default_shard_bytes() -> u64 {
    5_000_000_000
}

fn default_title() -> String {
    "Fine-tuned model".into()
}

static INFO: KindInfo = KindInfo {
    family: Family::Export,
    name: "safetensors",
    version: 1,
    summary: "the adapter merged into the base model, or a model that was trained as a whole: the folder that transformers \
              loads, with a model card",
    inputs: &[Content::Adapter, Content::Weights],
    outputs: &[OutputInfo { name: "model", content: Content::Files }],
    fields: &["size", "files", "tensors", "parameters"],
    determinism: Determinism::ExactPerIsa,
    weight: Weight::Heavy,
    weights: true,
    model_settings: &["base"],
    pinned: false,
    effect: false,
};

impl Kind for ExportSafetensors {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let mut value = canonical::<Settings>(settings)?;
        // Of where the base is from, only a name on the hub is said: the rest is this machine's matter.
        let base = value["base"].as_str().and_then(|base| base.strip_prefix("hf:"));
        let base = base.and_then(|base| base.split('@').next()).map(str::to_owned);
        if let Some(settings) = value.as_object_mut() {
            settings.remove("base");
            if let Some(base) = base {
                settings.entry("base-model").or_insert(base.into());
            }
        }
        let mut problems = Vec::new();
        if value["shard-bytes"].as_u64().is_some_and(|bytes| bytes < 1_000_000) {
            problems.push(out_of_range(&["shard-bytes"], "1000000 at least; 5000000000 is usual"));
        }
        for key in ["title", "license", "base-model"] {
            let text = value[key].as_str();
            if text.is_some_and(|text| text.trim().is_empty() || text.contains(['\n', '\r'])) {
                let help = "write one line, or leave it out";
                let message = format!("`{key}` is no line of text");
                problems.push(SettingProblem::new(&[key], "settings::wrong_value", message, help));
            }
        }
        accepted(value, problems)
    }

    /// llama.cpp decodes the blocks of a quantised base.
    fn tools(&self, _: &Value) -> Vec<(String, String)> {
        vec![("llama.cpp".into(), crate::llama::VERSION.into())]
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Follows
    }

    #[cfg(feature = "llama")]
    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        write::export(run, &run.settings()?)
    }

    #[cfg(not(feature = "llama"))]
    fn run(&self, _: &Run<'_>) -> Result<Outcome, NodeError> {
        Err(crate::llama::Absent { wanted: INFO.name }.into())
    }
}

#[cfg(test)]
#[cfg(feature = "llama")]
mod tests;
