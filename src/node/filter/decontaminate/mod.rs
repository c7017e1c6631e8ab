//! `filter.decontaminate`: rows that hold what an evaluation asks go, or it would measure memory.
//!
//! Questions are those of a file as `eval.compare` reads it, and the rows of inputs that `against` names. Texts are compared
//! by their words, whatever case, punctuation and spacing. A row holds a question when one of its own questions has the
//! same words, or at least `threshold` of the question's runs of words; it holds a held-out row when that is so for its
//! question or for its answer. A question of under five words is held by an equal one alone. Paraphrases are not found.

mod index;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::index::Index;
use super::rows::{self, Fate, question, said_by};
use crate::node::questions;
use crate::node::{FileInput, JobInput, Kind, KindInfo, NodeError, Outcome, Run, SettingProblem, settings};
use crate::record::{Conversation, Counts, RecordSet, Role};

/// The kind.
#[derive(Debug)]
pub(super) struct Decontaminate;

/// History: 1, the first.
const VERSION: u32 = 1;

static INFO: KindInfo = rows::info("decontaminate", VERSION, "rows that do not hold what an evaluation asks");

/// Settings of `filter.decontaminate`.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// A TOML file of questions, as `eval.compare` reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    questions: Option<PathBuf>,
    /// Which inputs of `from` are held-out rows, as `NODE` or `NODE:OUTPUT`; the others are filtered.
    #[serde(default)]
    against: Vec<String>,
    /// How many words make a run; half of the question's words where that is less, but three at least.
    #[serde(default = "default_ngram")]
    #[schemars(range(min = 1, max = 64))]
    ngram_words: usize,
    /// The share of a question's runs that a row must have to hold it, from above 0 to 1.
    #[serde(default = "default_threshold")]
    #[schemars(range(min = 0.0, max = 1.0))]
    threshold: f64,
}

const fn default_ngram() -> usize {
    8
}

const fn default_threshold() -> f64 {
    0.8
}

/// What can be wrong with what rows are held against.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum DecontaminateError {
    #[error("`against` names `{name}`, which is none of the inputs")]
    #[diagnostic(code(filter::decontaminate::unknown_input), help("`from` has {inputs}: add `{name}` to it, too"))]
    UnknownInput { name: String, inputs: String },
    #[error("`against` names all inputs, so no rows are left to filter")]
    #[diagnostic(code(filter::decontaminate::no_rows), help("add the rows that shall be trained on to `from`"))]
    NoRows,
}

impl Kind for Decontaminate {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = settings::canonical::<Settings>(settings)?;
        let mut problems = Vec::new();
        if value.get("questions").is_none() && value["against"].as_array().is_none_or(Vec::is_empty) {
            problems.push(SettingProblem {
                path: Vec::new(),
                code: "settings::missing",
                message: "neither `questions` nor `against` is set".into(),
                label: "nothing is held against the rows".into(),
                help: Some(
                    "write `questions = \"questions.toml\"`, or add held-out rows to `from` and name them in `against`"
                        .into(),
                ),
            });
        }
        if value["threshold"].as_f64().is_none_or(|share| !(share > 0.0 && share <= 1.0)) {
            problems.push(settings::out_of_range(&["threshold"], "a share above 0 and up to 1; 0.8 is the default"));
        }
        if value["ngram-words"].as_u64().is_none_or(|words| !(1..=64).contains(&words)) {
            problems.push(settings::out_of_range(&["ngram-words"], "a whole number from 1 to 64; 8 is the default"));
        }
        settings::accepted(value, problems)
    }

    fn outside_key(&self) -> &'static [&'static str] {
        // The file is in the key by its content.
        &["questions"]
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        let path = settings["questions"].as_str().map(PathBuf::from);
        path.map(|path| FileInput { setting: "questions", path, globs: None, optional: false }).into_iter().collect()
    }

    fn reads_input_names(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let (held, filtered) = parted(run, &settings)?;
        let mut against = Against::default();
        let mut scope = format!("filter.decontaminate {VERSION} {} {}", settings.ngram_words, settings.threshold);
        for file in run.files("questions") {
            for question in questions::read(&file.name, &file.path)? {
                against.ask(&question.ask, format!("holds the question `{}`", question.ask), settings.ngram_words);
            }
            scope += &format!(" questions {}", file.digest);
        }
        for input in held {
            let rows = rows::input(run, input)?;
            for record in RecordSet::open(run.store, &rows)?.lines() {
                run.check_cancelled()?;
                against.hold_out(&rows::row(run, &record?)?, &name_of(input), settings.ngram_words);
            }
            scope += &format!(" {} {}", name_of(input), rows.root);
        }
        let rows = rows::merged(run, filtered.into_iter())?;
        run.note(format!("{} texts are held against {} rows", against.len(), rows.count));
        rows::decide(run, &rows, &scope, |row, counts| against.fate(row, settings.threshold, counts))
    }
}

/// What must not be in a row.
#[derive(Debug, Default)]
struct Against {
    questions: Index,
    /// By question: the reason.
    reasons: Vec<String>,
    answers: Index,
    answer_reasons: Vec<String>,
}

impl Against {
    fn ask(&mut self, question: &str, reason: String, ngram: usize) {
        self.questions.add(question, ngram);
        self.reasons.push(reason);
    }

    fn hold_out(&mut self, row: &Conversation, input: &str, ngram: usize) {
        self.ask(question(row), format!("holds a question of `{input}`"), ngram);
        self.answers.add(&said_by(row, Role::Assistant), ngram);
        self.answer_reasons.push(format!("holds an answer of `{input}`"));
    }

    fn len(&self) -> usize {
        self.questions.len() + self.answers.len()
    }

    fn fate(&self, row: &Conversation, threshold: f64, counts: &mut Counts) -> Fate {
        let asked = row.turns.iter().filter(|turn| turn.role == Role::User);
        let held = asked.filter_map(|turn| self.questions.held_by(&turn.text, threshold)).min();
        let reason = held.and_then(|question| self.reasons.get(question)).or_else(|| {
            let answer = self.answers.held_by(&said_by(row, Role::Assistant), threshold)?;
            self.answer_reasons.get(answer)
        });
        match reason {
            Some(reason) => {
                counts.add(format!("dropped row: {reason}"), 1);
                Fate::Dropped
            }
            None => Fate::Kept,
        }
    }
}

fn name_of(input: &JobInput) -> String {
    format!("{}:{}", input.node, input.output)
}

/// Returns the inputs that are held out and those that are filtered.
fn parted<'r>(run: &'r Run<'_>, settings: &Settings) -> Result<(Vec<&'r JobInput>, Vec<&'r JobInput>), NodeError> {
    let fits = |name: &String, input: &JobInput| *name == input.node || *name == name_of(input);
    if let Some(name) = settings.against.iter().find(|name| !run.inputs().any(|input| fits(name, input))) {
        let inputs: Vec<String> = run.inputs().map(|input| format!("`{}`", name_of(input))).collect();
        return Err(DecontaminateError::UnknownInput { name: name.clone(), inputs: inputs.join(", ") }.into());
    }
    let (held, filtered): (Vec<_>, Vec<_>) =
        run.inputs().partition(|input| settings.against.iter().any(|name| fits(name, input)));
    if filtered.is_empty() { Err(DecontaminateError::NoRows.into()) } else { Ok((held, filtered)) }
}
