//! `source.jsonl`: records from JSON lines that people already have.
//!
//! The file is cut into content-defined runs of lines; what a run holds is memoised by its digest. Lines that share an
//! id are found by their hashes, and the former record set is edited by the runs that differ, so that an edit of one line
//! costs one run's reading. A reading's memory grows with the number of records, not with their length.

mod error;
mod read;
mod resolve;
mod run;
mod spool;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use error::JsonlError;
use read::{Facts, Reader, content_hash, lines};
use resolve::{Fate, Resolved, Tally, resolve};
use run::{Span, each_run};
use spool::{Place, Spool};
use write::anew;

use crate::node::source::text::Text;
use crate::node::{
    Content, Count, Determinism, Family, FileInput, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run,
    SettingProblem, Weight, settings,
};
use crate::record::{FieldMap, Form, Line, Record, edit, is_whole, recall, remember, write_lines};
use crate::store::{Artifact, Digest, RecordsRef, Store};

/// The kind.
#[derive(Debug)]
pub(super) struct Jsonl;

/// History: 1, the first; 2, rows of one document have one thread, whatever part of it they were made from.
const VERSION: u32 = 2;

static INFO: KindInfo = KindInfo {
    family: Family::Source,
    name: "jsonl",
    version: VERSION,
    summary: "JSON lines that you already have: rows, issues, pull requests or documents (`.gz` and `.zst` too)",
    inputs: &[],
    outputs: &[OutputInfo { name: "records", content: Content::Records }],
    fields: &["records"],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: false,
};

/// Settings of `source.jsonl`.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// The file, relative to the manifest; gzip and Zstandard are recognised by their content.
    path: String,
    /// What each line holds.
    #[serde(rename = "as", default = "rows")]
    form: Form,
    /// What the fields of foreign rows or documents are called, such as `{ question = "prompt", answer = "reply" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    map: Option<FieldMap>,
    /// The repository of records that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repo: Option<String>,
    /// Whether the file may be absent; the node then yields no records.
    #[serde(default)]
    optional: bool,
    /// What to do with a line that is no record: end the run, or leave it out and count it. A last line that its writer
    /// did not finish is left out and counted in either case.
    #[serde(default)]
    on_bad_line: OnBadLine,
}

/// What to do with a line that is no record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OnBadLine {
    /// End the run.
    #[default]
    Fail,
    /// Leave it out and count it.
    Skip,
}

const fn rows() -> Form {
    Form::Rows
}

impl Kind for Jsonl {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let canonical = settings::canonical::<Settings>(settings)?;
        let problems = Settings::deserialize(&canonical).map(|settings| settings.problems()).unwrap_or_default();
        if problems.is_empty() { Ok(canonical) } else { Err(problems) }
    }

    fn outside_key(&self) -> &'static [&'static str] {
        &["path", "optional"]
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        super::one_file(settings)
    }

    /// Rows are told apart from other records before anything runs: filters and trainers may read them as they are.
    fn outputs(&self, settings: &Value) -> Vec<(String, Content)> {
        let form = settings.get("as").and_then(Value::as_str);
        let content = if form == Some("rows") { Content::Rows } else { Content::Records };
        vec![("records".into(), content)]
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let (records, report) = match run.files("path").next() {
            Some(file) => read_file(run, &file.path, &settings)?,
            None => (write_lines(run.store, Vec::new())?, Vec::new()),
        };
        Ok(Outcome {
            outputs: BTreeMap::from([("records".into(), Artifact::Records(records))]),
            fields: BTreeMap::from([("records".into(), json!(records.count))]),
            report,
        })
    }
}

impl Settings {
    /// Returns a problem for each mapped field that what the file holds does not have.
    fn problems(&self) -> Vec<SettingProblem> {
        let unused = self.map.as_ref().map(|map| map.unused(self.form)).unwrap_or_default();
        let help = match self.form {
            Form::Rows => {
                "rows have `question`, `answer`, `context`, `system`, `messages`, `role`, `content`, `roles`, `id`, `source`, `thread`, `weight`"
            }
            Form::Documents => "documents have `repo`, `path`, `title`, `content`, `url`",
            _ => "`map` serves `as = \"rows\"` and `as = \"documents\"`",
        };
        let problem = |field: &str| {
            let message = format!("what this file holds has no field `{field}`");
            let problem = SettingProblem::new(&["map", field], "settings::unused_field", message, help);
            SettingProblem { label: "serves nothing".into(), ..problem }
        };
        unused.into_iter().map(problem).collect()
    }
}

/// Reads a file into a record set, with counted remarks.
fn read_file(run: &Run<'_>, path: &Path, settings: &Settings) -> Result<(RecordsRef, Vec<Count>), JsonlError> {
    let store: &Store = run.store;
    fs_err::create_dir_all(run.scratch())?;
    let (text, spool) = (&Text::open(path, run.scratch())?, &Spool::new(run.scratch())?);
    let Settings { form, map, repo, on_bad_line, .. } = settings;
    let scope = Digest::of(format!("source.jsonl {VERSION} {}", json!([form, map, repo, on_bad_line])).as_bytes());
    let map = map.as_ref();
    let skips_bad_lines = *on_bad_line == OnBadLine::Skip;
    let reader = Reader { store, scope, path, text, spool, form: *form, map, repo: repo.as_deref(), skips_bad_lines };

    let (mut spans, mut digests, mut facts, mut places) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (span, (digest, of_run, lines)) in each_run(text, |run| reader.facts(run))? {
        spans.push(span);
        digests.push(digest);
        facts.push(of_run);
        places.push(lines);
    }
    let (resolved, tally) = resolve(*form, &digests, &facts);
    let report = report(&facts, tally);
    drop(facts);
    let pieces = spans.into_iter().zip(resolved).zip(places);
    let pieces = pieces.map(|((span, resolved), places)| Piece { span, resolved, places }).collect();
    Ok((assemble(&reader, pieces)?, report))
}

fn report(facts: &[Facts], tally: Tally) -> Vec<Count> {
    let sum = |of: fn(&Facts) -> u64| facts.iter().map(of).sum::<u64>();
    let counts = [
        ("dropped: identical line", tally.identical),
        ("dropped: a later line has the same id", tally.superseded),
        ("dropped: line is no record", sum(|facts| facts.bad)),
        ("dropped: line was not written to its end", sum(|facts| facts.torn)),
        ("dropped turn: a tool is called or answers", sum(|facts| facts.tool_turns)),
        ("kept with a number: another row has the same source", tally.numbered),
    ];
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    counts.map(|(what, count)| Count { what: what.into(), count }).collect()
}

/// A run of the file.
struct Piece {
    span: Span,
    resolved: Resolved,
    /// Where its lines are, when it was read just now.
    places: Option<Vec<Place>>,
}

/// A former reading: the memo of its resolved runs, and the set that they gave.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Past {
    runs: Digest,
    output: RecordsRef,
}

/// Returns the record set of a file's runs.
fn assemble(reader: &Reader<'_>, pieces: Vec<Piece>) -> Result<RecordsRef, JsonlError> {
    let state = serde_json::to_vec(&pieces.iter().map(|piece| &piece.resolved).collect::<Vec<_>>())?;
    let name = Digest::of(&state);
    let output = match former(reader, &name)? {
        Some((past, _)) if past.runs == name => past.output,
        Some((past, runs)) => match change(reader, &pieces, runs)? {
            Some(change) => change.apply(reader, pieces, &past.output)?,
            None => anew(reader, pieces)?,
        },
        None => anew(reader, pieces)?,
    };
    reader.keep("runs", name, state)?;
    remember(reader.store, reader.part("readings"), Past { runs: name, output })?;
    Ok(output)
}

/// Returns the reading of the same runs, or the newest one, if its set is still in the store.
fn former(reader: &Reader<'_>, name: &Digest) -> Result<Option<(Past, BTreeSet<Resolved>)>, JsonlError> {
    let mut readings: Vec<Past> = recall(reader.store, &reader.part("readings"))?;
    readings.sort_by_key(|past| past.runs != *name);
    for past in readings {
        let state = reader.store.memo(&reader.part("runs"), &past.runs)?;
        if let Some(runs) = state.and_then(|state| serde_json::from_slice(&state).ok())
            && is_whole(reader.store, &past.output)?
        {
            return Ok(Some((past, runs)));
        }
    }
    Ok(None)
}

/// Runs of which an edit holds all lines in memory.
const MOST_EDITED: usize = 512;

/// What differs from a former reading.
struct Change {
    /// The runs of the former reading. Two equal runs hold equal lines, all dropped in one of them, so a set will do.
    former: BTreeSet<Resolved>,
    /// Ids of the runs that are gone, with the hash of the content where it is known.
    removed: BTreeMap<String, Option<u64>>,
}

/// Returns what differs from a former reading; nothing when that is much of it or its memo is gone.
fn change(reader: &Reader<'_>, pieces: &[Piece], former: BTreeSet<Resolved>) -> Result<Option<Change>, JsonlError> {
    let ours: BTreeSet<&Resolved> = pieces.iter().map(|piece| &piece.resolved).collect();
    let gone: Vec<&Resolved> = former.iter().filter(|run| !ours.contains(run)).collect();
    let fresh = ours.iter().filter(|run| !former.contains(run)).count();
    if gone.len() * 2 > former.len().max(8) || fresh > MOST_EDITED {
        return Ok(None);
    }
    let mut removed = BTreeMap::new();
    for run in gone {
        let Some((ids, facts)) = reader.former(&run.run)? else { return Ok(None) };
        for (at, (id, fact)) in ids.into_iter().zip(facts.records).enumerate() {
            let (id, content) = match run.fate(at) {
                Some(Fate::Dropped) => continue,
                Some(Fate::Numbered(n)) => (numbered_id(&id, n), None),
                None => (id, Some(fact.content)),
            };
            removed.insert(id, content);
        }
    }
    Ok(Some(Change { former, removed }))
}

impl Change {
    /// Edits the set of the former reading.
    fn apply(self, reader: &Reader<'_>, pieces: Vec<Piece>, base: &RecordsRef) -> Result<RecordsRef, JsonlError> {
        let Self { former, mut removed } = self;
        let fresh = pieces.into_iter().filter(|piece| !former.contains(&piece.resolved)).collect();
        let mut inserted = lines_of(reader, fresh)?;
        // A record that only moved from one run to another is no change.
        inserted.retain(|line| match removed.get(line.id()) {
            Some(Some(content)) if *content == content_hash(line) => {
                removed.remove(line.id());
                false
            }
            _ => true,
        });
        Ok(edit(reader.store, base, &removed.into_keys().collect(), inserted)?)
    }
}

/// Returns the lines that are taken from a few runs, in order of the file.
fn lines_of(reader: &Reader<'_>, pieces: Vec<Piece>) -> Result<Vec<Line<'static>>, JsonlError> {
    let lines = pieces.into_par_iter().map(|Piece { span, resolved, .. }| {
        let text = reader.read_again(span, &resolved.run)?;
        let taken = lines(&text)?.into_iter().enumerate().filter_map(|(at, line)| match resolved.fate(at) {
            None => Some(Ok(line.into_owned())),
            Some(Fate::Dropped) => None,
            Some(Fate::Numbered(n)) => Some(numbered(&line, n)),
        });
        taken.collect::<Result<Vec<_>, JsonlError>>()
    });
    Ok(lines.collect::<Result<Vec<_>, JsonlError>>()?.into_iter().flatten().collect())
}

fn numbered_id(id: &str, n: u32) -> String {
    format!("{id}~{n}")
}

/// Returns the line of a row with a number at its id. Its thread stays.
fn numbered(line: &Line<'_>, n: u32) -> Result<Line<'static>, JsonlError> {
    let mut record = line.record()?;
    if let Record::Row(row) = &mut record {
        row.id = numbered_id(&row.id, n);
    }
    Ok(Line::of(&record)?)
}

#[cfg(test)]
mod tests;
