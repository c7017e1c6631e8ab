//! `tunesmith correct`: write down the right answer where a row is wrong.
//!
//! One line is added to the file of a `source.corrections` node. It takes the place of rows with the same question and
//! of those that `--supersedes` names by the id of the row, of its thread or of a record that it came from.
//!
//! `--json` writes one object `correct`: `node`, `file`, `line` (its number), `id`, `is-new` (`false` when the file had it
//! already), `supersedes` (each `node`, `row`, `by`: `question` or the id that names it) as of the last build, `unknown`
//! (ids that name no row of it), `next` (the command that takes it into account).

use std::io::{self, BufRead, IsTerminal as _, Read as _, Write as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::session::Session;
use super::{CliError, Context, Execute, Exit, Output};
use crate::engine::{EngineError, Mode};
use crate::graph::NodeIndex;
use crate::node::filter::{Ground, grounds};
use crate::node::source::parse_corrections;
use crate::record::{Correction, Record, RecordSet};
use crate::store::Artifact;

/// The line that ends a text which is typed in.
const END: &str = ".";
/// Rows that are named to people.
const MOST_SHOWN: usize = 20;

/// Arguments of `correct`.
#[derive(Debug, clap::Args)]
pub(super) struct Correct {
    /// The node of the corrections, where there are several
    node: Option<String>,
    /// The question; without it you are asked
    #[arg(long, value_name = "TEXT")]
    question: Option<String>,
    /// The right answer; without it you are asked
    #[arg(long, value_name = "TEXT")]
    answer: Option<String>,
    /// A row, thread or record whose rows it replaces, beside rows with the same question; may be repeated
    #[arg(long, value_name = "ID")]
    supersedes: Vec<String>,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How often it counts; 1 unless you say otherwise
    #[arg(long, value_name = "NUMBER", value_parser = weight)]
    weight: Option<f64>,
}

/// A row of the last build that a correction replaces.
struct Replaced {
    node: String,
    row: String,
    by: String,
}

/// What adding a line came to.
struct Added {
    correction: Correction,
    line: usize,
    is_new: bool,
}

impl Execute for Correct {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open(context, Mode::default())?;
        let index = self.find(&session)?;
        let node = &session.project.graph[index];
        let file = node.settings.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
        let question = text(self.question.as_ref(), "question", context.output)?;
        let answer = text(self.answer.as_ref(), "answer", context.output)?;
        let added = add(&session.project.root.join(&file), &self.line(&question, &answer))?;
        let readers = readers(&session, index);
        let (replaced, unknown) = replaced(&session, &readers, &added.correction)?;
        let next = match readers.as_slice() {
            [reader] => format!("tunesmith build {}", session.project.graph[*reader].name),
            _ => "tunesmith build".to_owned(),
        };
        let output = &mut *context.output;
        let place = format!("{file}:{}", added.line);
        if added.is_new {
            output.line(format_args!("{place}: added correction {}", added.correction.conversation.id));
        } else {
            output.line(format_args!("{place}: this correction is there already"));
        }
        tell(output, &replaced, &unknown);
        if readers.is_empty() {
            let node = &node.name;
            output.note(format_args!("no filter reads `{node}`: put it into `from` of the one that makes rows"));
        } else {
            output.line(format_args!("next: `{next}`"));
        }
        let supersedes: Vec<Value> =
            replaced.iter().map(|it| json!({"node": it.node, "row": it.row, "by": it.by})).collect();
        output.json(&json!({"correct": {
            "node": node.name, "file": file, "line": added.line, "id": added.correction.conversation.id,
            "is-new": added.is_new, "supersedes": supersedes, "unknown": unknown, "next": next,
        }}));
        Ok(Exit::Done)
    }
}

impl Correct {
    /// Returns the node that was named, or the only one there is.
    fn find(&self, session: &Session<'_>) -> Result<NodeIndex, CliError> {
        let graph = &session.project.graph;
        let is_right = |index: &NodeIndex| graph[*index].kind_name == "source.corrections";
        if let Some(name) = &self.node {
            let index = session.node(name)?;
            let (node, kind) = (graph[index].name.clone(), graph[index].kind_name.clone());
            return if is_right(&index) { Ok(index) } else { Err(CliError::NotCorrections { node, kind }) };
        }
        let found: Vec<NodeIndex> = graph.indices().filter(is_right).collect();
        match found.as_slice() {
            [] => Err(CliError::NoCorrections),
            [index] => Ok(*index),
            several => {
                let names = several.iter().map(|index| graph[*index].name.clone()).collect();
                Err(CliError::SeveralCorrections { names })
            }
        }
    }

    /// Returns the line to add.
    fn line(&self, question: &str, answer: &str) -> String {
        let mut line = Map::new();
        let turns = json!([{"from": "human", "value": question}, {"from": "gpt", "value": answer}]);
        line.insert("conversations".into(), turns);
        if !self.supersedes.is_empty() {
            line.insert("supersedes".into(), json!(self.supersedes));
        }
        if let Some(note) = &self.note {
            line.insert("note".into(), json!(note));
        }
        if let Some(weight) = self.weight {
            line.insert("weight".into(), json!(weight));
        }
        Value::Object(line).to_string()
    }
}

/// Reads a weight, as it may stand in the file.
fn weight(text: &str) -> Result<f64, &'static str> {
    let weight = text.parse().ok().filter(|weight: &f64| weight.is_finite() && *weight > 0.0);
    weight.ok_or("it says how often the row counts: a number above 0, such as 2 or 0.5")
}

/// Returns a text of the command line, or asks for it.
fn text(given: Option<&String>, what: &'static str, output: &mut Output) -> Result<String, CliError> {
    match given {
        Some(text) => Ok(text.clone()),
        None if io::stdin().is_terminal() => ask(what, &mut io::stdin().lock(), output),
        None => Err(CliError::HalfCorrection { what }),
    }
}

/// Asks for a text of one or more lines.
fn ask(what: &'static str, input: &mut impl BufRead, output: &mut Output) -> Result<String, CliError> {
    output.note(format_args!("the {what}, and then a line with only `{END}`:"));
    let mut lines = Vec::new();
    for line in input.lines() {
        match line? {
            line if line.trim_end() == END => break,
            line => lines.push(line),
        }
    }
    let text = lines.join("\n").trim().to_owned();
    if text.is_empty() { Err(CliError::HalfCorrection { what }) } else { Ok(text) }
}

/// Adds a line to a file of corrections, which is made when it is not there. All of the line is written or nothing, and
/// nothing when the file would not be right with it.
fn add(path: &Path, line: &str) -> Result<Added, CliError> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut file = fs_err::OpenOptions::new().read(true).append(true).create(true).open(path)?;
    // Another `correct` waits here until this one has written its line.
    file.file().lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let (_, repeated) = parse_corrections(path, &text)?;
    let start = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let addition = format!("{start}{line}\n");
    let number = text.lines().count() + 1;
    let (all, repetitions) = parse_corrections(path, &format!("{text}{addition}"))?;
    let is_new = repetitions == repeated;
    let (mut own, _) = parse_corrections(path, line)?;
    let Some(correction) = own.pop().filter(|own| all.contains(own)) else {
        return Err(io::Error::other("a line of JSON was not read as one correction").into());
    };
    if !is_new {
        let number = line_of(path, &text, &correction)?;
        return Ok(Added { correction, line: number, is_new });
    }
    let before = file.metadata()?.len();
    let written = file.write_all(addition.as_bytes()).and_then(|()| file.file().sync_data());
    if let Err(error) = written {
        file.set_len(before)?;
        return Err(error.into());
    }
    Ok(Added { correction, line: number, is_new })
}

/// Returns the number of the line that holds a correction.
fn line_of(path: &Path, text: &str, correction: &Correction) -> Result<usize, CliError> {
    for (number, line) in text.lines().enumerate() {
        if parse_corrections(path, line)?.0.contains(correction) {
            return Ok(number + 1);
        }
    }
    Ok(0)
}

/// Returns the filters that make rows of the corrections of a node.
fn readers(session: &Session<'_>, index: NodeIndex) -> Vec<NodeIndex> {
    let graph = &session.project.graph;
    let readers = graph.dependants(index).iter().copied();
    readers.filter(|reader| graph[*reader].kind_name == "filter.conversations").collect()
}

/// Returns the rows of the last build that a correction replaces, and the ids in it that name none.
fn replaced(
    session: &Session<'_>,
    readers: &[NodeIndex],
    correction: &Correction,
) -> Result<(Vec<Replaced>, Vec<String>), CliError> {
    let mut replaced = Vec::new();
    let mut unknown = correction.supersedes.clone();
    let mut was_built = false;
    for reader in readers {
        let node = session.project.graph[*reader].name.clone();
        let Some(known) = session.resolver().last_built(*reader)? else { continue };
        was_built = true;
        for records in known.outputs.values() {
            let Artifact::Records(records) = records else { continue };
            for record in RecordSet::open(&session.store, records).map_err(EngineError::from)?.records() {
                let Record::Row(row) = record.map_err(EngineError::from)? else { continue };
                // The correction itself may be in it since the last build.
                if row.id == correction.conversation.id {
                    continue;
                }
                let grounds = grounds(correction, &row);
                unknown.retain(|id| !grounds.contains(&Ground::Name(id)));
                let by = match grounds.first() {
                    None => continue,
                    Some(Ground::Question) => "question".to_owned(),
                    Some(Ground::Name(id)) => (*id).to_owned(),
                };
                replaced.push(Replaced { node: node.clone(), row: row.id, by });
            }
        }
    }
    if !was_built {
        unknown.clear();
    }
    Ok((replaced, unknown))
}

/// Tells people what a correction replaces.
fn tell(output: &mut Output, replaced: &[Replaced], unknown: &[String]) {
    for Replaced { node, row, by } in replaced.iter().take(MOST_SHOWN) {
        let by = if by == "question" { "the same question".to_owned() } else { format!("named by `{by}`") };
        output.line(format_args!("  takes the place of `{row}` in `{node}`: {by}"));
    }
    if replaced.len() > MOST_SHOWN {
        output.line(format_args!("  … and of {} more rows", replaced.len() - MOST_SHOWN));
    }
    for id in unknown {
        output.note(format_args!("`{id}` names no row of the last build"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::testing::{MANIFEST, Space};

    const QUESTION: &str = "what does the word BETA stand for, in this project";

    fn space() -> Space {
        let space = Space::new();
        let manifest = MANIFEST.replace("from = [\"notes\"]", "from = [\"notes\", \"fixes\"]");
        let fixes = "[source.fixes]\ntype = \"corrections\"\npath = \"data/fixes.jsonl\"\noptional = true\n";
        space.write("pipeline.toml", &format!("{manifest}\n{fixes}"));
        space
    }

    fn file(space: &Space) -> String {
        fs_err::read_to_string(space.path().join("data/fixes.jsonl")).unwrap()
    }

    #[test]
    fn a_correction_takes_the_place_of_rows_by_question_and_by_id() {
        let space = space();
        space.done(&["build"]);
        let arguments = [
            "correct",
            "--question",
            QUESTION,
            "--answer",
            "The second letter.",
            "--supersedes",
            "gamma",
            "--supersedes",
            "o/r#7",
            "--note",
            "by hand",
            "--weight",
            "2",
            "--json",
        ];
        let told = space.done(&arguments).object("correct");
        assert_eq!(
            (&told["node"], &told["file"], &told["line"]),
            (&json!("fixes"), &json!("data/fixes.jsonl"), &json!(1))
        );
        assert_eq!(
            told["supersedes"],
            json!([
                {"node": "pairs", "row": "beta", "by": "question"},
                {"node": "pairs", "row": "gamma", "by": "gamma"},
            ])
        );
        assert_eq!((&told["unknown"], &told["next"]), (&json!(["o/r#7"]), &json!("tunesmith build pairs")));
        space.done(&["build"]);
        let rows = space.done(&["show", "pairs", "--rows", "9", "--json"]).objects("row");
        let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["alpha", told["id"].as_str().unwrap(), "delta"]);
        assert_eq!(rows[1]["weight"], json!(2.0));
        assert_eq!(rows[1]["turns"][1]["text"], json!("The second letter."));
        assert!(rows[1].get("note").is_none());
        let report = space.done(&["show", "pairs", "--json"]).object("show")["report"].clone();
        assert!(
            report.to_string().contains(r#"{"count":2,"what":"dropped row: superseded by a correction"}"#),
            "{report}"
        );
    }

    #[test]
    fn people_are_told_what_it_replaces_and_what_comes_next() {
        let space = space();
        let said = space.done(&["correct", "fixes", "--question", QUESTION, "--answer", "Two."]);
        assert!(said.out.starts_with("data/fixes.jsonl:1: added correction correction-"), "{}", said.out);
        assert!(said.out.ends_with("next: `tunesmith build pairs`\n"), "{}", said.out);
        space.done(&["build"]);
        let said =
            space.done(&["correct", "--question", "What is alpha?", "--answer", "One.", "--supersedes", "alpha"]);
        assert!(said.out.contains("  takes the place of `alpha` in `pairs`: named by `alpha`\n"), "{}", said.out);
        let again = space.done(&["correct", "--question", QUESTION, "--answer", "Two."]);
        assert!(again.out.starts_with("data/fixes.jsonl:1: this correction is there already"), "{}", again.out);
        assert_eq!(file(&space).lines().count(), 2);
    }

    #[test]
    fn a_line_is_added_behind_one_without_its_end() {
        let space = space();
        fs_err::create_dir(space.path().join("data")).unwrap();
        space.write("data/fixes.jsonl", r#"{"instruction":"q","output":"a"}"#);
        space.done(&["correct", "--question", "r", "--answer", "b"]);
        assert_eq!(file(&space).lines().count(), 2);
        assert!(file(&space).ends_with("}\n"));
    }

    #[test]
    fn a_file_that_would_not_be_right_is_left_as_it_is() {
        let space = space();
        fs_err::create_dir(space.path().join("data")).unwrap();
        space.write("data/fixes.jsonl", "{}\n");
        space.refused(
            &["correct", "--question", "r", "--answer", "b"],
            Exit::Wrong,
            "fixes.jsonl:1` is not a correction",
        );
        assert_eq!(file(&space), "{}\n");
        space.write("data/fixes.jsonl", "");
        for wrong in ["0", "-1", "NaN", "inf", "twice"] {
            let weight = format!("--weight={wrong}");
            space.refused(&["correct", "--question", "r", "--answer", "b", &weight], Exit::Wrong, "a number above 0");
        }
        space.refused(&["correct", "--question", "r", "--answer", " "], Exit::Wrong, "the conversation has no answer");
        space.refused(&["correct", "--question", " ", "--answer", "b"], Exit::Wrong, "a turn has no text");
        assert_eq!(file(&space), "");
    }

    #[test]
    fn the_node_must_be_one_of_corrections_and_the_only_one_unless_named() {
        let none = Space::new();
        none.refused(&["correct", "--question", "q", "--answer", "a"], Exit::Wrong, "type = \"corrections\"");
        let space = space();
        space.refused(
            &["correct", "notes", "--question", "q", "--answer", "a"],
            Exit::Wrong,
            "is of type `source.jsonl`",
        );
        space.edit(
            "pipeline.toml",
            "[source.notes]",
            "[source.more]\ntype = \"corrections\"\npath = \"m\"\n[source.notes]",
        );
        space.refused(
            &["correct", "--question", "q", "--answer", "a"],
            Exit::Wrong,
            "2 nodes are of type `corrections`",
        );
    }

    #[test]
    fn what_is_typed_ends_with_a_line_of_its_own() {
        let ask = |typed: &str| {
            let (mut output, _, err) = Output::captured();
            let text = ask("answer", &mut typed.as_bytes(), &mut output);
            drop(output);
            assert_eq!(err.text(), "the answer, and then a line with only `.`:\n");
            text
        };
        assert_eq!(ask("one\n\n  two\n.\nthree\n").unwrap(), "one\n\n  two");
        assert_eq!(ask("no end").unwrap(), "no end");
        assert!(matches!(ask("\n.\n"), Err(CliError::HalfCorrection { what: "answer" })));
    }
}
