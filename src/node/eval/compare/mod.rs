//! `eval.compare`: the tuned model beside the base, on questions and on held-out rows.

#[cfg(feature = "llama")]
mod error;
#[cfg(feature = "llama")]
mod report;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::asking;
use crate::node::settings::{accepted, canonical};
use crate::node::{
    Content, Determinism, Family, FileInput, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run, SettingProblem,
    Weight,
};

/// The kind `compare`.
pub(super) struct Compare;

/// Settings of `eval.compare`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// A TOML file of questions: `[[question]]` with `ask`, and `expect`, `any`, `forbid` or `regex`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    questions: Option<PathBuf>,
    /// The longest answer in tokens.
    #[serde(default = "default_answer")]
    #[schemars(range(min = 1))]
    max_answer_tokens: u32,
    /// 0 takes the likeliest token each time; more makes unlikely ones likelier.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 10.0))]
    temperature: f32,
    /// What chance starts from, where the temperature is not 0.
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    #[schemars(skip)]
    system: String,
    #[serde(default = "default_length")]
    #[schemars(skip)]
    max_tokens: u32,
}

const fn default_answer() -> u32 {
    128
}

const fn default_length() -> u32 {
    2048
}

static INFO: KindInfo = KindInfo {
    family: Family::Eval,
    name: "compare",
    version: 1,
    summary: "tuned against base through llama.cpp: the share of right answers, and the loss on held-out rows",
    inputs: &[Content::Gguf, Content::Rows],
    outputs: &[OutputInfo { name: "answers", content: Content::Files }],
    fields: &["pass", "base-pass", "loss", "base-loss", "questions", "ends"],
    determinism: Determinism::ExactPerIsa,
    weight: Weight::Heavy,
    weights: true,
    model_settings: &["max-tokens", "system"],
    pinned: false,
    effect: false,
};

impl Kind for Compare {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = canonical::<Settings>(settings)?;
        let problems = asking::problems(&value, default_answer());
        accepted(value, problems)
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        asking::files(settings)
    }

    fn tools(&self, _: &Value) -> Vec<(String, String)> {
        vec![("llama.cpp".into(), crate::llama::VERSION.into())]
    }

    #[cfg(feature = "llama")]
    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        report::compare(run, &run.settings()?)
    }

    #[cfg(not(feature = "llama"))]
    fn run(&self, _: &Run<'_>) -> Result<Outcome, NodeError> {
        Err(crate::llama::Absent { wanted: INFO.name }.into())
    }
}

#[cfg(test)]
#[cfg(feature = "llama")]
mod tests;
