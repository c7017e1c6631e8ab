//! What kind of adapter the settings of `train.lora` ask for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::settings::AdapterSettings;
use crate::model::lora::{Init, LoraConfig, Projection, TargetModules, name_help};
use crate::node::SettingProblem;

/// Iterations of PiSSA when none are given: the singular values are then near the exact ones (Meng et al., 2024); the
/// vectors of those that lie close together are not, and a training from them ends elsewhere.
const PISSA_ITERATIONS: u32 = 16;
/// The largest rank that can be asked for.
const LARGEST_RANK: usize = 1024;

/// What an adapter starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Start {
    /// `A` uniform, `B` zero: PEFT's `init_lora_weights = true`.
    #[default]
    Kaiming,
    /// `A` normal, `B` zero.
    Gaussian,
    /// The greatest singular values and vectors of each weight (PiSSA).
    Pissa,
}

/// Returns the kind of adapter.
pub(super) fn lora(settings: &AdapterSettings) -> LoraConfig {
    LoraConfig {
        rank: settings.rank,
        alpha: settings.alpha,
        targets: settings.targets.clone(),
        exclude: settings.exclude.clone(),
        layers: settings.layers.clone(),
        rank_pattern: settings.rank_pattern.clone(),
        alpha_pattern: settings.alpha_pattern.clone(),
        rslora: settings.rslora,
        dora: settings.dora,
        init: match settings.init {
            Start::Kaiming => Init::Kaiming,
            Start::Gaussian => Init::Gaussian,
            Start::Pissa => Init::Pissa { iterations: settings.pissa_niter.unwrap_or(PISSA_ITERATIONS) },
        },
    }
}

/// Returns what is wrong with the settings whatever the base model is.
pub(super) fn problems(settings: &AdapterSettings) -> Vec<SettingProblem> {
    let mut problems = Vec::new();
    problems.extend(target_problems("targets", &settings.targets));
    problems.extend(settings.exclude.iter().flat_map(|exclude| target_problems("exclude", exclude)));
    if settings.layers.as_ref().is_some_and(Vec::is_empty) {
        problems.push(wrong(&["layers"], "`layers` names no block", "give blocks from 0, or leave it out"));
    }
    if settings.layers.is_some() && matches!(settings.targets, TargetModules::Pattern(_)) {
        let help = r"write the blocks into the pattern, such as `model\.layers\.(0|1)\..*`";
        problems.push(wrong(&["layers"], "`layers` and a pattern as `targets` both choose blocks", help));
    }
    if settings.pissa_niter.is_some() && settings.init != Start::Pissa {
        problems.push(wrong(&["pissa-niter"], "`pissa-niter` says something without PiSSA", "add `init = \"pissa\"`"));
    }
    for (pattern, rank) in &settings.rank_pattern {
        if !(1..=LARGEST_RANK).contains(rank) {
            let message = format!("the rank of `{pattern}` is out of its range");
            problems.push(wrong(&["rank-pattern", pattern], message, "give a whole number from 1 to 1024"));
        }
    }
    for (pattern, alpha) in &settings.alpha_pattern {
        if !(alpha.is_finite() && *alpha > 0.0) {
            let message = format!("the alpha of `{pattern}` is out of its range");
            problems.push(wrong(&["alpha-pattern", pattern], message, "give a number above 0"));
        }
    }
    let patterns = settings.rank_pattern.keys().map(|pattern| ("rank-pattern", pattern));
    for (key, pattern) in patterns.chain(settings.alpha_pattern.keys().map(|pattern| ("alpha-pattern", pattern))) {
        problems.extend(pattern_problem(&[key, pattern], pattern));
    }
    problems
}

/// Returns what is wrong with targets: patterns that are none, and names that no model has.
fn target_problems(key: &str, targets: &TargetModules) -> Vec<SettingProblem> {
    match targets {
        TargetModules::AllLinear => Vec::new(),
        TargetModules::Pattern(pattern) => pattern_problem(&[key], pattern).into_iter().collect(),
        TargetModules::Names(names) if names.is_empty() => {
            vec![wrong(&[key], format!("`{key}` names no module"), &name_help(""))]
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
        ..wrong(&[key, &at.to_string()], message, &name_help(name))
    }
}

fn pattern_problem(path: &[&str], pattern: &str) -> Option<SettingProblem> {
    let error = TargetModules::Pattern(pattern.to_owned()).problem()?;
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    Some(wrong(path, error.to_string(), &cause))
}

fn wrong(path: &[&str], message: impl Into<String>, help: &str) -> SettingProblem {
    SettingProblem::new(path, "settings::wrong_value", message, help)
}
