//! What became of the records, source by source and filter by filter: the table at the end of a build.
//!
//! It stands where something ran; of a build that found everything fresh there is nothing new to tell. `--json` writes one
//! object `counts` a node: `node`, `kind`, `state` (`built`, `fresh`), `read` (records that came in, `null` where an input
//! was not part of the build), `outputs` (each `output`, `records`), `dropped` (each `why`, `count`), all of them, and where
//! a filter tells its sources apart `sources` (each `source`, `read`, `rows`, `dropped`).

use std::collections::BTreeMap;

use console::measure_text_width;
use indicatif::HumanCount;
use serde_json::{Value, json};

use super::{Context, Output};
use crate::engine::{BuildReport, Outcome};
use crate::graph::{Graph, NodeIndex};
use crate::manifest::Family;
use crate::store::Artifact;

/// Reasons that are named of each node, the most frequent first.
const NAMED: usize = 4;
/// Nodes that have a line; a matrix over data makes hundreds.
const MOST: usize = 40;
/// Columns by which a source stands behind its node.
const INDENT: usize = 2;

/// What became of a node's records.
struct Line<'a> {
    node: &'a str,
    kind: &'a str,
    is_built: bool,
    read: Option<u64>,
    outputs: Vec<(&'a str, u64)>,
    /// Why, and how many, the most frequent first; all sources together.
    dropped: Vec<(&'a str, u64)>,
    /// Where the node counts by source.
    sources: Vec<Source<'a>>,
}

/// What became of the records of one source of a node.
struct Source<'a> {
    name: &'a str,
    read: u64,
    rows: u64,
    /// Why, and how many, the most frequent first.
    dropped: Vec<(&'a str, u64)>,
}

/// Shows the table of a build in which something ran.
pub(super) fn tell(context: &mut Context<'_>, graph: &Graph, report: &BuildReport) {
    if report.built() == 0 {
        return;
    }
    let lines = lines(graph, report);
    if context.output.is_json() {
        for line in &lines {
            context.output.json(&json!({ "counts": line.for_programs() }));
        }
    } else {
        for_people(context.output, &lines);
    }
    for line in lines.iter().filter(|line| line.is_built && line.read == Some(0)) {
        let is_optional = graph.find(line.node).is_some_and(|index| graph[index].settings["optional"] == true);
        if line.kind.starts_with("source.") && !is_optional {
            context.output.note(format_args!(
                "warning: `{}` gave no records: `tunesmith show {}` has its settings",
                line.node, line.node
            ));
        }
    }
}

fn lines<'a>(graph: &'a Graph, report: &'a BuildReport) -> Vec<Line<'a>> {
    let known = |index: NodeIndex| {
        let place = report.nodes.binary_search_by_key(&index, |node| node.index).ok()?;
        report.nodes[place].outcome.known()
    };
    let mut lines = Vec::new();
    for entry in &report.nodes {
        let node = &graph[entry.index];
        let Some(has) = entry.outcome.known().filter(|_| matches!(node.family, Family::Source | Family::Filter)) else {
            continue;
        };
        let outputs: Vec<(&str, u64)> =
            has.outputs.iter().filter_map(|(name, artifact)| Some((name.as_str(), count(artifact)?))).collect();
        if outputs.is_empty() {
            continue;
        }
        let (sources, dropped) = (sources(&has.report), dropped(&has.report));
        let read = if node.family == Family::Source {
            Some(outputs.iter().chain(&dropped).map(|(_, count)| count).sum())
        } else {
            let inputs = node.inputs.iter().filter(|edge| !edge.output.is_empty());
            let counts =
                inputs.map(|edge| known(edge.from)?.outputs.get(&edge.output).map(|set| count(set).unwrap_or(0)));
            counts.sum()
        };
        let is_built = matches!(entry.outcome, Outcome::Built { .. });
        lines.push(Line { node: &node.name, kind: &node.kind_name, is_built, read, outputs, dropped, sources });
    }
    lines
}

fn count(artifact: &Artifact) -> Option<u64> {
    match artifact {
        Artifact::Records(records) => Some(records.count),
        Artifact::File(_) | Artifact::Folder { .. } => None,
    }
}

/// Returns the remarks of a report that say why something was left out, whatever the source.
pub(super) fn dropped(report: &[(String, u64)]) -> Vec<(&str, u64)> {
    let names: Vec<&str> = names(report).collect();
    let without_name = |what| names.iter().find_map(|name| of_source(what, name)).unwrap_or(what);
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (what, count) in report {
        *reasons.entry(without_name(what.as_str())).or_default() += count;
    }
    frequent(reasons)
}

/// Returns the counts of a report by source.
fn sources(report: &[(String, u64)]) -> Vec<Source<'_>> {
    let source = |name| {
        let remarks = report.iter().filter_map(|(what, count)| Some((of_source(what, name)?, *count)));
        let remarks: BTreeMap<&str, u64> = remarks.collect();
        let count = |what| remarks.get(what).copied().unwrap_or(0);
        Source { name, read: count("read"), rows: count("rows"), dropped: frequent(remarks) }
    };
    names(report).map(source).collect()
}

/// Returns the names of the sources that a report counts by.
fn names(report: &[(String, u64)]) -> impl Iterator<Item = &str> {
    report.iter().filter_map(|(what, _)| what.strip_suffix(": read"))
}

/// Returns what a remark says of a source.
fn of_source<'w>(what: &'w str, source: &str) -> Option<&'w str> {
    what.strip_prefix(source)?.strip_prefix(": ")
}

/// Returns why something was left out, the most frequent first.
fn frequent(remarks: BTreeMap<&str, u64>) -> Vec<(&str, u64)> {
    let is_drop = |what: &str| what.starts_with("dropped") || what.starts_with("excluded");
    let mut reasons: Vec<(&str, u64)> = remarks.into_iter().filter(|(what, _)| is_drop(what)).collect();
    reasons.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    reasons
}

fn for_people(output: &mut Output, lines: &[Line<'_>]) {
    let shown = &lines[..lines.len().min(MOST)];
    let names = |line: &Line<'_>| {
        let sources = line.sources.iter().map(|source| INDENT + measure_text_width(source.name));
        sources.max().unwrap_or(0).max(measure_text_width(line.node))
    };
    let width = shown.iter().map(names).max().unwrap_or(0);
    let read = shown.iter().map(|line| line.read().len()).max().unwrap_or(0).max("read".len());
    if !shown.is_empty() {
        output.note(format_args!("{:width$}  {:>read$}  kept", "", "read"));
    }
    for line in shown {
        output.note(format_args!("{:width$}  {:>read$}  {}", line.node, line.read(), line.kept()));
        let columns = Columns { width, read, node: line.node };
        if line.sources.is_empty() {
            columns.reasons(output, &line.dropped);
        }
        for source in &line.sources {
            let (name, came) = (format!("{:INDENT$}{}", "", source.name), HumanCount(source.read).to_string());
            output.note(format_args!("{name:width$}  {came:>read$}  {}", HumanCount(source.rows)));
            columns.reasons(output, &source.dropped);
        }
    }
    if lines.len() > shown.len() {
        output.note(format_args!("… and {} more nodes: tunesmith show NODE", lines.len() - shown.len()));
    }
}

/// How a node's lines are set.
struct Columns<'a> {
    width: usize,
    read: usize,
    node: &'a str,
}

impl Columns<'_> {
    /// Names the most frequent reasons.
    fn reasons(&self, output: &mut Output, reasons: &[(&str, u64)]) {
        let Self { width, read, node } = *self;
        for (why, count) in reasons.iter().take(NAMED) {
            output.note(format_args!("{:width$}  {:>read$}  {why}", "", HumanCount(*count).to_string()));
        }
        let more = reasons.len().saturating_sub(NAMED);
        if more > 0 {
            let rest: u64 = reasons[NAMED..].iter().map(|(_, count)| count).sum();
            let rest = HumanCount(rest).to_string();
            output.note(format_args!("{:width$}  {rest:>read$}  … for {more} more reasons: tunesmith show {node}", ""));
        }
    }
}

impl Line<'_> {
    fn read(&self) -> String {
        self.read.map_or_else(|| "?".to_owned(), |read| HumanCount(read).to_string())
    }

    fn kept(&self) -> String {
        match self.outputs.as_slice() {
            [(_, count)] => HumanCount(*count).to_string(),
            several => {
                let named = several.iter().map(|(name, count)| format!("{name} {}", HumanCount(*count)));
                named.collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn for_programs(&self) -> Value {
        let outputs = self.outputs.iter().map(|(output, records)| json!({"output": output, "records": records}));
        let reasons = |dropped: &[(&str, u64)]| {
            dropped.iter().map(|(why, count)| json!({"why": why, "count": count})).collect::<Vec<_>>()
        };
        let sources = self.sources.iter().map(|Source { name, read, rows, dropped }| {
            json!({"source": name, "read": read, "rows": rows, "dropped": reasons(dropped)})
        });
        json!({
            "node": self.node,
            "kind": self.kind,
            "state": if self.is_built { "built" } else { "fresh" },
            "read": self.read,
            "outputs": outputs.collect::<Vec<_>>(),
            "dropped": reasons(&self.dropped),
            "sources": sources.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::cli::lineage::tests::built;
    use crate::cli::testing::Space;

    #[test]
    fn a_build_ends_with_what_was_read_kept_and_dropped_and_why() {
        let space = built();
        space.edit("issues.jsonl", "thanks.", "thanks!");
        let said = space.done(&["build"]).err;
        let table = "          read  kept\n\
            issues       4  4\n\
            notes        2  2\n\
            fixes        1  1\n\
            pairs        7  4\n\
            \x20 issues     4  2\n\
            \x20            1  dropped issue: only the asker commented\n\
            \x20            1  dropped row: superseded by a correction\n\
            \x20 notes      2  1\n\
            \x20            1  dropped row: superseded by a correction\n\
            \x20 fixes      1  1\n\
            dataset      4  eval 0, train 4\n";
        assert!(said.contains(table), "{said}");
    }

    #[test]
    fn a_source_that_gave_nothing_is_told() {
        let space = Space::new();
        assert!(!space.done(&["build"]).err.contains("gave no records"));
        space.write("notes.jsonl", "");
        let said = space.done(&["build"]).err;
        assert!(said.contains("warning: `notes` gave no records: `tunesmith show notes` has its settings\n"), "{said}");
    }

    #[test]
    fn what_is_excluded_counts_as_read_and_nothing_new_has_no_table() {
        let space = built();
        space.done(&["purge", "o/r#1"]);
        let said = space.done(&["build", "--json"]);
        let counts = said.objects("counts");
        let issues = &counts[0];
        assert_eq!(
            (&issues["node"], &issues["state"], &issues["read"]),
            (&json!("issues"), &json!("fresh"), &json!(4))
        );
        assert_eq!(issues["dropped"], json!([{"why": "excluded by pipeline.excluded.jsonl", "count": 1}]));
        assert_eq!((&counts[3]["state"], &counts[3]["read"]), (&json!("built"), &json!(6)));
        let of_source = |source: &Value| (source["source"].clone(), source["read"].clone(), source["rows"].clone());
        let by_source: Vec<_> = counts[3]["sources"].as_array().unwrap().iter().map(of_source).collect();
        assert_eq!(by_source[1], (json!("notes"), json!(2), json!(1)));
        assert_eq!(by_source[2], (json!("fixes"), json!(1), json!(1)));
        assert!(space.done(&["build", "--json"]).objects("counts").is_empty());
    }

    #[test]
    fn many_reasons_are_cut_and_said_where_to_find() {
        let space = Space::new();
        let comments = |author: &str, body: &str| json!([{"author": author, "body": body}]);
        let long = "word ".repeat(60);
        let issues = [
            (json!("bot[bot]"), comments("a", &long)),
            (json!("asker"), json!([])),
            (json!("asker"), comments("asker", &long)),
            (json!("asker"), comments("ci[bot]", &long)),
            (json!("asker"), comments("helper", "short")),
            (
                json!("asker"),
                comments(
                    "helper",
                    "Which version do you use of all the ones that there are, and where did you get it from, and what does its log say about it?",
                ),
            ),
        ];
        let lines = issues.iter().enumerate().map(|(number, (author, comments))| {
            let issue = json!({"repo": "o/r", "number": number, "title": "A title that is long enough", "author": author,
                "body": long, "comments": comments});
            format!("{issue}\n")
        });
        space.write("notes.jsonl", &lines.collect::<String>());
        space.edit("pipeline.toml", "type = \"jsonl\"", "type = \"jsonl\"\nas = \"issues\"");
        let said = space.done(&["build"]).err;
        assert_eq!(said.matches("  dropped issue: ").count(), 4, "{said}");
        assert!(said.contains("  2  … for 2 more reasons: tunesmith show pairs\n"), "{said}");
    }
}
