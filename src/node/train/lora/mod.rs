//! `train.lora`: a LoRA adapter for the base model, trained on rows on the CPU.
//!
//! The same settings and inputs give the same bytes, whatever the number of threads, whether or not memory allows to
//! keep the activations, and whether the run went through or was resumed.

mod checkpoint;
mod error;
mod inputs;
mod plan;
mod session;
mod settings;

use serde::Deserialize as _;
use serde_json::Value;

use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run, SettingProblem, Weight,
};
use settings::Settings;

/// The kind `lora`.
pub(super) struct Lora;

static INFO: KindInfo = KindInfo {
    family: Family::Train,
    name: "lora",
    version: 1,
    summary: "a LoRA adapter trained on rows: assistant turns only, rendered by the model's own template",
    inputs: &[Content::Rows],
    outputs: &[
        OutputInfo { name: "adapter", content: Content::Adapter },
        OutputInfo { name: "metrics", content: Content::Files },
    ],
    fields: &["loss", "steps", "rows", "trained-tokens", "parameters"],
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
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = crate::node::settings::canonical::<Settings>(settings)?;
        let mut problems = Settings::deserialize(&value).map(|settings| settings.problems()).unwrap_or_default();
        problems.extend(settings::second_warmup(settings));
        crate::node::settings::accepted(value, problems)
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        session::train(run)
    }
}

#[cfg(test)]
mod tests;
