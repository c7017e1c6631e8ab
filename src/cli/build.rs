//! `tunesmith build`: run the stale part of the graph.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::progress::Progress;
use super::selection::Selection;
use super::session::{Session, now};
use super::settled::{Answer, Question};
use super::{CliError, Context, Execute, Exit, interrupt, machine, table};
use crate::engine::{BuildOptions, BuildReport, OutWrite, Outcome, RunLog, build};
use crate::node::{Cancel, FailureClass};

/// Arguments of `build`.
#[derive(Debug, clap::Args)]
pub(super) struct Build {
    #[command(flatten)]
    selection: Selection,
    /// Light nodes at a time; by default the number of processors
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
    /// After a failure, still build what does not depend on it
    #[arg(long)]
    keep_going: bool,
    /// Write `out` files over edits
    #[arg(long)]
    overwrite: bool,
}

impl Execute for Build {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let question = Question::new(context, &self.selection)?;
        let mut shaken = None;
        match question.as_ref().and_then(Question::answer) {
            None => {}
            Some(Answer::Settled(settled)) => {
                let totals = Totals { fresh: settled.nodes.len(), ..Totals::default() };
                tell(context, &totals);
                tell_json(context, &totals);
                return Ok(Exit::Done);
            }
            Some(Answer::Shaken(settled, part)) => {
                let session = Session::open_part(context, self.selection.mode(), &settled, &part)?;
                shaken = session.map(|session| (session, settled));
            }
        }
        let (session, settled) = match shaken {
            Some((session, settled)) => (session, Some(settled)),
            None => (Session::open(context, self.selection.mode())?, None),
        };
        let (selected, deploy) = self.selection.select(&session)?;
        let resolver = session.resolver();
        let run = &session.project.manifest.run;
        let (processors, grant) = (machine::processors(), machine::grant(&run.options));
        let cancel = Cancel::shared();
        interrupt::cancel_on_signal(&cancel)?;
        let worker: Option<PathBuf> = context.surroundings.worker.clone();
        let began = now();
        let report = {
            let progress = Progress::new(context.output, &session.project.graph);
            let options = BuildOptions {
                selected,
                deploy,
                jobs: self.jobs.or(run.jobs.map(|jobs| jobs as usize)).unwrap_or(processors),
                threads: grant.threads,
                memory: grant.memory,
                keep_going: self.keep_going || run.keep_going.unwrap_or(false),
                overwrite: self.overwrite,
                worker: worker.as_deref(),
                observer: &progress,
                cancel: &cancel,
                secrets: &context.surroundings.environment,
            };
            build(&resolver, &options)?
        };
        let log = RunLog::write(&resolver, &report, began)?;
        match (settled, &question) {
            (Some(settled), _) => Question::settle_again(settled, &session, &report)?,
            (None, Some(question)) => question.settle(&session, &report)?,
            (None, None) => {}
        }
        let interrupted = cancel.is_cancelled();
        summary(context, &session, &report, log.map(|log| log.run), interrupted);
        Ok(exit(&report, interrupted))
    }
}

fn exit(report: &BuildReport, interrupted: bool) -> Exit {
    let failures = report.failures().map(|(_, error)| match error.class {
        FailureClass::GateNotMet => Exit::GateNotMet,
        FailureClass::Bug => Exit::Bug,
        _ => Exit::Failed,
    });
    let out_lacks = report.nodes.iter().any(|node| node.out == Some(OutWrite::Edited));
    let worst = failures.max_by_key(|exit| (*exit != Exit::GateNotMet, *exit));
    match worst {
        _ if interrupted => Exit::Interrupted,
        Some(exit) => exit,
        None if out_lacks => Exit::Failed,
        None => Exit::Done,
    }
}

/// What became of the nodes, in numbers.
#[derive(Default)]
struct Totals<'a> {
    run: Option<u64>,
    built: usize,
    fresh: usize,
    failed: usize,
    not_run: usize,
    not_deployed: Vec<&'a str>,
    duration: Duration,
    interrupted: bool,
}

fn tell(context: &mut Context<'_>, totals: &Totals<'_>) {
    let mut parts = vec![format!("{} built", totals.built), format!("{} fresh", totals.fresh)];
    if totals.failed > 0 {
        parts.push(format!("{} failed", totals.failed));
    }
    if totals.not_run > 0 {
        parts.push(format!("{} not run", totals.not_run));
    }
    let output = &mut *context.output;
    output.note(format_args!(
        "{} in {:.1} s{}",
        parts.join(", "),
        totals.duration.as_secs_f64(),
        if totals.interrupted { "; interrupted: run the same command again to go on" } else { "" }
    ));
    if !totals.not_deployed.is_empty() {
        let names = totals.not_deployed.join("`, `");
        output.note(format_args!("`{names}` would change something outside the project: `tunesmith build --deploy`"));
    }
}

fn tell_json(context: &mut Context<'_>, totals: &Totals<'_>) {
    context.output.json(&json!({"build": {
        "run": totals.run, "built": totals.built, "fresh": totals.fresh, "failed": totals.failed,
        "not-run": totals.not_run, "not-deployed": totals.not_deployed,
        "duration-ms": totals.duration.as_millis() as u64, "interrupted": totals.interrupted,
    }}));
}

fn summary(
    context: &mut Context<'_>,
    session: &Session<'_>,
    report: &BuildReport,
    run: Option<u64>,
    interrupted: bool,
) {
    let graph = &session.project.graph;
    let count = |is: fn(&Outcome) -> bool| report.nodes.iter().filter(|node| is(&node.outcome)).count();
    let held = report.nodes.iter().filter(|node| matches!(node.outcome, Outcome::NotDeployed));
    let totals = Totals {
        run,
        built: report.built(),
        fresh: count(|outcome| matches!(outcome, Outcome::Fresh(_))) + session.others(),
        failed: report.failures().count(),
        not_run: count(|outcome| matches!(outcome, Outcome::Skipped(_) | Outcome::NotReached)),
        not_deployed: held.map(|node| graph[node.index].name.as_str()).collect(),
        duration: report.duration,
        interrupted,
    };
    table::tell(context, graph, report);
    tell(context, &totals);
    for (index, error) in report.failures() {
        context.output.note(format_args!("in node `{}`:", graph[index].name));
        context.output.error(&super::error::Reported(error));
    }
    for node in &report.nodes {
        if node.out == Some(OutWrite::Edited) {
            let path = graph[node.index].out.as_deref().unwrap_or_default();
            context.output.note(format_args!(
                "`{path}` was edited since it was written, so it was left alone; `--overwrite` writes over it"
            ));
        }
    }
    tell_json(context, &totals);
}

#[cfg(test)]
mod tests {
    use super::super::testing::Space;
    use super::*;

    #[test]
    fn a_build_says_what_ran_and_the_next_one_runs_nothing() {
        let space = Space::new();
        let first = space.done(&["build", "--json"]);
        let built = first.object("build");
        assert_eq!((&built["built"], &built["fresh"], &built["run"]), (&json!(3), &json!(0), &json!(1)));
        let again = space.done(&["build"]);
        assert!(again.err.starts_with("0 built, 3 fresh in "), "{}", again.err);
        let forced = space.done(&["build", "--force", "pairs"]);
        assert!(forced.err.contains("▶ pairs (filter.conversations): asked for by `--force`"), "{}", forced.err);
        assert!(forced.err.contains("1 built, 2 fresh"), "{}", forced.err);
    }

    #[test]
    fn a_step_that_fails_is_shown_with_what_did_not_run() {
        let space = Space::new();
        space.write("notes.jsonl", "{\"conversations\": []}\nno json\n");
        let said = space.run(&["build"]);
        assert_eq!(said.exit, Exit::Failed, "{}", said.err);
        assert!(said.err.contains("✗ notes") && said.err.contains("in node `notes`:"), "{}", said.err);
        assert!(said.err.contains("notes.jsonl:"), "{}", said.err);
    }

    #[test]
    fn an_edited_out_is_left_alone_and_fails_the_build_until_it_may_be_overwritten() {
        let space = Space::new();
        space.edit("pipeline.toml", "from = [\"notes\"]", "from = [\"notes\"]\nout = \"rows.jsonl\"");
        space.done(&["build"]);
        space.write("rows.jsonl", "mine\n");
        space.refused(&["build"], Exit::Failed, "`rows.jsonl` was edited since it was written, so it was left alone");
        space.done(&["build", "--overwrite"]);
        assert_ne!(fs_err::read_to_string(space.path().join("rows.jsonl")).unwrap(), "mine\n");
    }
}
