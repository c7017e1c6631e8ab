//! The command line: one file a command. The only module that prints, reads the environment, or exits.
//!
//! A command gets a [`Context`] and gives an [`Exit`]; errors are reported here, in one place. [`run`] is the whole
//! program without a process around it, which is what tests call.
//!
//! # Exit codes
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | what was asked for is done |
//! | 1 | a step failed; `status --exit-code`: something is stale; `verify`, `cache verify`, `doctor`: something is wrong |
//! | 2 | the manifest or the command line is wrong |
//! | 3 | a gate was not met |
//! | 70 | a bug of tunesmith |
//! | 130 | interrupted |
//!
//! A closed pipe ends no command with a failure.
//!
//! # `--json`
//!
//! Results are objects on standard output, one a line, each with one key that says what it is; all else goes to
//! standard error. Keys within are in kebab-case; digests are 64 hexadecimal digits; times are milliseconds, `began` is
//! seconds since 1970; what is unknown is `null`. Fields may be added, not taken away.
//!
//! | command | objects |
//! | --- | --- |
//! | every one | `problem`: `code`, `message`, `causes`, `help`, `labels` (each `file`, `line`, `column`, `label`) |
//! | `init` | `init`: `manifest`, `sources`, `notes` |
//! | `check` | `check`: `manifest`, `nodes`, `families` (count by name), `notes` (each `node`, `note`) |
//! | `plan` | `plan` a node: `node`, `kind`, `action` (`fresh`, `run`, `hold`, `refuse`), `why`, `key`, `reason`, `forecast` (of the network), `cost` (of a training: `seconds`, `memory` in bytes, `note`), `selected` (what globs select, each `of` and `files`) |
//! | `build` | `node` and `said` (`event` and its fields) while it runs; at the end where something ran `counts` a source or filter, see `table.rs`, and `build`: `run`, `built`, `fresh`, `failed`, `not-run`, `not-deployed`, `duration-ms`, `interrupted` |
//! | `status` | `status` a node: `node`, `state`, `why` |
//! | `explain` | `explain`, see `explain.rs` |
//! | `graph` | `graph` a node, see `graph.rs` |
//! | `show` | `show`, and `row` a row, `dropped` after one that a filter left out, see `show/mod.rs` |
//! | `get` | `get`, see `get.rs` |
//! | `chat` | `chat` an answer, see `chat/mod.rs` |
//! | `serve` | `serve`, see `serve.rs` |
//! | `correct` | `correct`, see `correct.rs` |
//! | `diff` | `diff` a node that differs, `diff-runs`, see `diff/mod.rs` |
//! | `lineage` | `lineage`, see `lineage/mod.rs` |
//! | `lock` | `lock`, see `lock.rs` |
//! | `purge` | `purge`, see `purge.rs` |
//! | `rollback` | `rollback` a node, see `rollback.rs` |
//! | `log` | `log`; with `--list` `run` a run, see `log.rs` |
//! | `cache` | `cache-stat`, `cache-gc`, `cache-verify`, see `cache.rs` |
//! | `verify` | `verify`, see `verify.rs` |
//! | `doctor` | `doctor` a check, see `doctor/mod.rs` |
//!
//! `schema` and `completions` write a text that is the result in either form; `schema --json` in one line.

mod args;
mod build;
#[cfg(feature = "llama")]
mod built;
mod cache;
mod chat;
mod check;
mod completions;
mod correct;
mod diff;
mod doctor;
mod environment;
mod error;
mod exit;
mod explain;
mod get;
mod graph;
mod init;
mod interrupt;
mod lineage;
mod lock;
mod log;
mod machine;
mod output;
mod plan;
mod progress;
mod project;
mod purge;
mod rehearse;
mod rollback;
mod rows;
#[cfg(feature = "llama")]
mod sampling;
mod schema;
mod selection;
mod serve;
mod session;
mod settled;
mod show;
mod table;
#[cfg(test)]
mod testing;
mod verify;
mod worker;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

use args::CommandLine;

pub use args::Globals;
pub use environment::Environment;
pub use error::CliError;
pub use exit::Exit;
pub use output::{Captured, Colour, Output};
pub use project::Project;

use crate::engine::KindCatalog;
use crate::net::Network;

/// What surrounds a run of the program.
pub struct Surroundings {
    /// The folder that relative paths on the command line start from.
    pub folder: PathBuf,
    /// The environment's variables.
    pub environment: Environment,
    /// The kinds of nodes.
    pub catalog: KindCatalog,
    /// The program that heavy nodes run in; without one they run in this process.
    pub worker: Option<PathBuf>,
}

/// What a command works with.
pub struct Context<'a> {
    /// Options that every command takes.
    pub globals: Globals,
    /// What surrounds the run.
    pub surroundings: &'a Surroundings,
    /// Where it writes.
    pub output: &'a mut Output,
}

/// A command's arguments, which can be carried out.
trait Execute {
    /// Carries the command out.
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError>;
}

/// Runs the program in this process: arguments in, exit code out.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(output::report_bug));
    let exit = std::panic::catch_unwind(|| {
        let mut output = Output::standard();
        match Surroundings::of_process() {
            Ok(surroundings) => {
                let variable = |name: &str| surroundings.environment.var(name).map(str::to_owned);
                Network::from_variables(variable).set_for_process();
                run(std::env::args_os(), &surroundings, &mut output)
            }
            Err(error) => {
                output.error(&CliError::from(error));
                Exit::Failed
            }
        }
    });
    exit.unwrap_or(Exit::Bug).into()
}

impl Surroundings {
    /// Returns what surrounds this process.
    fn of_process() -> std::io::Result<Self> {
        let folder = std::env::current_dir()?;
        let worker = std::env::current_exe().ok();
        Ok(Self { folder, environment: Environment::of_process(), catalog: KindCatalog::all(), worker })
    }
}

/// Runs the program: `args` with the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>, surroundings: &Surroundings, output: &mut Output) -> Exit {
    let exit = match CommandLine::try_parse_from(args) {
        Ok(line) => {
            let no_color = surroundings.environment.var("NO_COLOR").is_some_and(|value| !value.is_empty());
            output.configure(line.globals.json, line.globals.color, no_color);
            execute(&line, surroundings, output)
        }
        Err(usage) => refuse(&usage, output),
    };
    match output.finish() {
        Ok(()) => exit,
        Err(_) => exit.max(Exit::Failed),
    }
}

fn execute(line: &CommandLine, surroundings: &Surroundings, output: &mut Output) -> Exit {
    let mut context = Context { globals: line.globals.clone(), surroundings, output };
    match line.command.execute(&mut context) {
        Ok(exit) => exit,
        Err(CliError::Manifest(problems)) => {
            output.problems(&problems);
            Exit::Wrong
        }
        Err(error) => {
            output.error(&error);
            error.exit()
        }
    }
}

/// Says what is wrong with the command line; help and version were asked for and are a result.
fn refuse(usage: &clap::Error, output: &mut Output) -> Exit {
    let text = usage.render().to_string();
    if usage.use_stderr() {
        output.note_text(&text);
        Exit::Wrong
    } else {
        output.text(&text);
        Exit::Done
    }
}

#[cfg(test)]
mod tests;
