//! `filter.conversations`: conversations from records of any kind.
//!
//! Issues become a question and the best answer of somebody else, and a dialogue in order of time where there was one;
//! pull requests become the motivation of their change; documents become their sections; rows pass through; corrections
//! supersede. Every record that gives no row is counted with its reason. It does not look for near duplicates and does not
//! judge quality beyond what is said here.

mod document;
mod issue;
mod people;
mod pull;
mod questions;
mod reduce;
mod row;
mod text;

pub use reduce::{Ground, grounds};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use questions::Questions;
use row::Rows;

use crate::node::{
    Content, Count, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run, SettingProblem, Weight,
    settings,
};
use crate::record::{Counts, Line, Mapped, Record, RecordError, map_records, merge};
use crate::store::{Artifact, Digest, RecordsRef};

/// The kind.
#[derive(Debug)]
pub(super) struct Conversations;

/// History: 1, the first.
const VERSION: u32 = 1;

static INFO: KindInfo = KindInfo {
    family: Family::Filter,
    name: "conversations",
    version: VERSION,
    summary: "conversations from issues, pull requests, documents, rows and corrections",
    inputs: &[Content::Records, Content::Rows],
    outputs: &[OutputInfo { name: "rows", content: Content::Rows }],
    fields: &["records", "rows"],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &["system"],
    pinned: false,
    effect: false,
};

/// Settings of `filter.conversations`. All lengths are in characters; four make about one token of English.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// The system prompt of rows that have none; from `[model]` unless set here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    /// An issue's answer that is shorter is no answer.
    #[serde(default = "default_min_answer")]
    min_answer_characters: usize,
    /// A pull request's body that is shorter explains nothing.
    #[serde(default = "default_min_body")]
    min_body_characters: usize,
    /// A document's section that is shorter is left out.
    #[serde(default = "default_min_section")]
    min_section_characters: usize,
    /// A longer question is cut between paragraphs.
    #[serde(default = "default_max_question")]
    max_question_characters: usize,
    /// A longer answer is cut between paragraphs; a longer section of a document becomes several rows.
    #[serde(default = "default_max_answer")]
    max_answer_characters: usize,
    /// Logins of programs, beside the well-known ones and all that end with `[bot]` or `-bot`.
    #[serde(default)]
    bots: Vec<String>,
    /// How questions are worded where nobody asked one.
    #[serde(default)]
    questions: Questions,
}

const fn default_min_answer() -> usize {
    120
}

const fn default_min_body() -> usize {
    100
}

const fn default_min_section() -> usize {
    120
}

const fn default_max_question() -> usize {
    4_000
}

const fn default_max_answer() -> usize {
    6_000
}

impl Kind for Conversations {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = settings::canonical::<Settings>(settings)?;
        let questions = Settings::deserialize(&value).map(|settings| settings.questions).unwrap_or_default();
        let problems = questions.problems();
        if problems.is_empty() { Ok(value) } else { Err(problems) }
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let mut inputs: Vec<(&str, RecordsRef)> = Vec::new();
        for input in run.inputs() {
            let Artifact::Records(records) = input.artifact else {
                return Err(run.bad_job(format!("input `{}` is no record set", input.node)));
            };
            inputs.push((input.node.as_str(), records));
        }
        let mut counts = Counts::default();
        let mut processed = 0;
        for (node, records) in &mut inputs {
            // The name of the input only keeps the memos of a node's inputs apart.
            let scope = format!("filter.conversations {VERSION} {} {node}", run.job.settings);
            let scope = Digest::of(scope.as_bytes());
            let result = map_records::<1, NodeError, _>(run.store, scope, records, |line| {
                run.check_cancelled()?;
                Ok(converted(line, &settings)?)
            })?;
            counts.add_all(&result.counts);
            processed += result.processed;
            [*records] = result.outputs;
        }
        let records: u64 = run.inputs().map(|input| count(&input.artifact)).sum();
        run.note(format!("{processed} of {records} records new or changed"));
        let candidates = merge(run.store, &inputs)?;
        let rows = reduce::reduce(run.store, &candidates, &mut counts)?;
        Ok(Outcome {
            outputs: BTreeMap::from([("rows".into(), Artifact::Records(rows))]),
            fields: BTreeMap::from([("records".into(), json!(records)), ("rows".into(), json!(rows.count))]),
            report: counts.iter().map(|(what, count)| Count { what: what.into(), count }).collect(),
        })
    }
}

fn count(artifact: &Artifact) -> u64 {
    match artifact {
        Artifact::Records(records) => records.count,
        Artifact::File(_) | Artifact::Folder { .. } => 0,
    }
}

/// Returns the candidate rows of a record.
fn converted(line: &Line<'_>, settings: &Settings) -> Result<Mapped, RecordError> {
    let mut rows = Rows::of(line, settings.system.as_deref());
    match line.record()? {
        Record::Issue(thread) => issue::rows(&thread, settings, &mut rows),
        Record::Pull(thread) => pull::rows(&thread, settings, &mut rows),
        Record::Document(document) => document::rows(&document, settings, &mut rows),
        Record::Row(row) => rows.row(row),
        Record::Correction(correction) => rows.correction(correction),
    }
    rows.mapped()
}

#[cfg(test)]
mod tests;
