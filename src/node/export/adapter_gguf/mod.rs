//! `export.adapter-gguf`: an adapter as a GGUF of its own, which llama.cpp and Ollama put beside a base that stays as it is.

#[cfg(feature = "llama")]
mod write;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::settings::canonical;
use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Rehearsal, Run, SettingProblem,
    Weight,
};

/// The kind `adapter-gguf`.
pub(super) struct AdapterGguf;

/// Settings of `export.adapter-gguf`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// How its numbers are stored.
    #[serde(default)]
    dtype: Dtype,
}

/// A type of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Dtype {
    /// 32 bits, as it was trained.
    #[default]
    F32,
    /// 16 bits, half precision.
    F16,
    /// 16 bits, bfloat16.
    Bf16,
}

static INFO: KindInfo = KindInfo {
    family: Family::Export,
    name: "adapter-gguf",
    version: 1,
    summary: "the adapter as a GGUF of its own, for llama.cpp and Ollama beside a base that stays as it is",
    inputs: &[Content::Adapter],
    outputs: &[OutputInfo { name: "gguf", content: Content::Gguf }],
    fields: &["size", "tensors", "parameters"],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: true,
    model_settings: &[],
    pinned: false,
    effect: false,
};

impl Kind for AdapterGguf {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        canonical::<Settings>(settings)
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
