//! `export.safetensors`: the adapter merged into the base model, or a model of its own, as the folder that transformers loads: weights,
//! configuration, tokenizer, and a model card.

#[cfg(feature = "llama")]
mod error;
#[cfg(feature = "llama")]
mod write;

use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::card::CardSettings;
use crate::node::groups::{self, Group};
use crate::node::settings::{accepted, out_of_range};
use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Rehearsal, Run, SettingProblem,
    Weight,
};

/// The kind `safetensors`.
pub(super) struct ExportSafetensors;

/// Settings of `export.safetensors` beside those of the card.
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
        let parts = [schema_for!(Settings), schema_for!(CardSettings)];
        groups::schema("Settings of `export.safetensors`.", parts).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let groups = [Group::of::<Settings>(), Group::of::<CardSettings>()];
        let value = groups::canonical(&CardSettings::with_base(settings), &groups)?;
        let mut problems = Vec::new();
        if value["shard-bytes"].as_u64().is_some_and(|bytes| bytes < 1_000_000) {
            problems.push(out_of_range(&["shard-bytes"], "1000000 at least; 5000000000 is usual"));
        }
        problems.extend(CardSettings::problems(&value));
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
        write::export(run)
    }

    #[cfg(not(feature = "llama"))]
    fn run(&self, _: &Run<'_>) -> Result<Outcome, NodeError> {
        Err(crate::llama::Absent { wanted: INFO.name }.into())
    }
}

#[cfg(test)]
#[cfg(feature = "llama")]
mod tests;
