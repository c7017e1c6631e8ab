//! `tunesmith plan` and `tunesmith status`: what a build would do, and how things stand.

use serde_json::json;

use super::selection::Selection;
use super::session::Session;
use super::{CliError, Context, Execute, Exit};
use crate::engine::{OutState, Plan, Planned, plan};
use crate::graph::{Graph, NodeIndex};

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub(super) struct PlanCommand {
    #[command(flatten)]
    selection: Selection,
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
        let session = Session::open(context, self.selection.mode())?;
        let plan = planned(&self.selection, &session)?;
        let graph = &session.project.graph;
        let mut runs = 0;
        for (index, planned) in &plan.nodes {
            let (word, why) = describe(graph, planned);
            runs += usize::from(!matches!(planned, Planned::Fresh(_) | Planned::NotDeployed));
            if !matches!(planned, Planned::Fresh(_)) {
                let node = &graph[*index];
                context.output.line(format_args!("{word} {} ({}): {why}", node.name, node.kind_name));
            }
            context.output.json(&entry(graph, *index, planned));
        }
        let fresh = plan.nodes.iter().filter(|(_, planned)| matches!(planned, Planned::Fresh(_))).count();
        context.output.line(match runs {
            0 => format!("nothing to do: {fresh} fresh"),
            _ => format!("{runs} to run, {fresh} fresh: `tunesmith build`"),
        });
        refused(context, &session, &plan)
    }
}

impl Execute for Status {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
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

fn describe(graph: &Graph, planned: &Planned) -> (&'static str, String) {
    match planned {
        Planned::Fresh(_) => ("fresh", String::new()),
        Planned::Run(_, reason) => ("run", reason.to_string()),
        Planned::Perhaps(on) => {
            let names: Vec<String> = on.iter().map(|index| format!("`{}`", graph[*index].name)).collect();
            ("run", format!("unless {} gives the same as before", names.join(", ")))
        }
        Planned::NotDeployed => ("hold", "it changes something outside the project: only with `--deploy`".to_owned()),
        Planned::Refused(error) => ("refuse", error.to_string()),
    }
}

/// Returns the state as `status` names it.
fn state(session: &Session<'_>, index: NodeIndex, planned: &Planned) -> Result<(&'static str, String), CliError> {
    let resolver = session.resolver();
    let node = &session.project.graph[index];
    Ok(match planned {
        Planned::Fresh(known) => {
            let out = node.out.as_deref().map(|path| OutState { resolver: &resolver, node, path }.is_right(known));
            match out.transpose()? {
                Some(false) => {
                    ("fresh", format!("`{}` is not what was built", node.out.as_deref().unwrap_or_default()))
                }
                _ => ("fresh", String::new()),
            }
        }
        Planned::Run(_, reason) => match reason {
            crate::engine::StaleReason::NeverBuilt => ("never built", String::new()),
            reason => ("stale", reason.to_string()),
        },
        other => {
            let (_, why) = describe(&session.project.graph, other);
            (if matches!(other, Planned::NotDeployed) { "held" } else { "stale" }, why)
        }
    })
}

fn entry(graph: &Graph, index: NodeIndex, planned: &Planned) -> serde_json::Value {
    let node = &graph[index];
    let (action, why) = describe(graph, planned);
    let (key, reason) = match planned {
        Planned::Run(prepared, reason) => (Some(prepared.key), Some(reason)),
        Planned::Fresh(known) => (Some(known.key), None),
        _ => (None, None),
    };
    json!({"plan": {
        "node": node.name, "kind": node.kind_name, "action": action, "why": why, "key": key, "reason": reason,
    }})
}
