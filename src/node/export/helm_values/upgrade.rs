//! The program that puts the values to work, such as `helm upgrade`.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::node::command::{End, Log, to_its_end};
use crate::node::{NodeError, Run};

/// Runs the program in the manifest's folder. It needs what its user has, such as `KUBECONFIG`: the environment is that
/// of this process.
pub(super) fn upgrade(run: &Run<'_>, folder: &Path, argv: &[String]) -> Result<End, NodeError> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(End::Well) };
    // A relative path means the manifest's folder, not the one that tunesmith was started in.
    let found = if program.contains('/') { folder.join(program) } else { program.into() };
    let mut command = Command::new(found);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    to_its_end(run, command, Log::default())
}
