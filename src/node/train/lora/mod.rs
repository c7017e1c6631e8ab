//! `train.lora`: a LoRA adapter for the base model, trained on rows, on the CPU or a GPU.

use serde_json::Value;

use super::session::{self, Method};
use crate::node::{
    Content, Cost, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Rehearsal, Run, SettingProblem,
    Weight,
};

/// The kind `lora`.
pub(super) struct Lora;

/// History: 1, the first; 2, kinds of adapters and their settings, the warm-up of transformers, micro-batches that are filled
/// by the longest rows first and compute what they begin with in common once, evaluation, event files; 3, products are
/// summed in short chains, whose rounding is finer; 4, keys far below the greatest score have no share.
const VERSION: u32 = 4;

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
        session::schema(Method::Lora)
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        session::canonical(Method::Lora, settings)
    }

    fn has_devices(&self) -> bool {
        true
    }

    fn outside_key(&self) -> &'static [&'static str] {
        session::OUTSIDE_KEY
    }

    fn cost(&self, run: &Run<'_>) -> Result<Option<Cost>, NodeError> {
        session::cost(run, Method::Lora)
    }

    fn warm_starts(&self) -> bool {
        true
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Opens
    }

    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        session::stand_in(run, Method::Lora, INFO.fields)
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        session::train(run, Method::Lora)
    }
}

#[cfg(test)]
pub(super) mod tests;
