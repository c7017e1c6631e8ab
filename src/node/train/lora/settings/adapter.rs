//! The adapter's settings: its shape, its start, and what keeps it from learning by heart.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Check;
use crate::model::lora::{Init, LoraConfig, Projection, TargetModules, name_help};
use crate::node::SettingProblem;

/// Iterations of PiSSA when none are given: the singular values are then as good as exact (Meng et al., 2024).
const PISSA_ITERATIONS: u32 = 16;
/// More change nothing.
const MOST_ITERATIONS: u32 = 1000;
/// The largest rank that can be asked for.
const LARGEST_RANK: usize = 1024;

/// What an adapter starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in super::super) enum Start {
    /// `A` uniform, `B` zero: PEFT's `init_lora_weights = true`.
    #[default]
    Kaiming,
    /// `A` normal, `B` zero.
    Gaussian,
    /// The greatest singular values and vectors of each weight (PiSSA).
    Pissa,
}

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
    /// Noise on the embeddings in training, between ± this over √(tokens · features) (NEFTune); 5 is usual with it.
    pub(in super::super) neftune_alpha: f64,
    /// The share of each target's probability that is spread evenly over the vocabulary.
    pub(in super::super) label_smoothing: f64,
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
            neftune_alpha: 0.0,
            label_smoothing: 0.0,
        }
    }
}

impl AdapterSettings {
    pub(super) fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }

    /// Returns the kind of adapter.
    pub(in super::super) fn lora(&self) -> LoraConfig {
        LoraConfig {
            rank: self.rank,
            alpha: self.alpha,
            targets: self.targets.clone(),
            exclude: self.exclude.clone(),
            layers: self.layers.clone(),
            rank_pattern: self.rank_pattern.clone(),
            alpha_pattern: self.alpha_pattern.clone(),
            rslora: self.rslora,
            dora: self.dora,
            init: match self.init {
                Start::Kaiming => Init::Kaiming,
                Start::Gaussian => Init::Gaussian,
                Start::Pissa => Init::Pissa { iterations: self.pissa_niter.unwrap_or(PISSA_ITERATIONS) },
            },
        }
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        vec![
            ("rank", (1..=LARGEST_RANK).contains(&self.rank), "a whole number from 1 to 1024"),
            ("alpha", self.alpha.is_finite() && self.alpha > 0.0, "a number above 0, often the rank or twice the rank"),
            ("dropout", (0.0..=0.9).contains(&self.dropout), "a number from 0 to 0.9"),
            (
                "pissa-niter",
                self.pissa_niter.is_none_or(|niter| niter <= MOST_ITERATIONS),
                "a whole number from 0 to 1000, often 16",
            ),
            ("neftune-alpha", (0.0..=1e6).contains(&self.neftune_alpha), "a number from 0, often 5"),
            ("label-smoothing", (0.0..1.0).contains(&self.label_smoothing), "a number from 0 to below 1, often 0.1"),
        ]
    }

    /// Returns what is wrong with targets and patterns whatever the base model is, and what contradicts itself.
    pub(super) fn problems(&self) -> Vec<SettingProblem> {
        let mut problems = Vec::new();
        problems.extend(target_problems("targets", &self.targets));
        problems.extend(self.exclude.iter().flat_map(|exclude| target_problems("exclude", exclude)));
        if self.layers.as_ref().is_some_and(Vec::is_empty) {
            problems.push(problem(&["layers"], "`layers` names no block", "give blocks from 0, or leave it out"));
        }
        if self.layers.is_some() && matches!(self.targets, TargetModules::Pattern(_)) {
            let help = r"write the blocks into the pattern, such as `model\.layers\.(0|1)\..*`";
            problems.push(problem(&["layers"], "`layers` and a pattern as `targets` both choose blocks", help));
        }
        if self.pissa_niter.is_some() && self.init != Start::Pissa {
            problems.push(problem(
                &["pissa-niter"],
                "`pissa-niter` says something without PiSSA",
                "add `init = \"pissa\"`",
            ));
        }
        for (pattern, rank) in &self.rank_pattern {
            if !(1..=LARGEST_RANK).contains(rank) {
                let message = format!("the rank of `{pattern}` is out of its range");
                problems.push(problem(&["rank-pattern", pattern], &message, "give a whole number from 1 to 1024"));
            }
        }
        for (pattern, alpha) in &self.alpha_pattern {
            if !(alpha.is_finite() && *alpha > 0.0) {
                let message = format!("the alpha of `{pattern}` is out of its range");
                problems.push(problem(&["alpha-pattern", pattern], &message, "give a number above 0"));
            }
        }
        let patterns = self.rank_pattern.keys().map(|pattern| ("rank-pattern", pattern));
        for (key, pattern) in patterns.chain(self.alpha_pattern.keys().map(|pattern| ("alpha-pattern", pattern))) {
            problems.extend(pattern_problem(&[key, pattern], pattern));
        }
        problems
    }
}

/// Returns what is wrong with targets: patterns that are none, and names that no model has.
fn target_problems(key: &str, targets: &TargetModules) -> Vec<SettingProblem> {
    match targets {
        TargetModules::AllLinear => Vec::new(),
        TargetModules::Pattern(pattern) => pattern_problem(&[key], pattern).into_iter().collect(),
        TargetModules::Names(names) if names.is_empty() => {
            vec![problem(&[key], &format!("`{key}` names no module"), &name_help(""))]
        }
        TargetModules::Names(names) => {
            let unknown = |name: &str| {
                let last = name.rsplit('.').next().unwrap_or(name);
                !Projection::ALL.iter().any(|projection| projection.name() == last)
            };
            let wrong = names.iter().enumerate().filter(|(_, name)| unknown(name));
            wrong.map(|(at, name)| name_problem(key, at, name)).collect()
        }
    }
}

fn name_problem(key: &str, at: usize, name: &str) -> SettingProblem {
    let message = format!("`{key}` cannot be `{name}`");
    SettingProblem {
        label: "no module has this name".into(),
        ..problem(&[key, &at.to_string()], &message, &name_help(name))
    }
}

fn pattern_problem(path: &[&str], pattern: &str) -> Option<SettingProblem> {
    let error = TargetModules::Pattern(pattern.to_owned()).problem()?;
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    Some(problem(path, &error.to_string(), &cause))
}

fn problem(path: &[&str], message: &str, help: &str) -> SettingProblem {
    SettingProblem {
        path: path.iter().map(|step| (*step).to_owned()).collect(),
        code: "settings::wrong_value",
        message: message.to_owned(),
        label: "here".into(),
        help: Some(help.to_owned()),
    }
}
