//! `train.lora`: a LoRA adapter for the base model, trained on rows, on the CPU or a GPU.
//!
//! The same settings and inputs give the same bytes, whatever the number of threads, whether or not memory allows to
//! keep the activations, and whether the run went through or was resumed. On a GPU they are others than on the CPU, and
//! nothing of them is promised; a record says where it was trained.

mod adapter;
mod checkpoint;
mod clock;
mod cost;
mod error;
mod evaluation;
mod events;
mod inputs;
mod memory;
mod plan;
mod result;
mod samples;
mod session;
mod settings;
mod stand_in;
mod warm;
mod watch;

use serde_json::Value;

use crate::model::ModelError;
use crate::model::config::ModelConfig;
use crate::model::lora::{Adapter, Module};
use crate::model::transformer::Transformer;
use crate::node::{
    Content, Cost, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Rehearsal, Run, SettingProblem,
    Weight,
};
use settings::{LoopSettings, Settings};

/// The kind `lora`.
pub(super) struct Lora;

/// History: 1, the first; 2, kinds of adapters and their settings, the warm-up of transformers, micro-batches that are filled
/// by the longest rows first and compute what they begin with in common once, evaluation, event files; 3, products are
/// summed in short chains, whose rounding is finer.
const VERSION: u32 = 3;

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

    fn has_devices(&self) -> bool {
        true
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

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Opens
    }

    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        stand_in::stand_in(run)
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        session::train(run)
    }
}

/// Returns the parameters of the adapter for a base model.
///
/// # Errors
/// What the settings name and the base model does not have.
fn parameters(config: &ModelConfig, settings: &Settings) -> Result<usize, ModelError> {
    let modules = adapter::lora(&settings.adapter).modules(config)?;
    let numbers = |module: &Module| {
        let magnitudes = module.magnitude().map_or(0, |place| place.len());
        module.a().len() + module.b().len() + magnitudes
    };
    Ok(modules.iter().map(numbers).sum())
}

/// Makes the adapter that a training in full starts with.
fn new_adapter(config: &ModelConfig, settings: &Settings, model: &Transformer) -> Result<Adapter, ModelError> {
    let weight = |layer, projection| model.weight(layer, projection);
    Ok(Adapter::new(config, &adapter::lora(&settings.adapter), settings.training.seed, weight)?)
}

#[cfg(test)]
mod tests;
