//! `tunesmith correct`: write down the right answer where a row is wrong.
//!
//! One line is added to the file of a `source.corrections` node. It takes the place of rows with the same question and
//! of those that `--supersedes` names by the id of the row, of its thread or of a record that it came from.
//!
//! `--json` writes one object `correct`: `node`, `file`, `line` (its number), `id`, `is-new` (`false` when the file had it
//! already), `supersedes` (each `node`, `row`, `by`: `question` or the id that names it) as of the last build, `unknown`
//! (ids that name no row of it), `next` (the command that takes it into account).

mod ask;
mod file;
mod replaced;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use self::ask::text;
use self::file::add;
use self::replaced::{readers, replaced, tell};
use super::session::Session;
use super::{CliError, Context, Execute, Exit};
use crate::engine::Mode;
use crate::graph::NodeIndex;

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
