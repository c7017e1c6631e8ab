//! The command line: options of every command, and the list of commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::output::Colour;
use super::{CliError, Context, Execute as _, Exit};
use super::{
    build, cache, chat, check, completions, correct, diff, doctor, explain, get, graph, init, lineage, lock, log, plan,
    purge, rollback, schema, serve, show, verify, worker,
};

/// Turns a `pipeline.toml` into a fine-tuned, quantised model and reruns only what is stale.
#[derive(Debug, Parser)]
#[command(name = "tunesmith", version, max_term_width = 100, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(super) struct CommandLine {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 a step failed, 2 the manifest or the command line is wrong, \
                          3 a gate was not met, 70 a bug of tunesmith, 130 interrupted.";

/// Options that every command takes.
#[derive(Clone, Debug, Default, Args)]
pub struct Globals {
    /// The manifest; by default the nearest `pipeline.toml` upwards
    #[arg(short, long, global = true, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Put `[profile.NAME]` over the manifest
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Put a setting over the manifest, such as `train.expert.epochs=1`; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Write results as JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub color: Colour,
}

/// Makes the list of commands and their dispatch: a command is one file and one line here.
macro_rules! commands {
    ($($(#[$about:meta])* $name:ident($arguments:ty),)*) => {
        /// What is to be done.
        #[derive(Debug, Subcommand)]
        pub(super) enum Command {
            $($(#[$about])* $name($arguments),)*
        }

        impl Command {
            /// Runs the command.
            pub(super) fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
                match self {
                    $(Self::$name(arguments) => arguments.execute(context),)*
                }
            }
        }
    };
}

commands! {
    /// Write a commented `pipeline.toml` for this repository
    Init(init::Init),
    /// Show every problem of the manifest, each with its place and a suggestion
    #[command(after_help = "With --json: one object `check`: manifest, nodes, families, notes.")]
    Check(check::Check),
    /// Show what a build would run, and why
    #[command(
        after_help = "With --json: one object `plan` a node: node, kind, action (fresh, run, hold, \
                      refuse), why, key, reason, forecast, cost, selected (of, files); with --rehearse one object `rehearsal` a training: \
                      node, parts (node, kind, asked, duration-ms, counts, error), passed-before, left-out. A \
                      training that does not fit into memory is refused and ends with 1, as does a rehearsal that \
                      fails."
    )]
    Plan(plan::PlanCommand),
    /// Run what is stale
    #[command(
        after_help = "With --json: `node` with `said` for each event, then `counts` for each source and \
                      filter and one object `build` with the totals. Ends with 1 when a node failed or an edited `out` was left alone, with 3 when only a \
                      gate was not met."
    )]
    Build(build::Build),
    /// Show each node's state
    #[command(after_help = "With --json: one object `status` a node: node, state, why.")]
    Status(plan::Status),
    /// Say exactly what changed in a node since its last build
    #[command(
        after_help = "With --json: one object `explain`: node, kind, state, why, key, run, \
                      stale-inputs, differences, parts."
    )]
    Explain(explain::Explain),
    /// Draw the graph, coloured by state
    #[command(after_help = "With --json: one object `graph` a node: node, kind, state, out, inputs.")]
    Graph(graph::GraphCommand),
    /// Show what a node has: outputs, fields, counts, provenance, rows
    #[command(
        after_help = "With --json: one object `show`: node, kind, state, key, outputs, fields, \
                      report, provenance, reads, settings; with --rows one object `row` each, and one object \
                      `dropped` (id, reasons) after a row that a filter left out."
    )]
    Show(show::Show),
    /// Copy a node's output to a path of your choice
    #[command(after_help = "With --json: one object `get`: node, output, path, digest, bytes, state.")]
    Get(get::Get),
    /// Talk to the model that a node gave
    #[command(
        after_help = "Where standard input is no terminal, each line is a question. `/bye` or the end of the input ends \
                      it, `/new` begins a new conversation, Ctrl-C stops an answer.\n\nWith --json: one object `chat` an \
                      answer: question, answer, prompt-tokens, tokens, ended, left-out, base."
    )]
    Chat(chat::Chat),
    /// Answer over HTTP, as OpenAI's clients ask, with the model that a node gave
    #[command(
        after_help = "POST /v1/chat/completions, GET /v1/models, GET /health. What a request does not say is as the \
                      options say.\n\nWith --json: one object `serve` when requests can come: node, model, url, context."
    )]
    Serve(serve::Serve),
    /// Write down the right answer where a row is wrong
    #[command(
        after_help = "With --json: one object `correct`: node, file, line, id, is-new, supersedes (each node, row, by), \
                      unknown, next."
    )]
    Correct(correct::Correct),
    /// Compare two builds: settings, metrics and rows
    #[command(
        after_help = "With --json: one object `diff` a node that differs (node, change, differences, \
                      metrics, outputs), then one object `diff-runs`."
    )]
    Diff(diff::Diff),
    /// Follow a record to its rows and models, a row to its record, a model to its rows
    #[command(
        after_help = "With --json: one object `lineage`: for a record or row asked, is, excluded, held, from, \
                      reached, dropped; for a model asked, is, node, kind, outputs, sets."
    )]
    Lineage(lineage::Lineage),
    /// Exclude records or rows from everything that is built from now on
    #[command(
        after_help = "With --json: one object `purge`: ids, note, undone, file, stale (nodes), models (each node, \
                      kind, rows)."
    )]
    Purge(purge::Purge),
    /// Pin the adapter that a training starts from, or let it train in full again
    #[command(after_help = "With --json: one object `lock`: node, start (warm, cold), changed, adapter, warm-starts, file.")]
    Lock(lock::Lock),
    /// Put back what the last deployment replaced: the tag before, the value before
    #[command(
        after_help = "With --json: one object `rollback` a node: node, kind, done (lines). Ends with 1 when what was \
                      deployed is no longer as it was left."
    )]
    Rollback(rollback::Rollback),
    /// Show what a build did, how long it took, and what made it take that long
    #[command(
        after_help = "With --json: one object `log`: run, began, duration-ms, profile, nodes, \
                      critical-path; with --list one object `run` each."
    )]
    Log(log::Log),
    /// Count, clean and check the store
    #[command(
        after_help = "With --json: one object `cache-stat`, `cache-gc` or `cache-verify`. `verify` \
                      ends with 1 when something was damaged."
    )]
    Cache(cache::Cache),
    /// Build a node again, aside, and compare the digests
    #[command(
        after_help = "With --json: one object `verify`: node, kind, determinism, same, outputs, \
                      fields. Ends with 1 when a kind that promises the same bytes gave others."
    )]
    Verify(verify::Verify),
    /// Check that this machine has what the project needs
    #[command(
        after_help = "With --json: one object `doctor` a check: check, state (good, optional, bad), \
                      found, help. Ends with 1 when something is bad."
    )]
    Doctor(doctor::Doctor),
    /// Print the manifest's JSON Schema, or the table of node types
    Schema(schema::Schema),
    /// Print a shell's completions
    Completions(completions::Completions),
    /// Run one job, for the driver that made it
    #[command(hide = true)]
    Worker(worker::Worker),
}
