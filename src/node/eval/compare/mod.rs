//! `eval.compare`: the tuned model beside the base, on questions and on held-out rows.

#[cfg(feature = "llama")]
mod error;
mod judge;
#[cfg(feature = "llama")]
mod report;
#[cfg(feature = "llama")]
mod scores;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::judge::Judge;
use super::asking;
use crate::node::settings::{accepted, canonical};
use crate::node::{
    Content, Determinism, Family, FileInput, Forecast, Kind, KindInfo, NodeError, Outcome, Outlook, OutputInfo,
    Rehearsal, Run, SettingProblem, Weight,
};

/// The kind `compare`.
pub(super) struct Compare;

/// Settings of `eval.compare`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// A TOML file of questions: `[[question]]` with `ask`, and `expect`, `any`, `forbid`, `regex`, or `reference` and
    /// `similar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    questions: Option<PathBuf>,
    /// The longest answer in tokens.
    #[serde(default = "default_answer")]
    #[schemars(range(min = 1))]
    max_answer_tokens: u32,
    /// 0 takes the likeliest token each time; more makes unlikely ones likelier.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 10.0))]
    temperature: f32,
    /// What chance starts from, where the temperature is not 0.
    #[serde(default)]
    seed: u64,
    /// How often each question is asked, where the temperature is not 0: with the seed, the seed after it, and so on.
    #[serde(default = "default_repeats")]
    #[schemars(range(min = 1, max = 1000))]
    repeats: u64,
    /// A model behind an `OpenAI`-compatible endpoint that says which answer is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    judge: Option<Judge>,
    #[serde(default)]
    #[schemars(skip)]
    system: String,
    #[serde(default = "default_length")]
    #[schemars(skip)]
    max_tokens: u32,
}

const fn default_answer() -> u32 {
    128
}

const fn default_repeats() -> u64 {
    1
}

const fn default_length() -> u32 {
    2048
}

/// Returns the settings with every default filled in. A judge's table is read in groups.
fn filled(settings: &Value) -> Result<Value, Vec<SettingProblem>> {
    let mut rest = settings.clone();
    let written = rest.as_object_mut().filter(|rest| rest.get("judge").is_some_and(Value::is_object));
    let judge = written.and_then(|rest| rest.remove("judge")).map(|judge| Judge::canonical(&judge)).transpose();
    match (canonical::<Settings>(&rest), judge) {
        (Ok(mut whole), Ok(judge)) => {
            if let Some(judge) = judge {
                whole["judge"] = judge;
            }
            Ok(whole)
        }
        (Err(wrong), Ok(_)) | (Ok(_), Err(wrong)) => Err(wrong),
        (Err(wrong), Err(of_judge)) => Err([wrong, of_judge].concat()),
    }
}

/// Returns what is wrong with the settings beyond the form of each.
fn problems(settings: &Settings) -> Vec<SettingProblem> {
    let mut problems = settings.judge.as_ref().map(Judge::problems).unwrap_or_default();
    let mut wrong = |key: &str, message: &str, help: &str| {
        problems.push(SettingProblem::new(&[key], "eval::bad_setting", message, help));
    };
    if !(1..=1000).contains(&settings.repeats) {
        wrong("repeats", "a question is asked from 1 to 1000 times", "1 is the default");
    }
    if settings.repeats > 1 && settings.temperature == 0.0 {
        wrong("repeats", "at the temperature 0 every repeat is the same", "set `temperature`, such as 0.7");
    }
    if settings.judge.is_some() && settings.questions.is_none() {
        wrong("judge", "there are no answers to judge", "set `questions` to a file of questions");
    }
    problems
}

/// History: 1, the first. 2, repeats, similarity, a judge, intervals of confidence, and the seed of each answer.
const VERSION: u32 = 2;

static INFO: KindInfo = KindInfo {
    family: Family::Eval,
    name: "compare",
    version: VERSION,
    summary: "tuned against base through llama.cpp: right answers, similarity, a judge, the loss on held-out rows, each \
              with its 95 % confidence interval",
    inputs: &[Content::Gguf, Content::Rows],
    outputs: &[OutputInfo { name: "answers", content: Content::Files }],
    fields: FIELDS,
    determinism: Determinism::ExactPerIsa,
    weight: Weight::Heavy,
    weights: true,
    model_settings: &["max-tokens", "system"],
    pinned: false,
    effect: false,
};

/// Each mean and share has the ends of its interval beside it.
const FIELDS: &[&str] = &[
    "questions",
    "pass",
    "pass-low",
    "pass-high",
    "base-pass",
    "base-pass-low",
    "base-pass-high",
    "gain",
    "gain-low",
    "gain-high",
    "similarity",
    "similarity-low",
    "similarity-high",
    "base-similarity",
    "base-similarity-low",
    "base-similarity-high",
    "judge",
    "judge-low",
    "judge-high",
    "judge-wins",
    "judge-losses",
    "judge-ties",
    "judge-flips",
    "judge-unreadable",
    "ends",
    "ends-low",
    "ends-high",
    "base-ends",
    "base-ends-low",
    "base-ends-high",
    "loss",
    "loss-low",
    "loss-high",
    "base-loss",
    "base-loss-low",
    "base-loss-high",
    "loss-change",
    "loss-change-low",
    "loss-change-high",
];

impl Kind for Compare {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = filled(settings)?;
        let mut found = asking::problems(&value, default_answer());
        if let Ok(settings) = Settings::deserialize(&value) {
            found.extend(problems(&settings));
        }
        accepted(value, found)
    }

    fn outside_key(&self) -> &'static [&'static str] {
        judge::OUTSIDE_KEY
    }

    /// A judge is a server, of which nothing is known.
    fn determinism(&self, settings: &Value) -> Determinism {
        if settings["judge"].is_object() { Determinism::Varies } else { INFO.determinism }
    }

    fn forecast(&self, outlook: &Outlook<'_>) -> Option<Forecast> {
        let model = outlook.settings["judge"]["model"].as_str()?;
        let note =
            format!("`{model}` judges each answer twice, where base and tuned model differ; nothing is asked twice");
        Some(Forecast { note, ..Forecast::default() })
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        asking::files(settings)
    }

    fn tools(&self, _: &Value) -> Vec<(String, String)> {
        vec![("llama.cpp".into(), crate::llama::VERSION.into())]
    }

    #[cfg(feature = "llama")]
    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        report::compare(run, &run.settings()?)
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Follows
    }

    /// Asks nothing: questions, rows, tokenizer and template are read.
    #[cfg(feature = "llama")]
    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        report::look(run, &run.settings()?)
    }

    #[cfg(not(feature = "llama"))]
    fn run(&self, _: &Run<'_>) -> Result<Outcome, NodeError> {
        Err(crate::llama::Absent { wanted: INFO.name }.into())
    }
}

#[cfg(test)]
#[cfg(feature = "llama")]
mod tests;
