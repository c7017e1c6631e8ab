//! `eval.parity`: whether the model is asked, once it is served, by the very tokens that it was trained with.
//!
//! Each row is rendered and tokenised twice: by training's renderer from the base model's own files, and as llama.cpp's
//! server does it from the GGUF alone: its chat template, its vocabulary, its settings for the token that begins a text.
//! The template's text is rendered by the same engine on both sides; llama.cpp's is compared by the tokens it makes of it.

#[cfg(feature = "llama")]
mod error;
#[cfg(feature = "llama")]
mod report;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::settings::{accepted, canonical};
use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Rehearsal, Run, SettingProblem,
    Weight,
};

/// The kind `parity`.
pub(super) struct Parity;

/// Settings of `eval.parity`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// So many rows of `from` are compared at the most.
    #[serde(default = "default_rows")]
    #[schemars(range(min = 1))]
    rows: u64,
}

const fn default_rows() -> u64 {
    1000
}

/// Rows that a rehearsal compares.
#[cfg(feature = "llama")]
const REHEARSED_ROWS: u64 = 8;

static INFO: KindInfo = KindInfo {
    family: Family::Eval,
    name: "parity",
    version: 1,
    summary: "rows as training reads them beside what llama.cpp makes of them from the GGUF, token by token",
    inputs: &[Content::Rows, Content::Gguf],
    outputs: &[OutputInfo { name: "differences", content: Content::Files }],
    fields: &["equal", "different", "rows"],
    determinism: Determinism::Exact,
    weight: Weight::Heavy,
    weights: true,
    model_settings: &[],
    pinned: false,
    effect: false,
};

impl Kind for Parity {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = canonical::<Settings>(settings)?;
        let mut problems = Vec::new();
        if value["rows"] == 0 {
            let message = "no rows are always equal";
            problems.push(SettingProblem::new(&["rows"], "eval::bad_setting", message, "1000 is the default"));
        }
        accepted(value, problems)
    }

    fn tools(&self, _: &Value) -> Vec<(String, String)> {
        vec![("llama.cpp".into(), crate::llama::VERSION.into())]
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Follows
    }

    #[cfg(feature = "llama")]
    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        report::compare(run, &run.settings()?)
    }

    /// How many rows may differ is for a gate to say; where all do, no model is served as it was trained.
    #[cfg(feature = "llama")]
    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let outcome = report::compare(run, &Settings { rows: settings.rows.min(REHEARSED_ROWS) })?;
        if outcome.fields["equal"] == 0.0 {
            return Err(
                error::ParityError::AllDiffer { rows: outcome.fields["rows"].as_u64().unwrap_or_default() }.into()
            );
        }
        Ok(outcome)
    }

    #[cfg(not(feature = "llama"))]
    fn run(&self, _: &Run<'_>) -> Result<Outcome, NodeError> {
        Err(crate::llama::Absent { wanted: INFO.name }.into())
    }
}

#[cfg(test)]
#[cfg(feature = "llama")]
mod tests;
