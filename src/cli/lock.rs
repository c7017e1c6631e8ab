//! `tunesmith lock`: from what a training starts.
//!
//! `--json` writes one object `lock`: `node`, `start` (`warm` or `cold`), `changed`, `adapter` (the pinned digest),
//! `warm-starts` (those behind it), `file`.

use serde_json::json;

use super::session::Session;
use super::{CliError, Context, Execute, Exit};
use crate::engine::{Mode, WarmStart};
use crate::store::Artifact;

/// Arguments of `lock`.
#[derive(Debug, clap::Args)]
pub(super) struct Lock {
    /// Pin the adapter that this node has: its next trainings start from it, over rows that are new or changed
    #[arg(long, value_name = "NODE", conflicts_with = "cold", required_unless_present = "cold")]
    warm_start: Option<String>,
    /// Let this node train in full again
    #[arg(long, value_name = "NODE")]
    cold: Option<String>,
}

impl Execute for Lock {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open(context, Mode::default())?;
        let resolver = session.resolver();
        let index = session.node(self.warm_start.as_deref().or(self.cold.as_deref()).unwrap_or_default())?;
        let node = &session.project.graph[index];
        if !resolver.kind(node)?.warm_starts() {
            return Err(CliError::NoWarmStart { node: node.name.clone(), kind: node.kind_name.clone() });
        }
        let never_built = || CliError::NeverBuilt { node: node.name.clone() };
        let changed = match self.warm_start {
            Some(_) => resolver.pin_warm_start(index)?.ok_or_else(never_built)?,
            None => resolver.unpin_warm_start(index)?,
        };
        let pinned = session.warm_start(&node.name);
        let adapter = pinned.as_ref().and_then(|start| start.outputs.values().next()).map(Artifact::digest);
        let file = session.lock_file();
        context.output.line(match (&pinned, changed) {
            (Some(start), true) => {
                format!("{} starts from its adapter of now{}: commit {file}", node.name, after(start))
            }
            (Some(_), false) => format!("{} starts from its adapter of now already", node.name),
            (None, true) => format!("{} trains in full again: commit {file}", node.name),
            (None, false) => format!("{} trains in full already", node.name),
        });
        context.output.json(&json!({"lock": {
            "node": node.name, "start": if pinned.is_some() { "warm" } else { "cold" }, "changed": changed,
            "adapter": adapter, "warm-starts": pinned.map(|start| start.warm_starts), "file": file,
        }}));
        Ok(Exit::Done)
    }
}

/// Says how many warm starts an adapter has behind it.
fn after(start: &WarmStart) -> String {
    match start.warm_starts {
        0 => String::new(),
        1 => ", which one warm start made".to_owned(),
        count => format!(", which {count} warm starts made"),
    }
}
