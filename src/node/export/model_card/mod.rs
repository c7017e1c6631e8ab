//! `export.model-card`: the card of a repository that holds GGUFs or an adapter alone. `export.safetensors` writes its own.

#[cfg(feature = "train")]
mod write;

use schemars::schema_for;
use serde_json::Value;

use super::card::CardSettings;
use crate::node::groups::{self, Group};
use crate::node::settings::accepted;
use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Rehearsal, Run, SettingProblem,
    Weight,
};

/// The kind `model-card`.
pub(super) struct ModelCard;

static INFO: KindInfo = KindInfo {
    family: Family::Export,
    name: "model-card",
    version: 1,
    summary: "the model card of a repository with GGUFs or an adapter: data, settings, evaluations, licence, and each file's \
              SHA-256",
    inputs: &[Content::Gguf, Content::Adapter, Content::Weights],
    outputs: &[OutputInfo { name: "card", content: Content::Files }],
    fields: &[],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &["base"],
    pinned: false,
    effect: false,
};

impl Kind for ModelCard {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        groups::schema("Settings of `export.model-card`.", [schema_for!(CardSettings)]).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = groups::canonical(&CardSettings::with_base(settings), &[Group::of::<CardSettings>()])?;
        let problems = CardSettings::problems(&value);
        accepted(value, problems)
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Follows
    }

    #[cfg(feature = "train")]
    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        write::write(run, &run.settings()?)
    }

    #[cfg(not(feature = "train"))]
    fn run(&self, _: &Run<'_>) -> Result<Outcome, NodeError> {
        Err(super::NoModelHalf { wanted: INFO.name }.into())
    }
}

#[cfg(test)]
#[cfg(feature = "train")]
mod tests;
