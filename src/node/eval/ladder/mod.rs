//! `eval.ladder`: what each step from the base to the shipped file costs, on held-out rows.
//!
//! ```text
//! base ─→ adapter ─→ merged ─→ F16 ─→ Q4_K_M, Q8_0, …
//!   training   merge and    converter,   quantiser
//!              rounding     llama.cpp
//! ```
//!
//! The first three are computed by the forward pass that trained, the others by llama.cpp. Each is given the same tokens,
//! and is held against the adapter: what was trained is what should be served.

#[cfg(feature = "llama")]
mod error;
#[cfg(feature = "llama")]
mod measure;
#[cfg(feature = "llama")]
mod report;
#[cfg(feature = "llama")]
mod rungs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::settings::{accepted, canonical};
use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Rehearsal, Run, SettingProblem,
    Weight,
};

/// The kind `ladder`.
pub(super) struct Ladder;

/// Settings of `eval.ladder`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// Rows are taken until they have so many trained tokens. Each takes 4 bytes for every token of the vocabulary on the
    /// disk while the ladder is measured: 2 GiB for 4096 and a vocabulary of 128,256.
    #[serde(default = "default_tokens")]
    #[schemars(range(min = 1))]
    trained_tokens: u64,
    #[serde(default = "default_length")]
    #[schemars(skip)]
    max_tokens: u32,
}

const fn default_tokens() -> u64 {
    4096
}

const fn default_length() -> u32 {
    2048
}

static INFO: KindInfo = KindInfo {
    family: Family::Eval,
    name: "ladder",
    version: 1,
    summary: "held-out loss and KL divergence of base, adapter, merged model and each GGUF: which step lost most",
    inputs: &[Content::Rows, Content::Adapter, Content::Weights, Content::Gguf],
    outputs: &[OutputInfo { name: "rungs", content: Content::Files }],
    fields: &["worst", "worst-loss", "rows", "trained-tokens", "*.loss", "*.kl", "*.same-top"],
    determinism: Determinism::ExactPerIsa,
    weight: Weight::Heavy,
    weights: true,
    model_settings: &["max-tokens"],
    pinned: false,
    effect: false,
};

impl Kind for Ladder {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = canonical::<Settings>(settings)?;
        let mut problems = Vec::new();
        if value["trained-tokens"] == 0 {
            let message = "a loss over no tokens is none";
            problems.push(SettingProblem::new(
                &["trained-tokens"],
                "eval::bad_setting",
                message,
                "4096 is the default",
            ));
        }
        accepted(value, problems)
    }

    /// Two GGUFs of one type are told apart by their nodes.
    fn reads_input_names(&self) -> bool {
        true
    }

    fn tools(&self, _: &Value) -> Vec<(String, String)> {
        vec![("llama.cpp".into(), crate::llama::VERSION.into())]
    }

    #[cfg(feature = "llama")]
    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        report::climb(run, &run.settings()?)
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Follows
    }

    /// Measures nothing: rows, tokenizer and files are read, and each rung is told with zeros.
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
