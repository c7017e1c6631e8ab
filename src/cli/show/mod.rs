//! `tunesmith show`: what a node has.
//!
//! `--json` writes one object `show`: `node`, `kind`, `state` (`fresh`, `stale`, `never-built`), `key`, `outputs` (each
//! `output`, `digest`, `bytes`, and `records` or `files` where it has them), `fields`, `report` (each `what`, `count`),
//! `provenance`, `reads`, `settings`. With `--rows` or `--row`, one object `row` for each: the record in its stored form;
//! with `--tokens` also what training sees of it: see the submodule `tokens`. A row that a filter left out is followed by
//! one object `dropped`: `id` and `reasons` (each `what`, `count`), or `null` where they cannot be told.

#[cfg(not(feature = "train"))]
mod absent;
#[cfg(feature = "train")]
mod tokens;

use std::fmt::Write as _;

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::lineage::Reasons;
use super::session::Session;
use super::{CliError, Context, Execute, Exit};
use crate::engine::{EngineError, Explanation, Known, Mode, Standing, explain};
use crate::graph::NodeIndex;
use crate::node::filter::is_dropped;
use crate::record::{Conversation, Record, RecordSet, Role};
use crate::store::{Artifact, Provenance};

#[cfg(not(feature = "train"))]
use absent::Inspector;
#[cfg(feature = "train")]
use tokens::Inspector;

/// Dropped rows of which the reason is told, beside those that are named: each costs a run of the filter.
const EXPLAINED: usize = 20;

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The node
    node: String,
    /// Show this many of its rows too
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    /// Show the row with this id; can be given several times
    #[arg(long, value_name = "ID")]
    row: Vec<String>,
    /// Show the rows' tokens and which are trained, and count over all rows
    #[arg(long)]
    tokens: bool,
    /// The output whose rows are shown
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
}

impl Execute for Show {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open(context, Mode::default())?;
        let index = session.node(&self.node)?;
        let output = self.output.as_deref().map(|name| session.output(index, Some(name))).transpose()?;
        let explanation = explain(&session.resolver(), index)?;
        let provenance = match &explanation.known {
            Some(known) => session.store.action(&known.key).map_err(EngineError::from)?.map(|record| record.provenance),
            None => None,
        };
        let shown = Shown { session: &session, index, explanation: &explanation, provenance };
        shown.for_people(context);
        context.output.json(&json!({ "show": shown.for_programs() }));
        if self.rows.is_some() || self.tokens || !self.row.is_empty() {
            let output = output.map_or_else(|| session.output(index, None), Ok)?;
            self.show_rows(context, &session, &explanation, index, &output)?;
        }
        Ok(Exit::Done)
    }
}

impl Show {
    /// Shows the rows of an output that were asked for.
    fn show_rows(
        &self,
        context: &mut Context<'_>,
        session: &Session<'_>,
        explanation: &Explanation,
        index: NodeIndex,
        output: &str,
    ) -> Result<(), CliError> {
        let node = session.project.graph[index].name.clone();
        let Some(known) = &explanation.known else { return Err(CliError::NeverBuilt { node }) };
        let Some(Artifact::Records(records)) = known.outputs.get(output) else {
            return Err(CliError::NoRows { node, output: output.to_owned() });
        };
        let set = RecordSet::open(&session.store, records).map_err(EngineError::from)?;
        let mut shown = Vec::new();
        for id in &self.row {
            let record = set.get(id).map_err(EngineError::from)?;
            shown.push(record.ok_or_else(|| CliError::NoSuchRow {
                node: node.clone(),
                output: output.to_owned(),
                row: id.escape_debug().to_string(),
            })?);
        }
        for record in set.records().take(self.rows.unwrap_or(0)) {
            shown.push(record.map_err(EngineError::from)?);
        }
        let inspector = if self.tokens { Some(Inspector::open(session, index)?) } else { None };
        let resolver = session.resolver();
        let is_dropped = is_dropped(resolver.kind(&session.project.graph[index])?.info(), output);
        for (n, record) in shown.iter().enumerate() {
            context.output.line(format_args!("\n{}", plain(&text(record))));
            context.output.json(&json!({ "row": record }));
            if is_dropped && n < EXPLAINED.max(self.row.len()) {
                let reasons = Reasons::of(&resolver, index, record.id())?;
                context.output.line(format_args!("→ {}", plain(&reasons.for_people())));
                context.output.json(&json!({ "dropped": { "id": record.id(), "reasons": reasons.for_programs() } }));
            }
            inspector.as_ref().map_or(Ok(()), |inspector| inspector.show(context, record))?;
        }
        inspector.map_or(Ok(()), |inspector| inspector.audit(context, &set))
    }
}

struct Shown<'a> {
    session: &'a Session<'a>,
    index: NodeIndex,
    explanation: &'a Explanation,
    provenance: Option<Provenance>,
}

impl Shown<'_> {
    fn state(&self) -> &'static str {
        match (&self.explanation.standing, &self.explanation.known) {
            (Standing::Fresh, _) if self.explanation.stale_inputs.is_empty() => "fresh",
            (_, Some(_)) => "stale",
            (_, None) => "never-built",
        }
    }

    fn reads(&self) -> Vec<String> {
        let graph = &self.session.project.graph;
        let colon = |output: &str| if output.is_empty() { String::new() } else { format!(":{output}") };
        let edges = graph[self.index].inputs.iter();
        edges.map(|edge| format!("{}{}", graph[edge.from].name, colon(&edge.output))).collect()
    }

    fn for_people(&self, context: &mut Context<'_>) {
        let node = &self.session.project.graph[self.index];
        let output = &mut *context.output;
        output.line(format_args!("{} ({})", node.name, node.kind_name));
        let hint = match self.state() {
            "stale" => ": this is what it gave when it was last built",
            _ => "",
        };
        output.line(format_args!("  state: {}{hint}", self.state().replace('-', " ")));
        if let Some(known) = &self.explanation.known {
            self.result_for_people(known, output);
        }
        let reads = self.reads();
        if !reads.is_empty() {
            output.line(format_args!("  reads: {}", reads.join(", ")));
        }
        if let Some(path) = &node.out {
            output.line(format_args!("  out: {path}"));
        }
        for (name, value) in node.settings.as_object().into_iter().flatten() {
            output.line(format_args!("  setting {name}: {value}"));
        }
    }

    fn result_for_people(&self, known: &Known, output: &mut super::Output) {
        output.line(format_args!("  key: {}", known.key));
        if let Some(Provenance { tunesmith, isa, device, duration_ms, threads }) = &self.provenance {
            let device = device.as_ref().map(|device| format!(" with {device}")).unwrap_or_default();
            let seconds = *duration_ms as f64 / 1000.0;
            output.line(format_args!(
                "  built: in {seconds:.1} s by tunesmith {tunesmith} on {isa}{device}, {threads} threads"
            ));
        }
        for (name, artifact) in &known.outputs {
            output.line(format_args!("  output {name}: {}, {}", described(artifact), artifact.digest()));
            if let Artifact::Folder { files } = artifact {
                for (name, file) in files {
                    output.line(format_args!("    {name}: {}, {}", HumanBytes(file.size), file.digest));
                }
            }
        }
        for (name, value) in &known.fields {
            output.line(format_args!("  field {name}: {value}"));
        }
        for (what, count) in &known.report {
            output.line(format_args!("  counted {what}: {count}"));
        }
    }

    fn for_programs(&self) -> Value {
        let node = &self.session.project.graph[self.index];
        let known = self.explanation.known.as_deref();
        let outputs: Vec<Value> = known.into_iter().flat_map(|known| &known.outputs).map(object).collect();
        let report = known.into_iter().flat_map(|known| &known.report);
        let report: Vec<Value> = report.map(|(what, count)| json!({"what": what, "count": count})).collect();
        json!({
            "node": node.name,
            "kind": node.kind_name,
            "state": self.state(),
            "key": known.map(|known| known.key),
            "outputs": outputs,
            "fields": known.map(|known| &known.fields),
            "report": report,
            "provenance": self.provenance,
            "reads": self.reads(),
            "settings": node.settings,
        })
    }
}

fn described(artifact: &Artifact) -> String {
    let size = HumanBytes(artifact.size());
    match artifact {
        Artifact::Records(records) => format!("{} records, {size}", records.count),
        Artifact::Folder { files } => format!("{} files, {size}", files.len()),
        Artifact::File(_) => format!("a file, {size}"),
    }
}

fn object((name, artifact): (&String, &Artifact)) -> Value {
    let mut object = json!({"output": name, "digest": artifact.digest(), "bytes": artifact.size()});
    match artifact {
        Artifact::Records(records) => object["records"] = json!(records.count),
        Artifact::Folder { files } => object["files"] = json!(files),
        Artifact::File(_) => {}
    }
    object
}

/// Returns a record as people read it: conversations by turn, the rest by title.
fn text(record: &Record) -> String {
    match record {
        Record::Row(row) => conversation(row),
        Record::Correction(correction) => {
            let superseded = correction.supersedes.join(", ");
            let note = if superseded.is_empty() { String::new() } else { format!("\nsupersedes {superseded}") };
            format!("{}{note}", conversation(&correction.conversation))
        }
        Record::Issue(thread) | Record::Pull(thread) | Record::Discussion(thread) => {
            let comments = thread.comments.len() + thread.reviews.iter().map(Vec::len).sum::<usize>();
            format!("{}: {} ({}, {comments} comments)", thread.id, thread.title, thread.state)
        }
        Record::Document(document) => {
            format!("{}: {} ({} characters)", document.id, document.title, document.content.chars().count())
        }
    }
}

/// Returns a row by its turns, its id first.
pub(super) fn conversation(row: &Conversation) -> String {
    let mut text = row.id.clone();
    for turn in &row.turns {
        let role = match turn.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        // Writing to a string cannot fail.
        write!(text, "\n{role}: {}", turn.text.replace('\n', "\n  ")).ok();
    }
    text
}

/// Shows control characters as what they are: fetched text must not steer the terminal.
pub(super) fn plain(text: &str) -> String {
    let shown = |c: char| -> String {
        if c.is_control() && c != '\n' && c != '\t' { c.escape_default().collect() } else { c.to_string() }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::plain;
    use crate::cli::Exit;
    use crate::cli::testing::Space;

    #[test]
    fn a_built_node_shows_outputs_counts_and_settings() {
        let space = Space::new();
        space.done(&["build"]);
        let said = space.done(&["show", "notes"]);
        assert!(said.out.starts_with("notes (source.jsonl)\n  state: fresh\n  key: "), "{}", said.out);
        assert!(said.out.contains("  output records: 4 records, "), "{}", said.out);
        assert!(said.out.contains("  setting path: \"notes.jsonl\"\n"), "{}", said.out);
        let shown = space.done(&["show", "dataset", "--json"]).object("show");
        assert_eq!((&shown["state"], &shown["reads"]), (&json!("fresh"), &json!(["pairs:rows"])));
        assert_eq!(shown["outputs"].as_array().unwrap().len(), 2);
        assert_eq!(shown["provenance"]["tunesmith"], json!(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn rows_are_conversations_by_role() {
        let space = Space::new();
        space.done(&["build"]);
        let said = space.done(&["show", "pairs", "--rows", "1"]);
        assert!(said.out.contains("\nuser: What does the word alpha stand for"), "{}", said.out);
        assert!(said.out.contains("\nassistant: In this project alpha"), "{}", said.out);
        assert!(!said.out.contains("beta"), "{}", said.out);
        assert_eq!(space.done(&["show", "pairs", "--rows", "3", "--json"]).objects("row").len(), 3);
    }

    #[test]
    fn a_row_that_a_filter_dropped_is_shown_with_the_reason() {
        let space = Space::new();
        let row = |source: &str, question: &str, answer: &str| {
            format!("{}\n", json!({"instruction": question, "output": answer, "source": source}))
        };
        let answer = "The word stands for the first of the ports that the proxy opens, counted from zero upwards.";
        space.write(
            "notes.jsonl",
            &[
                row("a", "What does the word alpha stand for?", answer),
                row("b", "What does the word alpha stand for?", &answer.to_uppercase()),
                row("c", "What does the word gamma stand for?", "Nothing."),
            ]
            .concat(),
        );
        let filters = "\n[filter.good]\ntype = \"quality\"\nfrom = [\"notes\"]\n\
                       [filter.once]\ntype = \"dedup\"\nfrom = [\"good\"]\n";
        space.edit("pipeline.toml", "eval = 0.5\n", &format!("eval = 0.5\n{filters}"));
        space.done(&["build", "once"]);
        let said = space.done(&["show", "good", "--output", "dropped", "--rows", "9"]).out;
        let why = "dropped row: answer shorter than `min-answer-characters`";
        assert!(said.contains(&format!("\nassistant: Nothing.\n→ {why}\n")), "{said}");
        assert!(!space.done(&["show", "good", "--rows", "9"]).out.contains('→'));
        let why_once = json!([{"what": "dropped row: exact duplicate", "count": 1}]);
        let said = space.done(&["show", "once", "--output", "dropped", "--row", "b", "--json"]);
        assert_eq!(said.object("dropped"), json!({"id": "b", "reasons": why_once}));
        let said = space.done(&["lineage", "b", "--json"]).object("lineage");
        assert_eq!(said["dropped"], json!([{"node": "once", "id": "b", "reasons": why_once}]));
        let said = space.done(&["lineage", "c"]).out;
        assert!(said.ends_with(&format!("dropped\n  good: c: {why}\n")), "{said}");
    }

    #[test]
    fn rows_of_a_node_without_a_result_are_refused() {
        let space = Space::new();
        assert!(space.done(&["show", "pairs"]).out.contains("state: never built"));
        space.refused(&["show", "pairs", "--rows", "1"], Exit::Failed, "`pairs` was never built");
        space.refused(&["show", "pairs", "--rows", "1", "--output", "nothing"], Exit::Wrong, "it has `rows`");
    }

    #[test]
    fn escape_sequences_of_fetched_text_are_shown_not_obeyed() {
        assert_eq!(plain("a\u{1b}[31m\nb"), "a\\u{1b}[31m\nb");
    }
}
