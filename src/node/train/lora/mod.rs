//! `train.lora`: a LoRA adapter for the base model, trained on rows, on the CPU or a GPU.

use super::session::Method;
use super::training::Training;
use crate::node::{Content, Determinism, Family, KindInfo, OutputInfo, Weight};

/// The kind `lora`.
pub(super) static LORA: Training = Training { method: Method::Lora, info: &INFO };

/// History: 1, the first; 2, kinds of adapters and their settings, the warm-up of transformers, micro-batches that are filled
/// by the longest rows first and compute what they begin with in common once, evaluation, event files; 3, products are
/// summed in short chains, whose rounding is finer; 4, keys far below the greatest score have no share; 5, where a
/// template renders earlier answers otherwise, a row's last answer is trained.
const VERSION: u32 = 5;

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

#[cfg(test)]
pub(super) mod tests;
