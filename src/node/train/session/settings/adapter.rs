//! The adapter's settings: its kind and shape, what it starts from, what is left out of its inputs, how its halves learn.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::adapter::Start;
use super::Check;
use crate::model::lora::TargetModules;

/// What is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(in super::super) struct AdapterSettings {
    /// Rank of the two matrices that are trained beside each projection: 8 to 64 is usual.
    #[schemars(range(min = 1, max = 1024))]
    pub(in super::super) rank: usize,
    /// The adapter counts `alpha / rank` times; with `rslora` `alpha / √rank` times.
    pub(in super::super) alpha: f64,
    /// The share of the adapter's inputs that become 0 in training, against learning by heart.
    #[schemars(range(min = 0, max = 0.9))]
    pub(in super::super) dropout: f64,
    /// The modules that are trained, as PEFT's `target_modules`: names such as `q_proj` or `self_attn.q_proj`, a regular
    /// expression for whole paths such as `model.layers.0.self_attn.q_proj`, or `all-linear`.
    pub(in super::super) targets: TargetModules,
    /// Modules that are not trained although `targets` means them: names, or a regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) exclude: Option<TargetModules>,
    /// The blocks that are trained, counted from 0: PEFT's `layers_to_transform`. All when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) layers: Option<Vec<usize>>,
    /// Ranks of their own for some modules, by regular expressions for the ends of paths.
    pub(in super::super) rank_pattern: BTreeMap<String, usize>,
    /// Alphas of their own for some modules, likewise.
    pub(in super::super) alpha_pattern: BTreeMap<String, f64>,
    /// Whether the adapter counts `alpha / √rank` times, so that large ranks learn as fast as small ones (rsLoRA).
    pub(in super::super) rslora: bool,
    /// Whether the length of each row of a weight is trained beside its direction (DoRA).
    pub(in super::super) dora: bool,
    /// What the adapter starts from.
    pub(in super::super) init: Start,
    /// Iterations towards the greatest singular values with `init = "pissa"`; 16 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000))]
    pub(in super::super) pissa_niter: Option<u32>,
    /// How much greater the learning rate of `B` is than that of `A` (LoRA+); 16 is usual with it.
    #[schemars(range(min = 1))]
    pub(in super::super) loraplus_ratio: f64,
    /// With a warm start: the share of the rows that were trained before which each epoch trains again.
    #[schemars(range(min = 0, max = 1))]
    pub(in super::super) replay: f64,
}

impl Default for AdapterSettings {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 16.0,
            dropout: 0.0,
            targets: TargetModules::AllLinear,
            exclude: None,
            layers: None,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            rslora: false,
            dora: false,
            init: Start::Kaiming,
            pissa_niter: None,
            loraplus_ratio: 1.0,
            replay: 0.1,
        }
    }
}

impl AdapterSettings {
    pub(super) fn checks(&self) -> Vec<Check> {
        vec![
            ("rank", (1..=1024).contains(&self.rank), "a whole number from 1 to 1024"),
            ("alpha", self.alpha.is_finite() && self.alpha > 0.0, "a number above 0, often the rank or twice the rank"),
            ("dropout", (0.0..=0.9).contains(&self.dropout), "a number from 0 to 0.9"),
            (
                "pissa-niter",
                self.pissa_niter.is_none_or(|niter| niter <= 1000),
                "a whole number from 0 to 1000, often 16",
            ),
            ("loraplus-ratio", (1.0..=1e6).contains(&self.loraplus_ratio), "a number from 1, often 16"),
            ("replay", (0.0..=1.0).contains(&self.replay), "a number from 0 to 1"),
        ]
    }
}
