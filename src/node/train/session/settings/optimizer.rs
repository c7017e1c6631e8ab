//! The optimizer's settings: AdamW, the learning rate and its schedule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Check;
use crate::model::optimizer::Schedule;

/// How a gradient changes what is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(in super::super) struct OptimizerSettings {
    /// The greatest learning rate.
    pub(in super::super) learning_rate: f64,
    /// How the learning rate goes on after the warm-up.
    pub(in super::super) schedule: Schedule,
    /// Steps of the warm-up; `warmup-ratio` of all steps when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) warmup_steps: Option<u64>,
    /// The share of all steps during which the learning rate rises.
    pub(in super::super) warmup_ratio: f64,
    /// AdamW's decoupled weight decay; biases and the weights of norms do not decay.
    pub(in super::super) weight_decay: f64,
    /// A step's gradient is shortened to this norm.
    pub(in super::super) max_grad_norm: f64,
    /// The share of each target's probability that is spread evenly over the vocabulary.
    pub(in super::super) label_smoothing: f64,
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        Self {
            learning_rate: 2e-4,
            schedule: Schedule::Linear,
            warmup_steps: None,
            warmup_ratio: 0.03,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            label_smoothing: 0.0,
        }
    }
}

impl OptimizerSettings {
    /// Returns the steps of the warm-up among `steps`.
    pub(in super::super) fn warmup(&self, steps: u64) -> u64 {
        self.warmup_steps.unwrap_or_else(|| (steps as f64 * self.warmup_ratio).ceil() as u64).min(steps)
    }

    /// Returns the learning rate of a step, counted from 0, of `steps`.
    pub(in super::super) fn rate(&self, step: u64, steps: u64) -> f64 {
        self.schedule.rate(self.learning_rate, step, steps, self.warmup(steps))
    }

    /// Returns whether the learning rate of a step depends on how many steps there are.
    pub(super) fn depends_on_length(&self) -> bool {
        let fixed_warmup = self.warmup_steps.is_some() || self.warmup_ratio == 0.0;
        self.schedule != Schedule::Constant || !fixed_warmup
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        vec![
            (
                "learning-rate",
                (0.0..1.0).contains(&self.learning_rate) && self.learning_rate > 0.0,
                "a number above 0, often 2e-4 for an adapter and 2e-5 for all weights",
            ),
            ("warmup-ratio", (0.0..=1.0).contains(&self.warmup_ratio), "a number from 0 to 1"),
            ("weight-decay", (0.0..1.0).contains(&self.weight_decay), "a number from 0 to below 1"),
            ("label-smoothing", (0.0..1.0).contains(&self.label_smoothing), "a number from 0 to below 1, often 0.1"),
            ("max-grad-norm", self.max_grad_norm > 0.0, "a number above 0, often 1"),
        ]
    }
}
