//! The command line: options of every command, and the list of commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::output::Colour;
use super::{CliError, Context, Execute as _, Exit};
use super::{build, check, completions, explain, init, plan, schema, worker};

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
    Check(check::Check),
    /// Show what a build would run, and why
    Plan(plan::PlanCommand),
    /// Run what is stale
    Build(build::Build),
    /// Show each node's state
    Status(plan::Status),
    /// Say exactly what changed in a node since its last build
    Explain(explain::Explain),
    /// Print the manifest's JSON Schema, or the table of node types
    Schema(schema::Schema),
    /// Print a shell's completions
    Completions(completions::Completions),
    /// Run one job, for the driver that made it
    #[command(hide = true)]
    Worker(worker::Worker),
}
