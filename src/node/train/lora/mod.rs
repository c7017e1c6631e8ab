//! `train.lora`: a LoRA adapter for the base model, trained on rows on the CPU.
//!
//! The same settings and inputs give the same bytes, whatever the number of threads, whether or not memory allows to
//! keep the activations, and whether the run went through or was resumed.

mod checkpoint;
mod clock;
mod cost;
mod error;
mod evaluation;
mod events;
mod inputs;
mod memory;
mod plan;
mod samples;
mod session;
mod settings;
mod warm;
mod watch;

use serde_json::Value;

use crate::model::ModelError;
use crate::model::config::LlamaConfig;
use crate::node::{
    Content, Cost, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run, SettingProblem, Weight,
};
use settings::{LoopSettings, Settings};

/// The kind `lora`.
pub(super) struct Lora;

/// History: 1, the first; 2, micro-batches are filled by the longest rows first and compute what rows begin with in
/// common once, event files, evaluation, kinds of adapters, the warm-up of transformers.
const VERSION: u32 = 2;

static INFO: KindInfo = KindInfo {
    family: Family::Train,
    name: "lora",
    version: VERSION,
    summary: "a LoRA adapter trained on rows: assistant turns only, rendered by the model's own template",
    inputs: &[Content::Rows],
    outputs: &[
        OutputInfo { name: "adapter", content: Content::Adapter },
        OutputInfo { name: "metrics", content: Content::Files },
        OutputInfo { name: "tensorboard", content: Content::Files },
    ],
    fields: &[
        "loss",
        "steps",
        "rows",
        "new-rows",
        "trained-tokens",
        "parameters",
        "warm-starts",
        "eval-loss",
        "eval-best-step",
        "eval-start-loss",
        "eval-base-loss",
    ],
    determinism: Determinism::ExactPerIsa,
    weight: Weight::Heavy,
    weights: true,
    model_settings: &["max-tokens"],
    pinned: false,
    effect: false,
};

impl Kind for Lora {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        Settings::schema()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        Settings::canonical(settings)
    }

    fn outside_key(&self) -> &'static [&'static str] {
        LoopSettings::OUTSIDE_KEY
    }

    fn cost(&self, run: &Run<'_>) -> Result<Option<Cost>, NodeError> {
        cost::cost(run)
    }

    fn warm_starts(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        session::train(run)
    }
}

/// Returns the parameters of the adapter for a base model.
///
/// # Errors
/// [`ModelError::Lora`] when the settings name what the base model does not have.
fn parameters(config: &LlamaConfig, settings: &Settings) -> Result<usize, ModelError> {
    Ok(settings.adapter.lora().parameters(config)?)
}

#[cfg(test)]
mod tests;
