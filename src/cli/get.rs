//! `tunesmith get`: copy an output out of the store.
//!
//! `--json` writes one object `get`: `node`, `output`, `path`, `digest`, `bytes`, `state` (`fresh`, or `stale` when what
//! was copied is what the node gave when it was last built).

use std::path::PathBuf;

use indicatif::HumanBytes;
use serde_json::json;

use super::session::Session;
use super::{CliError, Context, Execute, Exit};
use crate::engine::{Mode, Standing, explain, materialise};
use crate::store::Artifact;

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// The node, and its output where it has several
    #[arg(value_name = "NODE[:OUTPUT]")]
    node: String,
    /// Where to
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// Overwrite a file
    #[arg(long)]
    force: bool,
}

impl Execute for Get {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open(context, Mode::default())?;
        let (index, output) = session.node_output(&self.node)?;
        let explanation = explain(&session.resolver(), index)?;
        let node = &session.project.graph[index].name;
        let never_built = || CliError::NeverBuilt { node: node.clone() };
        let known = explanation.known.as_ref().ok_or_else(never_built)?;
        let artifact = known.outputs.get(&output).ok_or_else(never_built)?;
        let target = context.surroundings.folder.join(&self.output);
        self.check_target(&target, artifact)?;
        materialise(&session.store, artifact, &target)?;
        let is_fresh = explanation.standing == Standing::Fresh && explanation.stale_inputs.is_empty();
        if !is_fresh {
            context.output.note(format_args!("`{node}` is stale: this is what it gave when it was last built"));
        }
        let path = self.output.display().to_string();
        context.output.line(format_args!("{node}:{output} → {path} ({})", HumanBytes(artifact.size())));
        context.output.json(&json!({"get": {
            "node": node, "output": output, "path": path, "digest": artifact.digest(), "bytes": artifact.size(),
            "state": if is_fresh { "fresh" } else { "stale" },
        }}));
        Ok(Exit::Done)
    }
}

impl Get {
    /// Refuses what would be lost. A folder is never replaced: too much could be in it.
    fn check_target(&self, target: &std::path::Path, artifact: &Artifact) -> Result<(), CliError> {
        let path = self.output.display().to_string();
        let is_folder_output = matches!(artifact, Artifact::Folder { .. });
        match target.symlink_metadata() {
            Ok(found) if found.is_dir() || target.is_dir() => Err(CliError::TargetIsFolder { path }),
            Ok(_) if !self.force || is_folder_output => Err(CliError::TargetExists { path }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::Exit;
    use crate::cli::testing::Space;

    #[test]
    fn an_output_is_copied_as_users_read_it() {
        let space = Space::new();
        space.done(&["build"]);
        let got = space.done(&["get", "pairs", "-o", "out/rows.jsonl", "--json"]).object("get");
        assert_eq!((&got["output"], &got["state"]), (&json!("rows"), &json!("fresh")));
        let text = fs_err::read_to_string(space.path().join("out/rows.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert!(text.contains("alpha"), "{text}");
        space.done(&["get", "dataset:eval", "-o", "eval.jsonl"]);
    }

    #[test]
    fn a_file_that_is_there_is_left_alone_without_force() {
        let space = Space::new();
        space.done(&["build"]);
        space.write("mine.jsonl", "mine");
        space.refused(&["get", "pairs", "-o", "mine.jsonl"], Exit::Failed, "`mine.jsonl` is there already");
        assert_eq!(fs_err::read_to_string(space.path().join("mine.jsonl")).unwrap(), "mine");
        space.done(&["get", "pairs", "-o", "mine.jsonl", "--force"]);
        space.refused(&["get", "pairs", "-o", "cache", "--force"], Exit::Failed, "is a folder");
        assert!(space.path().join("cache/format").exists());
    }

    #[test]
    fn an_unknown_output_and_a_node_without_result_are_refused() {
        let space = Space::new();
        space.refused(&["get", "pairs:answers", "-o", "x"], Exit::Wrong, "has no output `answers`");
        space.refused(&["get", "pairs", "-o", "x"], Exit::Failed, "was never built");
    }
}
