//! `tunesmith rollback`: put back what the last deployment replaced.
//!
//! Without a node, everything that the last deploying command changed is taken back: what reads others first, so that a
//! value never names a model that is gone. `--json` writes one object `rollback` a node: `node`, `kind`, `done` (lines).

use serde_json::json;

use super::progress::Progress;
use super::session::Session;
use super::{CliError, Context, Execute, Exit, error, interrupt};
use crate::engine::{Mode, RollBack, deployed, roll_back};
use crate::graph::NodeIndex;
use crate::node::{Cancel, FailureClass, NodeError};

/// Arguments of `rollback`.
#[derive(Debug, clap::Args)]
pub(super) struct Rollback {
    /// The node whose last deployment is taken back; by default all that the last command deployed
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
}

impl Execute for Rollback {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open(context, Mode::default())?;
        let resolver = session.resolver();
        let nodes = self.nodes(&session)?;
        let cancel = Cancel::shared();
        interrupt::cancel_on_signal(&cancel)?;
        for index in nodes {
            let node = &session.project.graph[index];
            let result = {
                let observer = Progress::new(context.output, &session.project.graph);
                let secrets = &context.surroundings.environment;
                roll_back(&resolver, index, &RollBack { observer: &observer, cancel: &cancel, secrets })?
            };
            match result {
                Ok(done) => {
                    for line in &done {
                        context.output.line(format_args!("{}: {line}", node.name));
                    }
                    context.output.json(&json!({"rollback": {
                        "node": node.name, "kind": node.kind_name, "done": done,
                    }}));
                }
                // What is not taken back yet stays noted: the same command goes on with it.
                Err(failure) => {
                    context.output.note(format_args!("in node `{}`:", node.name));
                    context.output.error(&error::Reported(&failure));
                    return Ok(exit(&failure));
                }
            }
        }
        Ok(Exit::Done)
    }
}

impl Rollback {
    /// Returns the nodes to take back, readers first.
    fn nodes(&self, session: &Session<'_>) -> Result<Vec<NodeIndex>, CliError> {
        if !self.nodes.is_empty() {
            let mut nodes = self.nodes.iter().map(|name| session.node(name)).collect::<Result<Vec<_>, _>>()?;
            nodes.sort_unstable();
            nodes.dedup();
            nodes.reverse();
            return Ok(nodes);
        }
        let deployed = deployed(&session.resolver())?;
        let last = deployed.iter().map(|(_, time)| *time).max().ok_or(CliError::NothingDeployed)?;
        Ok(deployed.into_iter().filter(|(_, time)| *time == last).map(|(index, _)| index).collect())
    }
}

fn exit(failure: &NodeError) -> Exit {
    match failure.class {
        FailureClass::Cancelled => Exit::Interrupted,
        FailureClass::Bug => Exit::Bug,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::process::Command;

    use serde_json::json;

    use crate::cli::Exit;
    use crate::cli::testing::Space;

    const VALUES: &str = "# Our values\nollamaHub:\n  env:  # what the agent asks for\n    \
        AGENT_MODEL_OLLAMA: \"llama3.1:8b\"   # by name\n    OTHER: &x 'y'\nreplicas: 1\n";
    const NEW: &str = "# Our values\nollamaHub:\n  env:  # what the agent asks for\n    \
        AGENT_MODEL_OLLAMA: \"expert:8b\"   # by name\n    OTHER: &x 'y'\nreplicas: 1\n";

    /// A project that sets one value, with more lines in its node.
    fn space(more: &str) -> Space {
        let space = Space::new();
        space.write("values.yaml", VALUES);
        let manifest = fs_err::read_to_string(space.path().join("pipeline.toml")).unwrap();
        let node = "\n[export.deploy]\ntype = \"helm-values\"\nfile = \"values.yaml\"\n\
                    set = { \"ollamaHub.env.AGENT_MODEL_OLLAMA\" = \"expert:8b\" }\n";
        space.write("pipeline.toml", &format!("{manifest}{node}{more}\n"));
        space
    }

    fn values(space: &Space) -> String {
        fs_err::read_to_string(space.path().join("values.yaml")).unwrap()
    }

    fn git(space: &Space, arguments: &[&str]) -> String {
        let output = Command::new("git").arg("-C").arg(space.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn repository(space: &Space) {
        git(space, &["init", "--quiet"]);
        for (name, value) in [("user.name", "Dev"), ("user.email", "dev@example.org"), ("commit.gpgsign", "false")] {
            git(space, &["config", name, value]);
        }
        git(space, &["add", "values.yaml", "notes.jsonl"]);
        git(space, &["commit", "--quiet", "-m", "first"]);
    }

    #[test]
    fn a_value_is_deployed_when_asked_for_and_put_back_byte_for_byte() {
        let space = space("");
        let held = space.done(&["build"]);
        assert!(held.err.contains("`deploy` would change something outside the project"), "{}", held.err);
        assert_eq!(values(&space), VALUES);
        space.refused(&["rollback"], Exit::Failed, "nothing was deployed");
        let said = space.done(&["build", "--deploy"]);
        let line = "deploy: values.yaml:4: ollamaHub.env.AGENT_MODEL_OLLAMA: \"llama3.1:8b\" → \"expert:8b\"";
        assert!(said.err.contains(line), "{}", said.err);
        assert_eq!(values(&space), NEW);
        let before = fs_err::metadata(space.path().join("values.yaml")).unwrap().ino();
        let again = space.done(&["build", "deploy"]);
        assert!(again.err.contains("has these values already"), "{}", again.err);
        let after = fs_err::metadata(space.path().join("values.yaml")).unwrap().ino();
        assert_eq!(after, before, "the second run writes nothing");
        let said = space.done(&["rollback", "--json"]).object("rollback");
        let done = "`ollamaHub.env.AGENT_MODEL_OLLAMA` in values.yaml is \"llama3.1:8b\" again, was \"expert:8b\"";
        assert_eq!((&said["node"], &said["done"]), (&json!("deploy"), &json!([done])));
        assert_eq!(values(&space), VALUES);
        space.refused(&["rollback", "deploy"], Exit::Failed, "has deployed nothing");
        space.done(&["build", "--deploy"]);
        assert_eq!(values(&space), NEW);
    }

    #[test]
    fn what_is_not_as_it_was_left_is_not_taken_back() {
        let space = space("");
        space.done(&["build", "--deploy"]);
        space.edit("values.yaml", "replicas: 1", "replicas: 2");
        space.done(&["rollback"]);
        assert_eq!(values(&space), VALUES.replace("replicas: 1", "replicas: 2"), "other edits stay");
        space.done(&["build", "--deploy"]);
        space.edit("values.yaml", "expert:8b", "theirs:1b");
        space.refused(&["rollback"], Exit::Failed, "theirs:1b");
    }

    #[test]
    fn a_file_without_the_key_stays_as_it_is() {
        let space = space("");
        space.edit("values.yaml", "AGENT_MODEL_OLLAMA", "AGENT_MODEL");
        let before = values(&space);
        space.refused(&["build", "deploy"], Exit::Failed, "`ollamaHub.env` has no key `AGENT_MODEL_OLLAMA`");
        assert_eq!(values(&space), before);
        space.write("values.yaml", "ollamaHub: [\n");
        space.refused(&["build", "deploy"], Exit::Failed, "`values.yaml`: line ");
    }

    #[test]
    fn links_and_permissions_stay() {
        let space = space("");
        let (link, real) = (space.path().join("values.yaml"), space.path().join("real.yaml"));
        fs_err::rename(&link, &real).unwrap();
        std::os::unix::fs::symlink("real.yaml", &link).unwrap();
        fs_err::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        space.done(&["build", "deploy"]);
        assert!(link.is_symlink());
        assert_eq!(fs_err::read_to_string(&real).unwrap(), NEW);
        assert_eq!(fs_err::metadata(&real).unwrap().mode() & 0o777, 0o640);
    }

    #[test]
    fn one_file_is_committed_and_a_dirty_one_is_refused() {
        let space = space("commit = \"deploy the expert\"");
        space.refused(&["build", "deploy"], Exit::Failed, "it is in no git repository");
        repository(&space);
        space.edit("values.yaml", "replicas: 1", "replicas: 2");
        space.refused(&["build", "deploy"], Exit::Failed, "`values.yaml` has changes that are not committed (M)");
        git(&space, &["checkout", "--quiet", "values.yaml"]);
        space.write("notes.jsonl", &crate::cli::testing::rows(&["alpha"]));
        git(&space, &["add", "notes.jsonl"]);
        space.done(&["build", "deploy"]);
        assert_eq!(git(&space, &["log", "--format=%s", "--name-only", "-1"]), "deploy the expert\n\nvalues.yaml\n");
        assert_eq!(git(&space, &["show", "HEAD:values.yaml"]), NEW);
        assert_eq!(
            git(&space, &["status", "--porcelain", "notes.jsonl"]),
            "M  notes.jsonl\n",
            "what is staged stays so"
        );
        space.done(&["rollback"]);
        assert_eq!(git(&space, &["log", "--format=%s", "-1"]), "roll back: deploy the expert\n");
        assert_eq!(git(&space, &["show", "HEAD:values.yaml"]), VALUES);
    }

    #[test]
    fn a_commit_that_fails_puts_the_file_back() {
        let space = space("commit = \"deploy\"");
        repository(&space);
        space.write(".git/hooks/pre-commit", "#!/bin/sh\necho no deploys on fridays >&2\nexit 1\n");
        let hook = space.path().join(".git/hooks/pre-commit");
        fs_err::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        space.refused(&["build", "deploy"], Exit::Failed, "no deploys on fridays");
        assert_eq!(values(&space), VALUES);
        fs_err::remove_file(&hook).unwrap();
        space.done(&["build", "deploy"]);
        assert_eq!(git(&space, &["show", "HEAD:values.yaml"]), NEW);
    }

    #[test]
    fn an_upgrade_that_fails_puts_the_file_back_and_one_that_was_broken_off_is_gone_on_with() {
        let space = space("upgrade = [\"sh\", \"upgrade.sh\"]\ncommit = \"deploy\"");
        repository(&space);
        space.write("upgrade.sh", "grep MODEL values.yaml; echo release is locked; exit 4\n");
        space.refused(&["build", "deploy"], Exit::Failed, "ended with code 4");
        assert_eq!(values(&space), VALUES);
        space.refused(&["rollback"], Exit::Failed, "nothing was deployed");
        // A hook that fails after the upgrade: what runs is what the file says, and the next run commits it.
        space.write("upgrade.sh", "echo ran >> upgrades\n");
        let hook = space.path().join(".git/hooks/pre-commit");
        space.write(".git/hooks/pre-commit", "#!/bin/sh\nexit 1\n");
        fs_err::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        space.refused(&["build", "deploy"], Exit::Failed, "mend what git says");
        assert_eq!(values(&space), NEW);
        fs_err::remove_file(&hook).unwrap();
        let said = space.done(&["build", "deploy"]);
        assert!(said.err.contains("going on with what follows"), "{}", said.err);
        assert_eq!(fs_err::read_to_string(space.path().join("upgrades")).unwrap(), "ran\n");
        assert_eq!(git(&space, &["show", "HEAD:values.yaml"]), NEW);
        // The way back: a program that fails leaves the rest for the next try.
        space.write("upgrade.sh", "exit 1\n");
        space.refused(&["rollback"], Exit::Failed, "ended with code 1");
        assert_eq!(values(&space), VALUES);
        space.write("upgrade.sh", "echo back >> upgrades\n");
        space.done(&["rollback"]);
        assert_eq!(fs_err::read_to_string(space.path().join("upgrades")).unwrap(), "ran\nback\n");
        assert_eq!(git(&space, &["show", "HEAD:values.yaml"]), VALUES);
    }

    #[test]
    fn a_gate_that_is_not_met_lets_nothing_be_deployed_and_tells_the_numbers() {
        let space = space("gate = \"ship\"\n[eval.ship]\ntype = \"gate\"\nrequire = [\"dataset.train >= 100\"]");
        let said = space.run(&["build", "--deploy"]);
        assert_eq!(said.exit, Exit::GateNotMet, "{}", said.err);
        assert!(said.err.contains("`dataset.train >= 100`: `dataset.train` is "), "{}", said.err);
        assert!(said.err.contains("- deploy: not run, `ship` has no result"), "{}", said.err);
        assert_eq!(values(&space), VALUES);
        space.edit("pipeline.toml", ">= 100", ">= 1");
        space.done(&["build", "--deploy"]);
        assert_eq!(values(&space), NEW);
    }

    #[test]
    fn a_build_undoes_together_what_it_deployed_together() {
        let space = space("[export.second]\ntype = \"helm-values\"\nfile = \"values.yaml\"\nset = { replicas = 3 }");
        space.done(&["build", "--deploy"]);
        assert_eq!(values(&space), NEW.replace("replicas: 1", "replicas: 3"));
        space.done(&["rollback"]);
        assert_eq!(values(&space), VALUES);
    }
}
