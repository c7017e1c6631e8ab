//! `tunesmith diff`: two builds beside each other.
//!
//! `--json` writes one object `diff` for each node that differs: `node`, `change` (`changed`, `new`, `gone`), `outcome` in
//! the later run, `differences` (what it was built from, as `explain` has them; nothing where the store no longer knows),
//! `metrics` (each `field`, `old`, `new`) and `outputs` (each `output`, `old`, `new` digest, `records`: counts and first
//! ids of rows `added`, `edited`, `removed`, and `rows`, as many as `--rows` says: each `id`, `old`, `new`, the row or
//! `null`); at the end one object `diff-runs`: `old`, `new`, `differing`, `same`. A node that a run did not select counts
//! with what it had at that time. A row is shown where it first differs: the filters after that only pass it on.

mod rows;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::rows::Rows;
use super::session::Session;
use super::{CliError, Context, Execute, Exit};
use crate::engine::{
    Change, Difference, EngineError, Mode, RecordChanges, RowChange, RowChanges, RunEntry, RunLog, differences,
    record_changes, row_changes,
};
use crate::store::{Artifact, Digest, Store};

/// Earlier runs that are looked at for a node that a run did not select.
const LOOKED_BACK: usize = 50;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Diff {
    /// The earlier run; by default the last but one
    old: Option<u64>,
    /// The later run; by default the last one
    new: Option<u64>,
    /// Show this many rows of each output that differ, or `all`
    #[arg(long, value_name = "N", default_value = "3")]
    rows: Rows,
}

/// What differs in one node.
#[derive(Debug, Serialize)]
struct NodeDiff<'a> {
    node: &'a str,
    change: Change,
    /// What became of it in the later run.
    outcome: Option<&'a str>,
    differences: Option<Vec<Difference>>,
    metrics: Vec<Metric<'a>>,
    outputs: Vec<OutputDiff<'a>>,
}

/// What of rows is shown.
struct Shown {
    /// How many of each output.
    limit: Rows,
    /// Those of the nodes before.
    ids: BTreeSet<String>,
}

#[derive(Debug, Serialize)]
struct Metric<'a> {
    field: &'a str,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
}

#[derive(Debug, Serialize)]
struct OutputDiff<'a> {
    output: &'a str,
    old: Option<Digest>,
    new: Option<Digest>,
    records: Option<RecordChanges>,
    /// The first of those that differ at no node before.
    rows: Vec<RowChange>,
    /// The ids of all of them.
    #[serde(skip)]
    ids: Vec<String>,
}

impl Execute for Diff {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open(context, Mode::default())?;
        let (old, new) = self.runs(&session.store)?;
        context.output.line(format_args!("run {} → run {}", old.run, new.run));
        let (mut differing, mut same) = (0, 0);
        let mut shown = Shown { limit: self.rows, ids: BTreeSet::new() };
        let history = History::of(&session.store, &old, &new)?;
        for name in names(&old, &new) {
            let before = history.result_run(&old, name);
            let is_known = new.node(name).is_some() || session.project.graph.find(name).is_some();
            let now = if is_known { history.result_run(&new, name) } else { None };
            match node_diff(&session.store, before, now, name, &shown)? {
                Some(mut diff) => {
                    differing += 1;
                    for_people(context, &diff, self.rows);
                    context.output.json(&json!({ "diff": diff }));
                    shown.ids.extend(diff.outputs.iter_mut().flat_map(|output| std::mem::take(&mut output.ids)));
                }
                None => same += 1,
            }
        }
        context.output.line(format_args!("{differing} differ, {same} are the same"));
        context.output.json(&json!({"diff-runs": {
            "old": old.run, "new": new.run, "differing": differing, "same": same,
        }}));
        Ok(Exit::Done)
    }
}

impl Diff {
    fn runs(&self, store: &Store) -> Result<(RunLog, RunLog), EngineError> {
        let new = RunLog::read(store, self.new)?;
        let before = RunLog::numbers(store)?.into_iter().rev().find(|run| *run < new.run);
        let old = self.old.or(before).ok_or_else(|| EngineError::UnknownRun {
            run: 2,
            help: "only one build was run, so there is nothing to compare it with".to_owned(),
        })?;
        Ok((RunLog::read(store, Some(old))?, new))
    }
}

/// Returns the nodes with a result in either run: those of the later one in its order, then those that are gone.
fn names<'a>(old: &'a RunLog, new: &'a RunLog) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    let entries = new.nodes.iter().chain(&old.nodes);
    entries.map(|entry| entry.node.as_str()).filter(|name| seen.insert(*name)).collect()
}

/// Runs before those that are compared, for nodes that these did not look at.
struct History {
    /// The newest first.
    logs: Vec<RunLog>,
}

impl History {
    /// Reads what is needed: nothing where both runs looked at the same nodes.
    fn of(store: &Store, old: &RunLog, new: &RunLog) -> Result<Self, EngineError> {
        let nodes = |log: &RunLog| log.nodes.iter().map(|entry| entry.node.clone()).collect::<BTreeSet<String>>();
        let mut logs = Vec::new();
        if nodes(old) != nodes(new) {
            let numbers = RunLog::numbers(store)?.into_iter().rev().filter(|run| *run < new.run);
            for run in numbers.take(LOOKED_BACK) {
                logs.push(RunLog::read(store, Some(run))?);
            }
        }
        Ok(Self { logs })
    }

    /// Returns the run that a node's result at the time of `log` is from: this one, or an earlier one where this one
    /// did not look at the node.
    fn result_run<'l>(&'l self, log: &'l RunLog, name: &str) -> Option<&'l RunLog> {
        let has = |log: &RunLog| log.node(name).is_some();
        let mut earlier = self.logs.iter().filter(|earlier| earlier.run < log.run && earlier.profile == log.profile);
        if has(log) { Some(log) } else { earlier.find(|earlier| has(earlier)) }
    }
}

/// Returns what differs in a node; `None` when nothing does, or when neither run has a result of it.
fn node_diff<'a>(
    store: &Store,
    old: Option<&'a RunLog>,
    new: Option<&'a RunLog>,
    name: &'a str,
    shown: &Shown,
) -> Result<Option<NodeDiff<'a>>, EngineError> {
    let entry = |log: Option<&'a RunLog>| log.and_then(|log| log.node(name));
    let outcome = entry(new).map(|entry| entry.outcome.as_str());
    let with_result = |log: Option<&'a RunLog>| entry(log).filter(|entry| entry.key.is_some());
    let (before, now) = (with_result(old), with_result(new));
    let change = match (before, now) {
        (None, None) => return Ok(None),
        (Some(before), Some(now)) if before.key == now.key && before.outputs == now.outputs => return Ok(None),
        (Some(_), Some(_)) => Change::Changed,
        (None, Some(_)) => Change::New,
        (Some(_), None) => Change::Gone,
    };
    let trace = |log: Option<&RunLog>| log.map_or(Ok(None), |log| log.trace(store, name));
    let differences = match (trace(old)?, trace(new)?) {
        (Some(old), Some(new)) => Some(differences(store, &old, &new)?),
        _ => None,
    };
    let outputs = output_diffs(store, before, now, shown)?;
    Ok(Some(NodeDiff { node: name, change, outcome, differences, metrics: metrics(before, now), outputs }))
}

fn metrics<'a>(old: Option<&'a RunEntry>, new: Option<&'a RunEntry>) -> Vec<Metric<'a>> {
    let entries = [old, new];
    let fields: BTreeSet<&str> =
        entries.into_iter().flatten().flat_map(|entry| entry.fields.keys()).map(String::as_str).collect();
    let value = |entry: Option<&'a RunEntry>, field: &str| entry.and_then(|entry| entry.fields.get(field));
    let metrics = fields.into_iter().map(|field| Metric { field, old: value(old, field), new: value(new, field) });
    metrics.filter(|metric| metric.old != metric.new).collect()
}

fn output_diffs<'a>(
    store: &Store,
    old: Option<&'a RunEntry>,
    new: Option<&'a RunEntry>,
    shown: &Shown,
) -> Result<Vec<OutputDiff<'a>>, EngineError> {
    let names: BTreeSet<&str> =
        [old, new].into_iter().flatten().flat_map(|entry| entry.outputs.keys()).map(String::as_str).collect();
    let mut diffs = Vec::new();
    for output in names {
        let artifact = |entry: Option<&'a RunEntry>| entry.and_then(|entry| entry.outputs.get(output));
        let (before, now) = (artifact(old), artifact(new));
        if before == now {
            continue;
        }
        let (records, rows) = match (before, now) {
            (Some(before), Some(now)) => {
                let rows = row_changes(store, before, now, &shown.ids, shown.limit.limit())?;
                (record_changes(store, before, now)?, rows)
            }
            _ => (None, RowChanges::default()),
        };
        let (old, new) = (before.map(Artifact::digest), now.map(Artifact::digest));
        diffs.push(OutputDiff { output, old, new, records, rows: rows.first, ids: rows.ids });
    }
    Ok(diffs)
}

fn for_people(context: &mut Context<'_>, diff: &NodeDiff<'_>, limit: Rows) {
    let output = &mut *context.output;
    match diff.outcome {
        Some(outcome) if diff.change == Change::Gone => {
            output.line(format_args!("{} has no result now: {outcome}", diff.node));
        }
        _ => output.line(format_args!("{} {}", diff.node, diff.change)),
    }
    match &diff.differences {
        Some(differences) => differences.iter().for_each(|difference| output.line(format_args!("  {difference}"))),
        None if diff.change == Change::Changed => {
            output.line("  the store no longer knows what one of the two was built from");
        }
        None => {}
    }
    for Metric { field, old, new } in &diff.metrics {
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        output.line(format_args!("  {field}: {} → {}", text(*old), text(*new)));
    }
    for OutputDiff { output: name, old, new, records, rows, ids } in &diff.outputs {
        let short = |digest: &Option<Digest>| digest.as_ref().map_or_else(|| "nothing".to_owned(), Digest::short);
        match records {
            Some(records) => output.line(format_args!("  output {name}: {records}")),
            None => output.line(format_args!("  output {name}: {} → {}", short(old), short(new))),
        }
        rows::tell(output, rows, ids.len(), limit);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::Exit;
    use crate::cli::testing::{Space, rows};

    #[test]
    fn two_builds_differ_in_settings_metrics_and_rows() {
        let space = Space::new();
        space.done(&["build"]);
        space.write("notes.jsonl", &rows(&["alpha", "beta", "gamma", "delta", "epsilon"]));
        space.done(&["build"]);
        let said = space.done(&["diff"]);
        assert!(said.out.starts_with("run 1 → run 2\nnotes changed\n  file notes.jsonl changed\n"), "{}", said.out);
        assert!(said.out.contains("  records: 4 → 5\n"), "{}", said.out);
        assert!(said.out.contains("  output rows: 1 record added (epsilon"), "{}", said.out);
        let objects = space.done(&["diff", "1", "2", "--json"]).objects("diff");
        assert_eq!((&objects[1]["node"], &objects[1]["change"]), (&json!("pairs"), &json!("changed")));
        assert_eq!(objects[1]["outputs"][0]["records"]["added"]["count"], json!(1));
    }

    #[test]
    fn rows_that_came_went_and_were_edited_are_shown_as_text_where_they_first_differ() {
        let space = Space::new();
        space.done(&["build"]);
        space.write("notes.jsonl", &rows(&["beta", "gamma", "delta", "epsilon"]).replace("word beta", "name beta"));
        space.done(&["build"]);
        let said = space.done(&["diff", "--rows", "all"]).out;
        let text = "    - alpha\n    - user: What does the word alpha stand for in this project?\n";
        assert!(said.contains(text), "{said}");
        let text = "    ~ beta\n    ~ user: What does the [-word-]{+name+} beta stand for in this project?\n";
        assert!(said.contains(text), "{said}");
        assert!(said.contains("    + epsilon\n    + user: What does the word epsilon stand"), "{said}");
        assert_eq!(said.matches("+ epsilon").count(), 1, "{said}");
        let few = space.done(&["diff", "--rows", "1"]).out;
        assert!(few.contains("    … and 2 more rows: --rows all\n") && !few.contains("~ beta"), "{few}");
        assert!(!space.done(&["diff", "--rows", "0"]).out.contains("alpha stand"));
        let objects = space.done(&["diff", "--rows", "2", "--json"]).objects("diff");
        let rows = objects[0]["outputs"][0]["rows"].as_array().unwrap();
        assert_eq!((rows.len(), &rows[0]["id"], &rows[0]["new"]), (2, &json!("alpha"), &json!(null)));
        space.refused(&["diff", "--rows", "some"], Exit::Wrong, "a number, or `all`");
    }

    #[test]
    fn an_input_that_a_run_did_not_select_is_named_by_the_run_that_built_it() {
        let space = Space::new();
        space.done(&["build"]);
        space.edit("pipeline.toml", "eval = 0.5", "eval = 0.25");
        space.done(&["build", "--from", "dataset"]);
        let said = space.done(&["diff"]);
        assert!(said.out.contains("dataset changed\n  setting eval: 0.5 → 0.25\n"), "{}", said.out);
        assert!(said.out.ends_with("1 differ, 2 are the same\n"), "{}", said.out);
    }

    #[test]
    fn a_node_that_failed_and_one_that_was_taken_out_are_told_apart() {
        let space = Space::new();
        space.done(&["build"]);
        space.write("notes.jsonl", "no JSON\n");
        assert_eq!(space.run(&["build"]).exit, Exit::Failed);
        assert!(space.done(&["diff"]).out.contains("notes has no result now: failed\n"));
        space.write("notes.jsonl", &rows(&["alpha"]));
        space.edit("pipeline.toml", "[filter.dataset]\ntype = \"split\"\nfrom = [\"pairs\"]\neval = 0.5\n", "");
        space.done(&["build"]);
        assert!(space.done(&["diff", "1", "3"]).out.contains("dataset is gone\n"));
    }

    #[test]
    fn nothing_differs_between_builds_of_the_same() {
        let space = Space::new();
        space.done(&["build"]);
        space.done(&["build", "--force", "notes"]);
        assert_eq!(space.done(&["diff"]).out, "run 1 → run 2\n0 differ, 3 are the same\n");
    }

    #[test]
    fn one_build_alone_is_refused_and_one_without_news_is_none() {
        let space = Space::new();
        space.done(&["build"]);
        assert_eq!(space.done(&["build", "--json"]).object("build")["run"], json!(null));
        space.refused(&["diff"], Exit::Wrong, "nothing to compare");
        space.refused(&["diff", "5", "1"], Exit::Wrong, "run 5 is not kept");
    }
}
