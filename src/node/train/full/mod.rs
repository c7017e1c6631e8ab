//! `train.full`: all weights of the base model, trained on rows, on the CPU.
//!
//! They are trained in 32 bits, whatever the base has them in, and given as a model of their own, in 32 bits as well: with
//! less, most steps would be too small to change a number. What comes after reads it as it reads a base model.

use serde_json::Value;

use super::session::{self, Method};
use crate::node::{
    Content, Cost, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Rehearsal, Run, SettingProblem,
    Weight,
};

/// The kind `full`.
pub(super) struct Full;

static INFO: KindInfo = KindInfo {
    family: Family::Train,
    name: "full",
    version: 1,
    summary: "all weights of the base model trained on rows, by the recipe of `train.lora`: a model of its own",
    inputs: &[Content::Rows],
    outputs: &[
        OutputInfo { name: "weights", content: Content::Weights },
        OutputInfo { name: "metrics", content: Content::Files },
        OutputInfo { name: "tensorboard", content: Content::Files },
    ],
    fields: &[
        "loss",
        "steps",
        "rows",
        "trained-tokens",
        "parameters",
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

impl Kind for Full {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        session::schema(Method::Full)
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        session::canonical(Method::Full, settings)
    }

    /// It has none, and says so where the manifest names one: to train on the CPU all the same would take days.
    fn has_devices(&self) -> bool {
        true
    }

    fn outside_key(&self) -> &'static [&'static str] {
        session::OUTSIDE_KEY
    }

    fn cost(&self, run: &Run<'_>) -> Result<Option<Cost>, NodeError> {
        session::cost(run, Method::Full)
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Opens
    }

    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        session::stand_in(run, Method::Full, INFO.fields)
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        session::train(run, Method::Full)
    }
}

#[cfg(test)]
mod tests;
