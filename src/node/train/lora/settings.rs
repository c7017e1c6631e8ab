//! Settings of `train.lora`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::adapter::Start;
use crate::model::lora::TargetModules;
use crate::model::optimizer::Schedule;
use crate::model::rows::OverLength;
use crate::node::SettingProblem;

/// Settings of `train.lora`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Settings {
    /// Rank of the two matrices that are trained beside each projection: 8 to 64 is usual.
    #[schemars(range(min = 1, max = 1024))]
    pub(super) rank: usize,
    /// The adapter counts `alpha / rank` times; with `rslora` `alpha / √rank` times.
    pub(super) alpha: f64,
    /// The share of the adapter's inputs that become 0 in training, against learning by heart.
    #[schemars(range(min = 0, max = 0.9))]
    pub(super) dropout: f64,
    /// The modules that are trained, as PEFT's `target_modules`: names such as `q_proj` or `self_attn.q_proj`, a regular
    /// expression for whole paths such as `model.layers.0.self_attn.q_proj`, or `all-linear`.
    pub(super) targets: TargetModules,
    /// Modules that are not trained although `targets` means them: names, or a regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exclude: Option<TargetModules>,
    /// The blocks that are trained, counted from 0: PEFT's `layers_to_transform`. All when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) layers: Option<Vec<usize>>,
    /// Ranks of their own for some modules, by regular expressions for the ends of paths.
    pub(super) rank_pattern: BTreeMap<String, usize>,
    /// Alphas of their own for some modules, likewise.
    pub(super) alpha_pattern: BTreeMap<String, f64>,
    /// Whether the adapter counts `alpha / √rank` times, so that large ranks learn as fast as small ones (rsLoRA).
    pub(super) rslora: bool,
    /// Whether the length of each row of a weight is trained beside its direction (DoRA).
    pub(super) dora: bool,
    /// What the adapter starts from.
    pub(super) init: Start,
    /// Iterations towards the greatest singular values with `init = "pissa"`; 16 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000))]
    pub(super) pissa_niter: Option<u32>,
    /// How much greater the learning rate of `B` is than that of `A` (LoRA+); 16 is usual with it.
    #[schemars(range(min = 1))]
    pub(super) loraplus_ratio: f64,
    /// Noise on the embeddings in training, between ± this over √(tokens · features) (NEFTune); 5 is usual with it.
    pub(super) neftune_alpha: f64,
    /// The share of each target's probability that is spread evenly over the vocabulary.
    pub(super) label_smoothing: f64,
    /// How often every row is trained.
    #[schemars(range(min = 1))]
    pub(super) epochs: u64,
    /// Rows of a step. The loss of a step is the mean over all its trained tokens.
    #[schemars(range(min = 1))]
    pub(super) batch_size: usize,
    /// The greatest learning rate.
    pub(super) learning_rate: f64,
    /// How the learning rate goes on after the warm-up.
    pub(super) schedule: Schedule,
    /// Steps of the warm-up; `warmup-ratio` of all steps when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) warmup_steps: Option<u64>,
    /// The share of all steps during which the learning rate rises.
    pub(super) warmup_ratio: f64,
    /// AdamW's decoupled weight decay.
    pub(super) weight_decay: f64,
    /// A step's gradient is shortened to this norm.
    pub(super) max_grad_norm: f64,
    /// What the adapter's start, the order of the rows and dropout are drawn from.
    pub(super) seed: u64,
    /// The longest row in tokens; from `[model]` unless set here.
    #[schemars(range(min = 2))]
    pub(super) max_tokens: usize,
    /// What happens to longer rows.
    pub(super) over_length: OverLength,
    /// What happens when no token of a row would be trained: its answer is empty, or begins after `max-tokens`.
    pub(super) untrained_rows: UntrainedRows,
}

/// What happens when no token of a row would be trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum UntrainedRows {
    /// The training does not begin, and the row is shown.
    #[default]
    Fail,
    /// It is left out and counted.
    Drop,
}

impl Default for Settings {
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
            neftune_alpha: 0.0,
            label_smoothing: 0.0,
            epochs: 3,
            batch_size: 8,
            learning_rate: 2e-4,
            schedule: Schedule::Linear,
            warmup_steps: None,
            warmup_ratio: 0.03,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
            seed: 42,
            max_tokens: 2048,
            over_length: OverLength::Truncate,
            untrained_rows: UntrainedRows::Fail,
        }
    }
}

/// Returns the problem of a warm-up that is given twice; which one holds would be a guess.
pub(super) fn second_warmup(written: &Value) -> Option<SettingProblem> {
    let both = ["warmup-steps", "warmup-ratio"].iter().all(|key| written.get(key).is_some());
    both.then(|| SettingProblem {
        path: vec!["warmup-ratio".to_owned()],
        code: "settings::contradiction",
        message: "`warmup-ratio` and `warmup-steps` say the same thing twice".into(),
        label: "`warmup-steps` is there as well".into(),
        help: Some("keep one of them".into()),
    })
}

impl Settings {
    /// Returns the steps of the warm-up among `steps`.
    pub(super) fn warmup(&self, steps: u64) -> u64 {
        self.warmup_steps.unwrap_or_else(|| (steps as f64 * self.warmup_ratio).ceil() as u64).min(steps)
    }

    /// Returns whether the learning rate of a step depends on how many steps there are.
    pub(super) fn depends_on_length(&self) -> bool {
        let fixed_warmup = self.warmup_steps.is_some() || self.warmup_ratio == 0.0;
        self.schedule != Schedule::Constant || !fixed_warmup
    }

    /// Returns every number that is out of its range.
    pub(super) fn problems(&self) -> Vec<SettingProblem> {
        let checks: [(&str, bool, &str); 13] = [
            ("rank", (1..=1024).contains(&self.rank), "a whole number from 1 to 1024"),
            ("alpha", self.alpha.is_finite() && self.alpha > 0.0, "a number above 0, often the rank or twice the rank"),
            ("dropout", (0.0..=0.9).contains(&self.dropout), "a number from 0 to 0.9"),
            ("loraplus-ratio", (1.0..=1e6).contains(&self.loraplus_ratio), "a number from 1, often 16"),
            ("neftune-alpha", (0.0..=1e6).contains(&self.neftune_alpha), "a number from 0, often 5"),
            ("label-smoothing", (0.0..1.0).contains(&self.label_smoothing), "a number from 0 to below 1, often 0.1"),
            ("epochs", self.epochs > 0, "a whole number from 1"),
            ("batch-size", self.batch_size > 0, "a whole number from 1"),
            (
                "learning-rate",
                (0.0..1.0).contains(&self.learning_rate) && self.learning_rate > 0.0,
                "a number above 0, often 2e-4",
            ),
            ("warmup-ratio", (0.0..=1.0).contains(&self.warmup_ratio), "a number from 0 to 1"),
            ("weight-decay", (0.0..1.0).contains(&self.weight_decay), "a number from 0 to below 1"),
            ("max-grad-norm", self.max_grad_norm > 0.0, "a number above 0, often 1"),
            ("max-tokens", self.max_tokens >= 2, "a whole number from 2"),
        ];
        let problem = |key: &str, range: &str| SettingProblem {
            path: vec![key.to_owned()],
            code: "settings::out_of_range",
            message: format!("`{key}` is out of its range"),
            label: "here".into(),
            help: Some(format!("give {range}")),
        };
        let wrong = checks.iter().filter(|(_, good, _)| !good).map(|(key, _, range)| problem(key, range));
        wrong.chain(super::adapter::problems(self)).collect()
    }
}
