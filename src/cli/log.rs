//! `tunesmith log`: what a build did, how long it took, and what made it take that long.
//!
//! `--json` writes one object `log`: the run as it is kept (`run`, `began` in seconds since 1970, `duration-ms`,
//! `profile`, `nodes`) and `critical-path`, the names of the nodes on it. With `--list`, one object `run` for each kept
//! run: `run`, `began`, `duration-ms`, `profile`, `built`, `fresh`, `failed`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::session::Session;
use super::{CliError, Context, Execute, Exit};
use crate::engine::{Mode, RunEntry, RunLog};
use crate::store::write_atomically;

/// Arguments of `log`.
#[derive(Debug, clap::Args)]
pub(super) struct Log {
    /// The run's number; by default the last one
    run: Option<u64>,
    /// Write the run as a Chrome trace, for `chrome://tracing` and ui.perfetto.dev
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    trace: Option<PathBuf>,
    /// Show all runs, one a line
    #[arg(long, conflicts_with = "run")]
    list: bool,
}

impl Execute for Log {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open(context, Mode::default())?;
        if self.list {
            return list(context, &session);
        }
        let log = RunLog::read(&session.store, self.run)?;
        if let Some(file) = &self.trace {
            write_atomically(&context.surroundings.folder.join(file), log.chrome_trace().to_string().as_bytes())?;
            context.output.note(format_args!("the trace of run {} is in `{}`", log.run, file.display()));
        }
        for_people(context, &log);
        let path: Vec<&str> = log.critical_path().iter().map(|entry| entry.node.as_str()).collect();
        let mut object = serde_json::to_value(&log).map_err(std::io::Error::from)?;
        object["critical-path"] = json!(path);
        context.output.json(&json!({ "log": object }));
        Ok(Exit::Done)
    }
}

fn list(context: &mut Context<'_>, session: &Session<'_>) -> Result<Exit, CliError> {
    for number in RunLog::numbers(&session.store)? {
        let log = RunLog::read(&session.store, Some(number))?;
        let count = |outcome: &str| log.nodes.iter().filter(|entry| entry.outcome == outcome).count();
        let (built, fresh, failed) = (count("built"), count("fresh"), count("failed"));
        context.output.line(format_args!("{}: {built} built, {fresh} fresh, {failed} failed", head(&log)));
        context.output.json(&json!({"run": {
            "run": log.run, "began": log.began, "duration-ms": log.duration_ms, "profile": log.profile,
            "built": built, "fresh": fresh, "failed": failed,
        }}));
    }
    Ok(Exit::Done)
}

fn head(log: &RunLog) -> String {
    let began = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(log.began));
    let profile = log.profile.as_ref().map(|profile| format!(", profile {profile}")).unwrap_or_default();
    format!("run {}, {began}{profile}, {}", log.run, seconds(log.duration_ms))
}

fn for_people(context: &mut Context<'_>, log: &RunLog) {
    let output = &mut *context.output;
    output.line(head(log));
    let width = |text: fn(&RunEntry) -> &str| log.nodes.iter().map(|entry| text(entry).len()).max().unwrap_or(0);
    let (names, outcomes) = (width(|entry| &entry.node), width(|entry| &entry.outcome));
    for entry in &log.nodes {
        let RunEntry { node, outcome, .. } = entry;
        let time = entry.span.map(|span| seconds(span.duration_ms)).unwrap_or_default();
        let why = entry.why.as_deref().unwrap_or_default();
        let line = format!("  {node:names$}  {outcome:outcomes$}  {time:>8}  {why}");
        output.line(line.trim_end());
    }
    let path = log.critical_path();
    if !path.is_empty() {
        let spent: u64 = path.iter().filter_map(|entry| entry.span).map(|span| span.duration_ms).sum();
        let names: Vec<&str> = path.iter().map(|entry| entry.node.as_str()).collect();
        output.line(format_args!("critical path: {} ({})", names.join(" → "), seconds(spent)));
    }
}

fn seconds(milliseconds: u64) -> String {
    format!("{:.2} s", milliseconds as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::cli::Exit;
    use crate::cli::testing::Space;

    #[test]
    fn a_run_says_what_ran_and_why() {
        let space = Space::new();
        space.done(&["build"]);
        space.edit("pipeline.toml", "eval = 0.5", "eval = 0.25");
        space.done(&["build"]);
        let said = space.done(&["log"]);
        assert!(said.out.starts_with("run 2, "), "{}", said.out);
        assert!(said.out.contains("eval: 0.5 → 0.25"), "{}", said.out);
        let log = space.done(&["log", "1", "--json"]).object("log");
        assert_eq!(log["nodes"][0]["why"], json!("never built"));
        assert_eq!(space.done(&["log", "--list", "--json"]).objects("run").len(), 2);
    }

    #[test]
    fn the_trace_has_one_event_for_each_node_that_ran() {
        let space = Space::new();
        space.done(&["build"]);
        space.done(&["log", "--trace", "out.json"]);
        let trace: Value = serde_json::from_slice(&fs_err::read(space.path().join("out.json")).unwrap()).unwrap();
        assert_eq!(trace["traceEvents"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn a_run_that_is_not_kept_is_refused() {
        let space = Space::new();
        space.refused(&["log"], Exit::Wrong, "tunesmith build");
        space.done(&["build"]);
        space.refused(&["log", "7"], Exit::Wrong, "run 7 is not kept");
    }
}
