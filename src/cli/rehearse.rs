//! `tunesmith plan --rehearse`: what follows from each training is tried before it.

use serde_json::json;

use super::progress::Progress;
use super::selection::Selection;
use super::session::Session;
use super::{CliError, Context, Exit, error, interrupt, machine};
use crate::engine::{Plan, Rehearse, Rehearsed, rehearse_planned};
use crate::graph::NodeIndex;
use crate::node::{Cancel, FailureClass};

/// Rehearses the trainings of a plan and says what was found.
pub(super) fn rehearse(
    context: &mut Context<'_>,
    session: &Session<'_>,
    selection: &Selection,
    plan: &Plan,
) -> Result<Exit, CliError> {
    let (selected, deploy) = selection.select(session)?;
    let resolver = session.resolver();
    let cancel = Cancel::shared();
    interrupt::cancel_on_signal(&cancel)?;
    let worker = context.surroundings.worker.clone();
    let all = {
        let progress = Progress::new(context.output, &session.project.graph);
        let options = Rehearse {
            selected: &selected,
            deploy: &deploy,
            worker: worker.as_deref(),
            grant: machine::grant(&session.project.manifest.run.options),
            observer: &progress,
            cancel: &cancel,
            secrets: &context.surroundings.environment,
        };
        rehearse_planned(&resolver, plan, &options)?
    };
    if all.is_empty() {
        context.output.line("nothing to rehearse: no training would run");
    }
    let mut exit = Exit::Done;
    for (index, rehearsed) in &all {
        let name = &session.project.graph[*index].name;
        match rehearsed {
            Some(rehearsed) => exit = exit.max(tell(context, session, *index, rehearsed)),
            None => context.output.line(format_args!(
                "`{name}` cannot be rehearsed before what it reads is built: `tunesmith build` does both"
            )),
        }
    }
    Ok(exit)
}

fn tell(context: &mut Context<'_>, session: &Session<'_>, index: NodeIndex, rehearsed: &Rehearsed) -> Exit {
    let (resolver, graph) = (session.resolver(), &session.project.graph);
    let name = &graph[index].name;
    let (line, warnings) = rehearsed.told(&resolver);
    context.output.line(format_args!("rehearsed what follows `{name}`: {line}"));
    for warning in warnings {
        context.output.note(format_args!("warning: {warning}"));
    }
    let parts = rehearsed.parts.iter().map(|part| {
        let (counts, error) = match &part.result {
            Ok(counts) => (counts.as_slice(), None),
            Err(error) => (&[][..], Some(error)),
        };
        json!({
            "node": graph[part.index].name, "kind": graph[part.index].kind_name, "asked": part.is_asked,
            "duration-ms": part.duration.as_millis() as u64, "counts": counts, "error": error,
        })
    });
    let parts: Vec<_> = parts.collect();
    let left_out: Vec<&str> = rehearsed.left_out.iter().map(|(left, _)| graph[*left].name.as_str()).collect();
    let passed_before = rehearsed.passed_before;
    context.output.json(&json!({"rehearsal": {
        "node": name, "parts": parts, "passed-before": passed_before, "left-out": left_out,
    }}));
    let Some(failure) = rehearsed.failure(&resolver, index) else { return Exit::Done };
    context.output.note(format_args!("in node `{name}`:"));
    context.output.error(&error::Reported(&failure));
    match failure.class {
        FailureClass::Cancelled => Exit::Interrupted,
        FailureClass::Bug => Exit::Bug,
        _ => Exit::Failed,
    }
}
