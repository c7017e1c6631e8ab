//! `tunesmith completions SHELL`: what a shell needs to complete our command line.

use clap::CommandFactory as _;

use super::args::CommandLine;
use super::{CliError, Context, Execute, Exit};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

impl Execute for Completions {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut CommandLine::command(), "tunesmith", &mut script);
        context.output.text(&String::from_utf8_lossy(&script));
        Ok(Exit::Done)
    }
}
