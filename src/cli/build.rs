//! `tunesmith build`: run the stale part of the graph.

use std::path::PathBuf;

use serde_json::json;

use super::progress::Progress;
use super::selection::Selection;
use super::session::{Session, now};
use super::{CliError, Context, Execute, Exit, interrupt};
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
        let session = Session::open(context, self.selection.mode())?;
        let (selected, deploy) = self.selection.select(&session)?;
        let resolver = session.resolver();
        let run = &session.project.manifest.run;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
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
                threads: run.options.threads.map_or(processors, |threads| threads as usize),
                memory: run.options.memory,
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

fn summary(
    context: &mut Context<'_>,
    session: &Session<'_>,
    report: &BuildReport,
    run: Option<u64>,
    interrupted: bool,
) {
    let graph = &session.project.graph;
    let count = |is: fn(&Outcome) -> bool| report.nodes.iter().filter(|node| is(&node.outcome)).count();
    let built = count(|outcome| matches!(outcome, Outcome::Built { .. }));
    let fresh = count(|outcome| matches!(outcome, Outcome::Fresh(_)));
    let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_) | Outcome::NotReached));
    let held: Vec<&str> = report
        .nodes
        .iter()
        .filter(|node| matches!(node.outcome, Outcome::NotDeployed))
        .map(|node| graph[node.index].name.as_str())
        .collect();
    let seconds = report.duration.as_secs_f64();
    let mut parts = vec![format!("{built} built"), format!("{fresh} fresh")];
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    if skipped > 0 {
        parts.push(format!("{skipped} not run"));
    }
    let output = &mut *context.output;
    output.note(format_args!(
        "{} in {seconds:.1} s{}",
        parts.join(", "),
        if interrupted { "; interrupted: run the same command again to go on" } else { "" }
    ));
    if !held.is_empty() {
        let names = held.join("`, `");
        output.note(format_args!("`{names}` would change something outside the project: `tunesmith build --deploy`"));
    }
    for (index, error) in report.failures() {
        output.note(format_args!("in node `{}`:", graph[index].name));
        output.error(&super::error::Reported(error));
    }
    for node in &report.nodes {
        if node.out == Some(OutWrite::Edited) {
            let path = graph[node.index].out.as_deref().unwrap_or_default();
            output.note(format_args!(
                "`{path}` was edited since it was written, so it was left alone; `--overwrite` writes over it"
            ));
        }
    }
    output.json(&json!({"build": {
        "run": run, "built": built, "fresh": fresh, "failed": failed, "not-run": skipped,
        "not-deployed": held, "duration-ms": report.duration.as_millis() as u64, "interrupted": interrupted,
    }}));
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
