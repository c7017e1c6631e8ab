//! `tunesmith verify`: build a node again, aside, and compare the digests.
//!
//! `--json` writes one object `verify`: `node`, `kind`, `determinism` (`exact`, `exact-per-isa`, `varies`), `same`,
//! `outputs` (each `output`, `stored`, `rebuilt` digest, `same`) and `fields` (each `field`, `stored`, `rebuilt`, of those
//! that differ). Exit code 1 when a kind that promises the same bytes did not give them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::progress::Progress;
use super::session::Session;
use super::{CliError, Context, Execute, Exit, error, interrupt};
use crate::engine::{EngineError, Known, Mode, Rebuild, Rebuilt, Standing, explain, rebuild};
use crate::graph::NodeIndex;
use crate::manifest;
use crate::node::{Cancel, Determinism, FailureClass, Outcome};
use crate::store::{Artifact, Digest};

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The node
    node: String,
}

impl Execute for Verify {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let session = Session::open(context, Mode::default())?;
        let index = session.node(&self.node)?;
        let resolver = session.resolver();
        let node = &session.project.graph[index];
        let kind = resolver.kind(node)?;
        if kind.is_effect(&node.settings) {
            return Err(CliError::Effect { node: node.name.clone() });
        }
        let explanation = explain(&resolver, index)?;
        let (Standing::Fresh, Some(known), Some(prepared)) =
            (&explanation.standing, &explanation.known, &explanation.prepared)
        else {
            return Err(match explanation.known {
                Some(_) => CliError::Stale { node: node.name.clone() },
                None => CliError::NeverBuilt { node: node.name.clone() },
            });
        };
        let run = &session.project.manifest.run.options;
        let cancel = Cancel::shared();
        interrupt::cancel_on_signal(&cancel)?;
        let rebuilt = {
            let progress = Progress::new(context.output, &session.project.graph);
            let options = Rebuild {
                worker: context.surroundings.worker.as_deref(),
                grant: super::machine::grant(run),
                observer: &progress,
                cancel: &cancel,
                secrets: &context.surroundings.environment,
            };
            rebuild(&resolver, index, prepared, &options)?
        };
        // What readers do not see was given all the same.
        let given = session.store.hit(&known.key).map_err(EngineError::from)?;
        let known = given.as_deref().unwrap_or(known);
        match rebuilt {
            Rebuilt::Outcome(outcome) => compare(context, &session, index, known, &outcome),
            Rebuilt::Failed(failure) => {
                context.output.note(format_args!("in node `{}`:", node.name));
                context.output.error(&error::Reported(&failure));
                Ok(match failure.class {
                    FailureClass::Cancelled => Exit::Interrupted,
                    FailureClass::Bug => Exit::Bug,
                    _ => Exit::Failed,
                })
            }
        }
    }
}

/// Reports both results side by side.
fn compare(
    context: &mut Context<'_>,
    session: &Session<'_>,
    index: NodeIndex,
    known: &Known,
    outcome: &Outcome,
) -> Result<Exit, CliError> {
    let node = &session.project.graph[index];
    let determinism = session.resolver().kind(node)?.determinism(&node.settings);
    let provenance = session.store.action(&known.key).map_err(EngineError::from)?.map(|record| record.provenance);
    // Of a GPU's results nothing is known between two cards.
    let is_elsewhere = node.run.device.is_some_and(|device| device != manifest::Device::Cpu)
        || provenance.is_some_and(|built| built.isa != std::env::consts::ARCH || built.device.is_some());
    let output = &mut *context.output;
    let mut outputs = Vec::new();
    for name in names(known.outputs.keys(), outcome.outputs.keys()) {
        let stored = known.outputs.get(name).map(Artifact::digest);
        let rebuilt = outcome.outputs.get(name).map(Artifact::digest);
        let text = |digest: Option<Digest>| digest.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
        if stored == rebuilt {
            output.line(format_args!("{}:{name}: the same, {}", node.name, text(stored)));
        } else {
            output.line(format_args!("{}:{name}: stored {}, rebuilt {}", node.name, text(stored), text(rebuilt)));
        }
        outputs.push(json!({"output": name, "stored": stored, "rebuilt": rebuilt, "same": stored == rebuilt}));
    }
    let mut fields = Vec::new();
    for name in names(known.fields.keys(), outcome.fields.keys()) {
        let (stored, rebuilt) = (known.fields.get(name), outcome.fields.get(name));
        if stored != rebuilt {
            let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            output.line(format_args!("{}.{name}: stored {}, rebuilt {}", node.name, text(stored), text(rebuilt)));
            fields.push(json!({"field": name, "stored": stored, "rebuilt": rebuilt}));
        }
    }
    let same = fields.is_empty() && outputs.iter().all(|output| output["same"] == json!(true));
    let (class, promise) = promise(determinism, is_elsewhere);
    output.line(format_args!("`{}` is {class}: {}", node.kind_name, promise.words(same)));
    output.json(&json!({"verify": {
        "node": node.name, "kind": node.kind_name, "determinism": class, "same": same,
        "outputs": outputs, "fields": fields,
    }}));
    Ok(if same || promise == Promise::Nothing { Exit::Done } else { Exit::Failed })
}

fn names<'a>(one: impl Iterator<Item = &'a String>, other: impl Iterator<Item = &'a String>) -> BTreeSet<&'a str> {
    one.chain(other).map(String::as_str).collect()
}

/// What a kind promises about two runs of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    SameBytes,
    Nothing,
}

impl Promise {
    fn words(self, same: bool) -> &'static str {
        match (self, same) {
            (_, true) => "the same bytes",
            (Self::SameBytes, false) => "it promises the same bytes, so this is a bug of tunesmith: please report it",
            (Self::Nothing, false) => "it does not promise the same bytes here",
        }
    }
}

/// Returns the class' name, and what it promises; less for a result of another instruction set or of a GPU.
fn promise(determinism: Determinism, is_elsewhere: bool) -> (&'static str, Promise) {
    match (determinism, is_elsewhere) {
        (Determinism::Exact, _) => ("exact", Promise::SameBytes),
        (Determinism::ExactPerIsa, false) => ("exact-per-isa", Promise::SameBytes),
        (Determinism::ExactPerIsa, true) => ("exact-per-isa", Promise::Nothing),
        (Determinism::Varies, _) => ("varies", Promise::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::Exit;
    use crate::cli::testing::Space;
    use crate::engine::RunLog;
    use crate::store::{Artifact, Store};

    #[test]
    fn a_rebuilt_node_has_the_same_bytes_and_publishes_nothing() {
        let space = Space::new();
        space.done(&["build"]);
        let before = space.done(&["cache", "stat", "--json"]).object("cache-stat");
        let said = space.done(&["verify", "dataset", "--json"]).object("verify");
        assert_eq!((&said["same"], &said["determinism"]), (&json!(true), &json!("exact")));
        assert_eq!(said["outputs"].as_array().unwrap().len(), 2);
        assert_eq!(space.done(&["cache", "stat", "--json"]).object("cache-stat"), before);
        assert!(space.done(&["verify", "notes"]).out.contains("notes:records: the same, "));
    }

    #[test]
    fn a_result_that_a_rebuild_does_not_give_ends_with_failure() {
        let space = Space::new();
        space.done(&["build"]);
        {
            let store = Store::open(&space.path().join("cache"), None).unwrap();
            let log = RunLog::read(&store, None).unwrap();
            let key = log.node("pairs").unwrap().key.unwrap();
            let mut record = store.action(&key).unwrap().unwrap();
            store.drop_action(&key).unwrap();
            let other = log.node("notes").unwrap().outputs["records"].clone();
            assert!(matches!(other, Artifact::Records(_)));
            record.outputs.insert("rows".into(), other);
            store.publish(&key, &record, true).unwrap();
        }
        let said = space.run(&["verify", "pairs"]);
        assert_eq!(said.exit, Exit::Failed, "{}", said.err);
        assert!(said.out.contains("pairs:rows: stored "), "{}", said.out);
    }

    #[test]
    fn a_node_without_a_result_is_refused() {
        let space = Space::new();
        space.refused(&["verify", "pairs"], Exit::Failed, "was never built");
        space.done(&["build"]);
        space.edit("pipeline.toml", "eval = 0.5", "eval = 0.25");
        space.refused(&["verify", "dataset"], Exit::Failed, "`dataset` is stale");
    }
}
