//! `tunesmith explain`: what exactly differs between a node's last build and now.
//!
//! `--json` writes one object `explain`: `node`, `kind`, `state` (`fresh`, `stale`, `never-built`, `waits`), `why`,
//! `key` (of now), `run` (that built what is fresh, or that `--against` names), `stale-inputs` (each `node`, `why`),
//! `differences` (each with `what`: `setting`, `file`, `tool`, `kind`, `input`, `field`, `order`), and, where there is
//! nothing to compare with, `parts` (each `part`, `value`): all that the node would be built from.

use serde_json::{Value, json};

use super::selection::Selection;
use super::session::Session;
use super::settled::Question;
use super::{CliError, Context, Execute, Exit};
use crate::engine::{
    Difference, EngineError, Explanation, Mode, RunLog, StaleReason, Standing, Trace, differences, explain,
};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The node
    node: String,
    /// Compare with this build rather than with the node's last one
    #[arg(long, value_name = "RUN")]
    against: Option<u64>,
}

/// All that there is to say.
struct Told<'a> {
    session: &'a Session<'a>,
    explanation: &'a Explanation,
    name: &'a str,
    kind: &'a str,
    differences: Option<Vec<Difference>>,
    /// The run that is compared with, or that built what is fresh.
    run: Option<u64>,
}

impl Execute for Explain {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let part = Question::new(context, &Selection::default())?.and_then(|question| question.about(&self.node));
        let session = match part {
            Some((settled, part)) => Session::open_part(context, Mode::default(), &settled, &part)?,
            None => None,
        };
        let session = session.map_or_else(|| Session::open(context, Mode::default()), Ok)?;
        let index = session.node(&self.node)?;
        let node = &session.project.graph[index];
        let resolver = session.resolver();
        let explanation = explain(&resolver, index)?;
        let (old, run) = match self.against {
            Some(run) => (Some(trace_of(&session, run, &node.name)?), Some(run)),
            None => (resolver.trace(&node.name)?, built_by(&session, &explanation, &node.name)?),
        };
        let is_compared = self.against.is_some() || explanation.standing != Standing::Fresh;
        let differences = match (&old, &explanation.prepared) {
            (Some(old), Some(prepared)) if is_compared => {
                Some(differences(&session.store, old, &prepared.trace()).map_err(CliError::from)?)
            }
            _ => None,
        };
        let (name, kind) = (node.name.as_str(), node.kind_name.as_str());
        let told = Told { session: &session, explanation: &explanation, name, kind, differences, run };
        told.for_people(context, self.against);
        context.output.json(&json!({ "explain": told.for_programs() }));
        Ok(Exit::Done)
    }
}

/// Returns what a node was built from in a run.
fn trace_of(session: &Session<'_>, run: u64, node: &str) -> Result<Trace, CliError> {
    let log = RunLog::read(&session.store, Some(run))?;
    if log.node(node).is_none_or(|entry| entry.key.is_none()) {
        return Err(CliError::NotInRun { node: node.to_owned(), run });
    }
    log.trace(&session.store, node)?.ok_or_else(|| CliError::RecordGone { node: node.to_owned(), run })
}

/// Returns the newest run that built what the node has.
fn built_by(session: &Session<'_>, explanation: &Explanation, name: &str) -> Result<Option<u64>, EngineError> {
    let (Standing::Fresh, Some(known)) = (&explanation.standing, &explanation.known) else { return Ok(None) };
    RunLog::built_by(&session.store, name, known.key)
}

impl Told<'_> {
    fn name(&self, index: crate::graph::NodeIndex) -> &str {
        &self.session.project.graph[index].name
    }

    fn state(&self) -> (&'static str, Option<String>) {
        match &self.explanation.standing {
            Standing::Fresh => ("fresh", None),
            Standing::Stale(StaleReason::NeverBuilt) => ("never-built", None),
            Standing::Stale(reason) => ("stale", Some(reason.to_string())),
            Standing::Waits(on) => {
                let names: Vec<&str> = on.iter().map(|index| self.name(*index)).collect();
                ("waits", Some(format!("`{}` was never built", names.join("`, `"))))
            }
        }
    }

    fn for_people(&self, context: &mut Context<'_>, against: Option<u64>) {
        let output = &mut *context.output;
        for stale in &self.explanation.stale_inputs {
            let why =
                stale.reason.as_ref().map_or_else(|| "it waits for what it reads".to_owned(), ToString::to_string);
            output.line(format_args!("first, `{}` is stale itself: {why}", self.name(stale.index)));
        }
        if !self.explanation.stale_inputs.is_empty() && self.explanation.prepared.is_some() {
            output.line("below, what was read is taken as it was last built");
        }
        let (state, why) = self.state();
        let head = format!("{} ({}): {}", self.name, self.kind, state.replace('-', " "));
        let key = self.explanation.prepared.as_ref().map(|prepared| prepared.key.short()).unwrap_or_default();
        let built = self.run.map(|run| format!(", built by run {run}")).unwrap_or_default();
        match (&self.explanation.standing, why) {
            (Standing::Fresh, _) if against.is_none() => output.line(format_args!("{head}, key {key}{built}")),
            // What changed is said in full below.
            (Standing::Stale(StaleReason::Changed { .. }) | Standing::Fresh, _) | (_, None) => output.line(head),
            (_, Some(why)) => output.line(format_args!("{head}: {why}")),
        }
        if let Some(run) = against {
            output.line(format_args!("against run {run}:"));
        }
        match &self.differences {
            Some(list) if list.is_empty() && against.is_some() => output.line("  nothing differs"),
            Some(list) => list.iter().for_each(|difference| output.line(format_args!("  {difference}"))),
            None => self.parts().iter().for_each(|(part, value)| output.line(format_args!("  {part}: {value}"))),
        }
    }

    /// Returns all that a node would be built from, where there is nothing to compare with; inputs by their nodes.
    fn parts(&self) -> Vec<(String, String)> {
        let is_new = self.differences.is_none() && self.explanation.standing != Standing::Fresh;
        let Some(prepared) = self.explanation.prepared.as_ref().filter(|_| is_new) else { return Vec::new() };
        let mut inputs = prepared.inputs.iter();
        let parts = prepared.explained.parts().iter();
        parts
            .map(|(part, value)| {
                if !part.starts_with("input ") {
                    return (part.strip_prefix("settings.").unwrap_or(part).to_owned(), value.clone());
                }
                let name = inputs.next().map(|input| match input.fields.keys().next() {
                    Some(field) if input.output.is_empty() => format!("field {}.{field}", input.node),
                    _ => format!("input {}:{}", input.node, input.output),
                });
                (name.unwrap_or_else(|| part.clone()), value.clone())
            })
            .collect()
    }

    fn for_programs(&self) -> Value {
        let (state, why) = self.state();
        let stale = self.explanation.stale_inputs.iter().map(|stale| {
            let why = stale.reason.as_ref().map(ToString::to_string);
            json!({"node": self.name(stale.index), "why": why})
        });
        let parts = self.parts().into_iter().map(|(part, value)| json!({"part": part, "value": value}));
        json!({
            "node": self.name,
            "kind": self.kind,
            "state": state,
            "why": why,
            "key": self.explanation.prepared.as_ref().map(|prepared| prepared.key),
            "run": self.run,
            "stale-inputs": stale.collect::<Vec<_>>(),
            "differences": self.differences,
            "parts": parts.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::Exit;
    use crate::cli::testing::{Space, rows};

    #[test]
    fn a_changed_setting_is_named_with_both_values() {
        let space = Space::new();
        space.done(&["build"]);
        space.edit("pipeline.toml", "eval = 0.5", "eval = 0.25");
        let said = space.done(&["explain", "dataset"]);
        assert!(said.out.contains("dataset (filter.split): stale\n  setting eval: 0.5 → 0.25\n"), "{}", said.out);
    }

    #[test]
    fn records_of_an_input_are_named_by_their_ids() {
        let space = Space::new();
        space.done(&["build"]);
        space.write(
            "notes.jsonl",
            &rows(&["alpha", "beta", "gamma", "delta", "epsilon"]).replace("word beta", "name beta"),
        );
        let stale = space.done(&["explain", "pairs"]);
        assert!(
            stale.out.starts_with("first, `notes` is stale itself: file path notes.jsonl changed"),
            "{}",
            stale.out
        );
        space.done(&["build", "notes"]);
        let said = space.done(&["explain", "pairs", "--json"]).object("explain");
        let difference = &said["differences"][0];
        assert_eq!((&difference["what"], &difference["node"]), (&json!("input"), &json!("notes")));
        assert_eq!(difference["records"]["added"], json!({"count": 1, "first": ["epsilon"]}));
        assert_eq!(difference["records"]["edited"], json!({"count": 1, "first": ["beta"]}));
        assert_eq!(difference["records"]["removed"]["count"], json!(0));
    }

    #[test]
    fn a_fresh_node_says_which_run_built_it() {
        let space = Space::new();
        space.done(&["build"]);
        space.done(&["build"]);
        let said = space.done(&["explain", "pairs"]);
        assert!(said.out.starts_with("pairs (filter.conversations): fresh, key "), "{}", said.out);
        assert!(said.out.ends_with(", built by run 1\n"), "{}", said.out);
    }

    #[test]
    fn a_node_that_was_never_built_lists_its_parts() {
        let space = Space::new();
        let said = space.done(&["explain", "notes"]);
        assert!(said.out.contains("notes (source.jsonl): never built\n  kind: source.jsonl"), "{}", said.out);
        assert!(said.out.contains("  file path notes.jsonl: "), "{}", said.out);
        let waits = space.done(&["explain", "pairs"]);
        assert!(waits.out.contains("`notes` was never built"), "{}", waits.out);
    }

    #[test]
    fn an_earlier_run_can_be_compared_with() {
        let space = Space::new();
        space.done(&["build"]);
        space.edit("pipeline.toml", "eval = 0.5", "eval = 0.25");
        space.write("notes.jsonl", &rows(&["alpha", "beta", "gamma"]));
        space.done(&["build"]);
        let said = space.done(&["explain", "dataset", "--against", "1"]);
        assert!(said.out.contains("setting eval: 0.5 → 0.25"), "{}", said.out);
        assert!(said.out.contains("input pairs:rows changed: 1 record removed (delta"), "{}", said.out);
    }

    #[test]
    fn an_unknown_node_and_an_unknown_run_are_refused() {
        let space = Space::new();
        space.refused(&["explain", "pears"], Exit::Wrong, "pairs");
        space.done(&["build", "notes"]);
        space.refused(&["explain", "pairs", "--against", "9"], Exit::Wrong, "run 9 is not kept");
        space.refused(&["explain", "pairs", "--against", "1"], Exit::Wrong, "run 1 gave no result");
    }
}
