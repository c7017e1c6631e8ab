//! `tunesmith plan` and `tunesmith status`: what a build would do, and how things stand.

use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::selection::Selection;
use super::session::Session;
use super::settled::{Answer, Question};
use super::{CliError, Context, Execute, Exit, Output, error, machine, rehearse};
use crate::engine::{OutState, Plan, Planned, StaleReason, plan};
use crate::graph::NodeIndex;
use crate::node::{Cost, Event, Events, Family, FileInput, Forecast, NodeError, Outlook, Progress, Selected};

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub(super) struct PlanCommand {
    #[command(flatten)]
    selection: Selection,
    /// Try what follows from each training on an adapter that changes nothing; nothing is published
    #[arg(long)]
    rehearse: bool,
}

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    selection: Selection,
    /// End with exit code 1 when something is stale
    #[arg(long)]
    exit_code: bool,
}

impl Execute for PlanCommand {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        if let Some(nodes) = settled(context, &self.selection)? {
            context.output.line(nothing_to_do(nodes.len()));
            return Ok(Exit::Done);
        }
        let session = Session::open(context, self.selection.mode())?;
        let plan = planned(&self.selection, &session)?;
        let graph = &session.project.graph;
        let (mut runs, mut writes, mut unfit) = (0, 0, Vec::new());
        for (index, planned) in &plan.nodes {
            let (mut word, mut why) = describe(&session, *index, planned)?;
            writes += usize::from(word == "write");
            let forecast = forecast(context, &session, *index, planned)?;
            if let Some(forecast) = &forecast {
                why = format!("{why}; {forecast}");
            }
            let mut selected = local(&session, *index, planned)?;
            for Selected { of, files } in &selected {
                let files = if let [_] = files.as_slice() { "1 file" } else { &format!("{} files", files.len()) };
                why = format!("{why}; the globs select {files} of `{of}`");
            }
            selected.extend(forecast.iter().flat_map(|forecast| forecast.selected.clone()));
            let cost = match cost(context, &session, *index, planned) {
                Ok(cost) => cost,
                Err(error) => {
                    (word, why) = ("refuse", error.message.clone());
                    unfit.push((*index, error));
                    None
                }
            };
            if let Some(cost) = &cost {
                why = format!("{why}; {cost}");
            }
            if !self.rehearse
                && matches!(planned, Planned::Run(..))
                && session.resolver().is_rehearsed(*index, cost.as_ref())?
            {
                why = format!("{why}; rehearsed before it starts");
            }
            runs += usize::from(!matches!(planned, Planned::Fresh(_) | Planned::NotDeployed));
            if word != "fresh" {
                let node = &graph[*index];
                context.output.line(format_args!("{word} {} ({}): {why}", node.name, node.kind_name));
                selected.iter().flat_map(listed).for_each(|line| context.output.line(line));
                for warning in forecast.iter().flat_map(|forecast| &forecast.warnings) {
                    context.output.note(format_args!("warning: `{}`: {warning}", node.name));
                }
            }
            context.output.json(&entry(&session, *index, planned, &Told { word, why, forecast, cost, selected }));
        }
        let fresh = plan.nodes.iter().filter(|(_, planned)| matches!(planned, Planned::Fresh(_))).count() - writes;
        let build = self.selection.as_build();
        context.output.line(match (runs, writes) {
            (0, 0) => nothing_to_do(fresh),
            (_, 0) => format!("{runs} to run, {fresh} fresh: `{build}`"),
            _ => format!("{runs} to run, {writes} to write, {fresh} fresh: `{build}`"),
        });
        for (index, error) in &unfit {
            context.output.note(format_args!("in node `{}`:", graph[*index].name));
            context.output.error(&error::Reported(error));
        }
        let mut exit = refused(context, &session, &plan)?;
        if self.rehearse {
            exit = exit.max(rehearse::rehearse(context, &session, &self.selection, &plan)?);
        }
        Ok(if unfit.is_empty() { exit } else { exit.max(Exit::Failed) })
    }
}

impl Execute for Status {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        if let Some(nodes) = settled(context, &self.selection)? {
            let width = nodes.iter().map(String::len).max().unwrap_or(0);
            for name in nodes {
                context.output.line(format_args!("{name:width$}  fresh"));
            }
            return Ok(Exit::Done);
        }
        let session = Session::open(context, self.selection.mode())?;
        let plan = planned(&self.selection, &session)?;
        let graph = &session.project.graph;
        let width = plan.nodes.iter().map(|(index, _)| graph[*index].name.len()).max().unwrap_or(0);
        for (index, planned) in &plan.nodes {
            let (word, why) = state(&session, *index, planned)?;
            let name = &graph[*index].name;
            context.output.line(format_args!("{name:width$}  {word}{}{why}", if why.is_empty() { "" } else { ": " }));
            context.output.json(&json!({"status": {"node": name, "state": word, "why": why}}));
        }
        let stale = !plan.is_fresh();
        Ok(if stale && self.exit_code { Exit::Failed } else { Exit::Done })
    }
}

fn nothing_to_do(fresh: usize) -> String {
    format!("nothing to do: {fresh} fresh")
}

/// Returns the nodes when the last build found all of them fresh and nothing changed since. JSON tells more of each node
/// than is kept of that.
fn settled(context: &Context<'_>, selection: &Selection) -> Result<Option<Vec<String>>, CliError> {
    if context.output.is_json() {
        return Ok(None);
    }
    let question = Question::new(context, selection)?;
    Ok(match question.and_then(|question| question.answer()) {
        Some(Answer::Settled(settled)) => Some(settled.nodes),
        Some(Answer::Shaken(..)) | None => None,
    })
}

fn planned(selection: &Selection, session: &Session<'_>) -> Result<Plan, CliError> {
    let (selected, deploy) = selection.select(session)?;
    Ok(plan(&session.resolver(), &selected, &deploy)?)
}

/// Reports what cannot be decided; such a plan ends with the code that its build would end with.
fn refused(context: &mut Context<'_>, session: &Session<'_>, plan: &Plan) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for (index, planned) in &plan.nodes {
        if let Planned::Refused(error) = planned {
            context.output.note(format_args!("in node `{}`:", session.project.graph[*index].name));
            context.output.error(error);
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}

/// Returns what is done about a node, and why.
fn describe(session: &Session<'_>, index: NodeIndex, planned: &Planned) -> Result<(&'static str, String), CliError> {
    let graph = &session.project.graph;
    Ok(match planned {
        Planned::Fresh(_) => match other_out(session, index, planned)? {
            Some(path) => ("write", format!("`{path}` is not what was built")),
            None => ("fresh", String::new()),
        },
        Planned::Run(_, reason) => ("run", reason.to_string()),
        Planned::Perhaps(_) if is_new(session, index)? => ("run", StaleReason::NeverBuilt.to_string()),
        Planned::Perhaps(on) => {
            let names: Vec<String> = on.iter().map(|index| format!("`{}`", graph[*index].name)).collect();
            let give = if names.len() == 1 { "gives" } else { "give" };
            ("run", format!("unless {} {give} the same as before", names.join(", ")))
        }
        Planned::NotDeployed => ("hold", "it changes something outside the project: only with `--deploy`".to_owned()),
        Planned::Refused(error) => ("refuse", error.to_string()),
    })
}

/// Returns whether a node was never built here, so that nothing before it can spare it.
fn is_new(session: &Session<'_>, index: NodeIndex) -> Result<bool, CliError> {
    Ok(session.resolver().trace(&session.project.graph[index].name)?.is_none())
}

/// Returns the path of a fresh node's `out` when something else is there than what was built.
fn other_out<'s>(session: &'s Session<'_>, index: NodeIndex, planned: &Planned) -> Result<Option<&'s str>, CliError> {
    let node = &session.project.graph[index];
    let (Planned::Fresh(known), Some(path)) = (planned, node.out.as_deref()) else { return Ok(None) };
    let is_right = OutState { resolver: &session.resolver(), node, path }.is_right(known)?;
    Ok((!is_right).then_some(path))
}

/// Returns the state as `status` names it.
fn state(session: &Session<'_>, index: NodeIndex, planned: &Planned) -> Result<(&'static str, String), CliError> {
    Ok(match planned {
        Planned::Fresh(_) => ("fresh", describe(session, index, planned)?.1),
        Planned::Run(_, StaleReason::NeverBuilt) => ("never built", String::new()),
        Planned::Perhaps(_) if is_new(session, index)? => ("never built", String::new()),
        other => {
            let (_, why) = describe(session, index, other)?;
            (if matches!(other, Planned::NotDeployed) { "held" } else { "stale" }, why)
        }
    })
}

/// Returns what a node that would run is going to ask of the network.
fn forecast(
    context: &Context<'_>,
    session: &Session<'_>,
    index: NodeIndex,
    planned: &Planned,
) -> Result<Option<Forecast>, CliError> {
    let Planned::Run(prepared, _) = planned else { return Ok(None) };
    let kind = session.resolver().kind(&session.project.graph[index])?;
    let secrets = &context.surroundings.environment;
    let store = session.resolver().store;
    Ok(kind.forecast(&Outlook { settings: &prepared.settings, previous: &prepared.previous, store, secrets }))
}

/// Returns the files that the globs of a source that would run select of a folder.
fn local(session: &Session<'_>, index: NodeIndex, planned: &Planned) -> Result<Vec<Selected>, CliError> {
    let Planned::Run(prepared, _) = planned else { return Ok(Vec::new()) };
    let kind = session.resolver().kind(&session.project.graph[index])?;
    if kind.info().family != Family::Source {
        return Ok(Vec::new());
    }
    let folders = kind.files(&prepared.settings).into_iter().filter(|input| input.globs.is_some());
    let of_folder = |input: FileInput| {
        let files = prepared.files.iter().filter(|file| file.setting == input.setting);
        Selected { of: input.path.display().to_string(), files: files.map(|file| file.name.clone()).collect() }
    };
    Ok(folders.map(of_folder).collect())
}

/// Paths that a plan shows of what globs select; JSON has all.
const SHOWN: usize = 10;

/// Returns the lines for what globs select.
fn listed(selected: &Selected) -> Vec<String> {
    let Selected { of, files } = selected;
    let folder = of.trim_end_matches('/');
    let mut lines: Vec<String> = files.iter().take(SHOWN).map(|file| format!("  {folder}/{file}")).collect();
    if files.len() > SHOWN {
        lines.push(format!("  and {} more", files.len() - SHOWN));
    }
    lines
}

/// Returns what a node that would run is going to take of this machine.
fn cost(
    context: &mut Context<'_>,
    session: &Session<'_>,
    index: NodeIndex,
    planned: &Planned,
) -> Result<Option<Cost>, NodeError> {
    let Planned::Run(prepared, _) = planned else { return Ok(None) };
    let grant = machine::grant(&session.project.manifest.run.options);
    let waiting = Waiting(Mutex::new(&mut *context.output));
    session.resolver().cost(index, prepared, grant, (&waiting, &context.surroundings.environment))
}

/// Says on a terminal what a plan waits for: measuring the machine takes a second or two.
struct Waiting<'a>(Mutex<&'a mut Output>);

impl Events for Waiting<'_> {
    fn event(&self, event: Event) {
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::Progress(Progress { detail, total: None, .. }) = event
            && output.is_interactive()
        {
            output.note(detail);
        }
    }
}

/// What a plan tells of a node.
struct Told {
    word: &'static str,
    why: String,
    forecast: Option<Forecast>,
    cost: Option<Cost>,
    selected: Vec<Selected>,
}

fn entry(session: &Session<'_>, index: NodeIndex, planned: &Planned, told: &Told) -> serde_json::Value {
    let node = &session.project.graph[index];
    let (key, reason) = match planned {
        Planned::Run(prepared, reason) => (Some(prepared.key), Some(reason)),
        Planned::Fresh(known) => (Some(known.key), None),
        _ => (None, None),
    };
    json!({"plan": {
        "node": node.name, "kind": node.kind_name, "action": told.word, "why": told.why, "key": key, "reason": reason,
        "forecast": told.forecast, "cost": told.cost, "selected": told.selected,
    }})
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Space, rows};
    use super::*;

    #[test]
    fn a_plan_says_what_runs_and_why_and_writes_nothing() {
        let space = Space::new();
        let said = space.done(&["plan"]);
        assert_eq!(
            said.out,
            "run notes (source.jsonl): never built\n\
             run pairs (filter.conversations): never built\n\
             run dataset (filter.split): never built\n\
             3 to run, 0 fresh: `tunesmith build`\n"
        );
        space.done(&["build"]);
        assert_eq!(space.done(&["plan"]).out, "nothing to do: 3 fresh\n");
        space.edit("pipeline.toml", "eval = 0.5", "eval = 0.25");
        space.write("notes.jsonl", &rows(&["alpha", "beta"]));
        assert_eq!(
            space.done(&["plan"]).out,
            "run notes (source.jsonl): file path notes.jsonl changed\n\
             run pairs (filter.conversations): unless `notes` gives the same as before\n\
             run dataset (filter.split): unless `pairs` gives the same as before\n\
             3 to run, 0 fresh: `tunesmith build`\n"
        );
        let plan = space.done(&["plan", "notes", "--json"]).object("plan");
        assert_eq!((&plan["action"], &plan["reason"]["reason"]), (&json!("run"), &json!("changed")));
        space.refused(&["plan", "paris"], Exit::Wrong, "did you mean `pairs`?");
    }

    #[test]
    fn a_plan_names_the_build_that_does_it_and_files_that_are_written_again() {
        let space = Space::new();
        assert!(space.done(&["plan", "pairs", "--deploy"]).out.ends_with("fresh: `tunesmith build pairs --deploy`\n"));
        space.edit("pipeline.toml", "type = \"conversations\"", "type = \"conversations\"\nout = \"rows.jsonl\"");
        space.done(&["build"]);
        fs_err::remove_file(space.path().join("rows.jsonl")).unwrap();
        assert_eq!(
            space.done(&["plan"]).out,
            "write pairs (filter.conversations): `rows.jsonl` is not what was built\n\
             0 to run, 1 to write, 2 fresh: `tunesmith build`\n"
        );
        space.done(&["build"]);
        assert_eq!(space.done(&["plan"]).out, "nothing to do: 3 fresh\n");
    }

    #[test]
    fn a_plan_lists_what_globs_select_and_json_all_of_it() {
        let space = Space::new();
        let names: Vec<String> = (10..22).map(|n| format!("a/{n}.md")).collect();
        let rest = "\n[source.manual]\ntype = \"markdown\"\npath = \"docs\"\n";
        space.edit("pipeline.toml", "eval = 0.5\n", &format!("eval = 0.5\n{rest}"));
        fs_err::create_dir_all(space.path().join("docs/a")).unwrap();
        for name in &names[..1] {
            space.write(&format!("docs/{name}"), "# A\n");
        }
        let said = space.done(&["plan", "manual"]).out;
        let line = "run manual (source.markdown): never built; the globs select 1 file of `docs`\n  docs/a/10.md\n";
        assert!(said.starts_with(line), "{said}");
        for name in &names {
            space.write(&format!("docs/{name}"), "# A\n");
        }
        let said = space.done(&["plan", "manual"]).out;
        assert!(said.contains("select 12 files of `docs`\n  docs/a/10.md\n"), "{said}");
        assert!(said.contains("\n  docs/a/19.md\n  and 2 more\n1 to run"), "{said}");
        let plan = space.done(&["plan", "manual", "--json"]).object("plan");
        assert_eq!(plan["selected"], json!([{"of": "docs", "files": names}]));
    }

    #[test]
    fn a_missing_file_is_named_by_the_plan_that_cannot_be_built() {
        let space = Space::new();
        fs_err::remove_file(space.path().join("notes.jsonl")).unwrap();
        space.refused(&["plan"], Exit::Failed, "node `notes` reads `notes.jsonl`, which is not there");
    }

    #[test]
    fn status_names_each_state_and_ends_with_1_on_request() {
        let space = Space::new();
        assert_eq!(space.done(&["status"]).out, "notes    never built\npairs    never built\ndataset  never built\n");
        space.done(&["build"]);
        assert_eq!(space.done(&["status", "--exit-code"]).out, "notes    fresh\npairs    fresh\ndataset  fresh\n");
        space.edit("pipeline.toml", "eval = 0.5", "eval = 0.25");
        let said = space.run(&["status", "--exit-code"]);
        assert_eq!((said.exit, said.out.lines().last().unwrap()), (Exit::Failed, "dataset  stale: eval: 0.5 → 0.25"));
        space.refused(&["status", "--up-to", "nothing"], Exit::Wrong, "nothing");
    }
}
