//! `train.full`: all weights of the base model, trained on rows, on the CPU.
//!
//! They are trained in 32 bits, whatever the base has them in, and given as a model of their own, in 32 bits as well: with
//! less, most steps would be too small to change a number. What comes after reads it as it reads a base model.

use super::session::Method;
use super::training::Training;
use crate::node::{Content, Determinism, Family, KindInfo, OutputInfo, Weight};

/// The kind `full`.
pub(super) static FULL: Training = Training { method: Method::Full, info: &INFO };

static INFO: KindInfo = KindInfo {
    family: Family::Train,
    name: "full",
    // History: 1, the first; 2, where a template renders earlier answers otherwise, a row's last answer is trained.
    version: 2,
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

#[cfg(test)]
mod tests;
