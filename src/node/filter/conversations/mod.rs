//! `filter.conversations`: conversations from records of any kind.
//!
//! Issues and discussions become a question and the answer of somebody else, and a dialogue in order of time where there was
//! one; pull requests become the motivation of their change and what was said in reviews; documents become their sections;
//! rows pass through; corrections supersede. Every record that gives no row is counted with its reason. It does not look for
//! near duplicates and does not judge quality beyond what is said here.

mod answer;
mod converter;
mod dialogue;
mod document;
mod heading;
mod issue;
mod length;
mod noise;
mod outline;
mod people;
mod pull;
mod questions;
mod reduce;
mod row;
mod rules;
mod settings;
mod text;

pub use reduce::{Ground, grounds};

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::{Value, json};

pub use converter::Converter;
use length::Measure;
use row::Rows;
use rules::Rules;
use settings::Settings;

use crate::node::filter::rows;
use crate::node::{
    Content, Count, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run, SettingProblem, Weight,
    settings::{accepted, canonical},
};
use crate::record::{Counts, Line, Mapped, Record, RecordError, Text, map_records};
use crate::store::{Artifact, Digest, RecordsRef};

/// The kind.
#[derive(Debug)]
pub(super) struct Conversations;

/// History: 1, the first. 2, markers are opened by visible spaces, and control and invisible characters are looked after;
/// answers that the asker confirmed and those marked as such come first; reviews of pull requests; questions have several
/// wordings; long lists are cut between items; a row names the comments whose words it has, where they have ids. 3, a comment
/// between a carriage return and its line feed does not part them. 4, who says how something works is no asker, a comment that
/// begins with another's name is no answer, what is cut ends on what says something, and an empty system prompt is no turn.
/// 5, the title counts in the length of a question.
const VERSION: u32 = 5;

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

impl Kind for Conversations {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = canonical::<Settings>(settings)?;
        let problems = Settings::deserialize(&value).map(|read| read.problems(settings)).unwrap_or_default();
        accepted(value, problems)
    }

    /// The report names them.
    fn reads_input_names(&self) -> bool {
        true
    }

    fn reads_model(&self, settings: &Value) -> bool {
        Settings::deserialize(settings).is_ok_and(|settings| settings.counts_tokens())
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let noise = settings.noise().map_err(|error| run.bad_job(error.to_string()))?;
        let rules = Rules::of(&settings, &noise, Measure::of(run, &settings)?);
        let model = if settings.counts_tokens() { run.model()?.artifact.digest().to_string() } else { String::new() };
        let mut sources = Vec::new();
        let mut processed = 0;
        for input in run.inputs() {
            let records = rows::input(run, input)?;
            // The name of the input only keeps the memos of a node's inputs apart.
            let scope = format!("filter.conversations {VERSION} {} {model} {}", run.job.settings, input.node);
            let scope = Digest::of(scope.as_bytes());
            let result = map_records::<1, NodeError, _>(run.store, scope, &records, |line| {
                run.check_cancelled()?;
                Ok(converted(line, &rules)?)
            })?;
            processed += result.processed;
            let [rows] = result.outputs;
            sources.push(Source { node: &input.node, read: records.count, rows, dropped: 0, counts: result.counts });
        }
        let records: u64 = sources.iter().map(|source| source.read).sum();
        run.note(format!("{processed} of {records} records new or changed"));
        let rows = reduce::reduce(run.store, &mut sources)?;
        for source in &sources {
            let count = source.counts.of(reduce::POINTLESS);
            if count > 0 {
                run.warn(format!("{count} of `{}`: {}: look at `supersedes`", source.node, reduce::POINTLESS));
            }
        }
        Ok(Outcome {
            outputs: BTreeMap::from([("rows".into(), Artifact::Records(rows))]),
            fields: BTreeMap::from([("records".into(), json!(records)), ("rows".into(), json!(rows.count))]),
            report: report(&sources),
        })
    }
}

/// What an input gives.
struct Source<'r> {
    /// The input's node.
    node: &'r str,
    /// Its records.
    read: u64,
    /// The candidate rows of them.
    rows: RecordsRef,
    /// How many of those the look at all rows dropped.
    dropped: u64,
    counts: Counts,
}

/// Returns the remarks, by source where there are several.
fn report(sources: &[Source<'_>]) -> Vec<Count> {
    match sources {
        [one] => Count::all(&one.counts),
        several => {
            let of_source = |source: &Source<'_>| {
                Count::of_source(source.node, source.read, source.rows.count - source.dropped, &source.counts)
            };
            several.iter().flat_map(of_source).collect()
        }
    }
}

/// Returns the candidate rows of a record, by its line.
fn converted(line: &Line<'_>, rules: &Rules<'_>) -> Result<Mapped, RecordError> {
    let record = line.borrowed()?;
    let (rows, counts) =
        convert(line.id(), Cow::Owned(record), rules).finish(|| Ok::<_, RecordError>(line.digest()))?;
    let mut mapped = Mapped { counts, ..Mapped::default() };
    for row in &rows {
        mapped.push_summarized(0, row, *reduce::SUMMARIES, &reduce::summary(row))?;
    }
    Ok(mapped)
}

/// A thread that is being read.
type Thread<'t> = crate::record::Thread<Text<'t>>;
/// A comment of such a thread.
type Comment<'t> = crate::record::Comment<Text<'t>>;
/// Who wrote it.
type Author<'t> = crate::record::Author<Text<'t>>;

/// Makes the candidate rows of a record, whose id stands beside it since the record may go into its row.
fn convert<'a>(id: &'a str, record: Cow<'_, Record<Text<'_>>>, rules: &'a Rules<'_>) -> Rows<'a> {
    // Without a system prompt there is no system turn: some templates refuse one, and no client sends an empty one.
    let system = rules.settings.system.as_deref().filter(|system| !system.is_empty());
    let mut rows = Rows::of(id, system, &rules.settings.keep_markers);
    let record = match record {
        Cow::Owned(Record::Row(row)) => {
            rows.row(row);
            return rows;
        }
        other => other,
    };
    match &*record {
        Record::Issue(thread) => issue::rows(thread, "issue", rules, &mut rows),
        Record::Discussion(thread) => issue::rows(thread, "discussion", rules, &mut rows),
        Record::Pull(thread) => pull::rows(thread, rules, &mut rows),
        Record::Document(document) => document::rows(document, rules, &mut rows),
        Record::Row(row) => rows.row(row.clone()),
        Record::Correction(correction) => rows.correction(correction.clone()),
    }
    rows
}

#[cfg(test)]
mod tests;
