//! The settings that nodes share which have a model answer.

use std::path::PathBuf;

use serde_json::Value;

use crate::node::{FileInput, SettingProblem};

/// Returns what is wrong with `max-answer-tokens`, whose default is `tokens`, and `temperature`.
pub(super) fn problems(settings: &Value, tokens: u32) -> Vec<SettingProblem> {
    let problem = |key, message, help: String| SettingProblem::new(&[key], "eval::bad_setting", message, help);
    let mut problems = Vec::new();
    if settings["max-answer-tokens"] == 0 {
        let help = format!("{tokens} is the default");
        problems.push(problem("max-answer-tokens", "no answer fits into 0 tokens", help));
    }
    if settings["temperature"].as_f64().is_none_or(|temperature| !(0.0..=10.0).contains(&temperature)) {
        problems.push(problem("temperature", "a temperature is between 0 and 10", "0 is the default".into()));
    }
    problems
}

/// Returns the file of questions, where one is named.
pub(super) fn files(settings: &Value) -> Vec<FileInput> {
    let path = settings["questions"].as_str().map(PathBuf::from);
    path.map(|path| FileInput { setting: "questions", path, globs: None, optional: false }).into_iter().collect()
}
