//! The loop's settings: rows and their order, evaluation, when training ends, checkpoints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Check;
use crate::model::rows::OverLength;
use crate::node::SettingProblem;

/// What is trained on, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(in super::super) struct LoopSettings {
    /// How often every row is trained.
    #[schemars(range(min = 1))]
    pub(in super::super) epochs: u64,
    /// Rows of a step. The loss of a step is the mean over all its trained tokens.
    #[schemars(range(min = 1))]
    pub(in super::super) batch_size: usize,
    /// Tokens of a step that are computed at once: rows are packed end to end into micro-batches of so many, longer rows
    /// are computed alone. More need more memory.
    #[schemars(range(min = 16))]
    pub(in super::super) micro_batch_tokens: usize,
    /// Whether rows of about the same length come in the same step.
    pub(in super::super) group_by_length: bool,
    /// What an adapter's start, the order of the rows and dropout are drawn from.
    pub(in super::super) seed: u64,
    /// The longest row in tokens; from `[model]` unless set here.
    #[schemars(range(min = 2))]
    pub(in super::super) max_tokens: usize,
    /// What happens to longer rows.
    pub(in super::super) over_length: OverLength,
    /// What happens when no token of a row would be trained: its answer is empty, or begins after `max-tokens`.
    pub(in super::super) untrained_rows: UntrainedRows,
    /// The input that is held out: its loss is measured, it is not trained. One of `from`, such as `dataset:eval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) eval: Option<String>,
    /// Steps between two evaluations; each epoch's end when absent.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) eval_steps: Option<u64>,
    /// Training ends after so many evaluations without a lower loss; it goes to its end when absent.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) patience: Option<u64>,
    /// Which state is kept: that of the lowest loss on held-out rows, or the last.
    pub(in super::super) keep: Keep,
    /// Answers that are generated at each evaluation, to questions of the first held-out rows.
    pub(in super::super) samples: usize,
    /// The longest generated answer, in tokens.
    #[schemars(range(min = 1))]
    pub(in super::super) sample_tokens: usize,
    /// What happens when the loss grows to three times its running mean.
    pub(in super::super) divergence: Divergence,
    /// Noise on the embeddings in training, between ± this over √(tokens · features) (NEFTune); 5 is usual with it.
    pub(in super::super) neftune_alpha: f64,
    /// The shortest time between two checkpoints, in seconds. It becomes longer where they would take more than a
    /// hundredth of the time; 0 keeps one after each step.
    pub(in super::super) checkpoint_seconds: u64,
}

/// What happens when no token of a row would be trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum UntrainedRows {
    /// The training does not begin, and the row is shown.
    #[default]
    Fail,
    /// It is left out and counted.
    Drop,
}

/// Which state a training gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum Keep {
    /// That of the last step.
    #[default]
    Last,
    /// That of the lowest loss on held-out rows.
    Best,
}

/// What happens when the loss explodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum Divergence {
    /// The training ends and names the step and its rows.
    #[default]
    Fail,
    /// It goes on. A loss that is no number ends it all the same.
    Ignore,
}

impl Default for LoopSettings {
    fn default() -> Self {
        Self {
            epochs: 3,
            batch_size: 8,
            micro_batch_tokens: 1024,
            group_by_length: false,
            seed: 42,
            max_tokens: 2048,
            over_length: OverLength::Truncate,
            untrained_rows: UntrainedRows::Fail,
            eval: None,
            eval_steps: None,
            patience: None,
            keep: Keep::Last,
            samples: 0,
            sample_tokens: 48,
            divergence: Divergence::Fail,
            neftune_alpha: 0.0,
            checkpoint_seconds: 60,
        }
    }
}

impl LoopSettings {
    /// The settings that shape no byte.
    pub(in super::super) const OUTSIDE_KEY: &[&str] = &["checkpoint-seconds"];

    pub(super) fn checks(&self) -> Vec<Check> {
        let positive = |count: Option<u64>| count != Some(0);
        vec![
            ("epochs", self.epochs > 0, "a whole number from 1"),
            ("batch-size", self.batch_size > 0, "a whole number from 1"),
            ("micro-batch-tokens", self.micro_batch_tokens >= 16, "a whole number from 16, often 1024"),
            ("max-tokens", self.max_tokens >= 2, "a whole number from 2"),
            ("eval-steps", positive(self.eval_steps), "a whole number from 1"),
            ("patience", positive(self.patience), "a whole number from 1"),
            ("sample-tokens", self.sample_tokens > 0, "a whole number from 1"),
            ("neftune-alpha", (0.0..=1e6).contains(&self.neftune_alpha), "a number from 0, often 5"),
        ]
    }

    /// Returns the settings that ask for held-out rows where there are none.
    pub(super) fn contradictions(&self) -> Vec<SettingProblem> {
        let asks = [
            ("eval-steps", self.eval_steps.is_some()),
            ("patience", self.patience.is_some()),
            ("keep", self.keep == Keep::Best),
            ("samples", self.samples > 0),
        ];
        let asking = asks.iter().filter(|(_, asks)| *asks && self.eval.is_none());
        asking.map(|(key, _)| needs_eval(key)).collect()
    }
}

fn needs_eval(key: &str) -> SettingProblem {
    SettingProblem {
        path: vec![key.to_owned()],
        code: "settings::contradiction",
        message: format!("`{key}` needs held-out rows"),
        label: "there is no `eval`".into(),
        help: Some("add held-out rows to `from` and name them, such as `eval = \"dataset:eval\"`".into()),
    }
}
