//! `eval.stops`: the share of answers that the model ends by itself.
//!
//! A model that was not taught to end, or whose template is another than the one it was trained with, talks on until it is
//! cut off. Questions come from a file of questions, and from held-out rows: all before their last answer.

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
    Content, Determinism, Family, FileInput, Kind, KindInfo, NodeError, Outcome, OutputInfo, Rehearsal, Run,
    SettingProblem, Weight,
};

/// The kind `stops`.
pub(super) struct Stops;

/// Settings of `eval.stops`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// A TOML file of questions, as `eval.compare` has it; what answers must hold does not count here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    questions: Option<PathBuf>,
    /// So many rows of `from` are asked at the most.
    #[serde(default = "default_rows")]
    rows: u64,
    /// An answer of more tokens did not end.
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
}

const fn default_rows() -> u64 {
    50
}

const fn default_answer() -> u32 {
    512
}

static INFO: KindInfo = KindInfo {
    family: Family::Eval,
    name: "stops",
    version: 1,
    summary: "the share of answers that the model ends by itself, with its 95 % confidence interval",
    inputs: &[Content::Gguf, Content::Rows],
    outputs: &[OutputInfo { name: "answers", content: Content::Files }],
    fields: &["ends", "ends-low", "ends-high", "answers"],
    determinism: Determinism::ExactPerIsa,
    weight: Weight::Heavy,
    weights: false,
    model_settings: &["system"],
    pinned: false,
    effect: false,
};

impl Kind for Stops {
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
        report::ask(run, &run.settings()?)
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Follows
    }

    /// Asks nothing: questions, tokenizer and template are read.
    #[cfg(feature = "llama")]
    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        report::look(run, &run.settings()?)
    }

    #[cfg(not(feature = "llama"))]
    fn run(&self, _: &Run<'_>) -> Result<Outcome, NodeError> {
        Err(crate::llama::Absent { wanted: INFO.name }.into())
    }
}

#[cfg(test)]
#[cfg(feature = "llama")]
mod tests;
