//! A warm start: training goes on from an adapter that the lock pins, over the rows that it has not learnt yet.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error::TrainError;
use super::inputs::Told;
use super::settings::Settings;
use crate::model::config::ModelConfig;
use crate::model::lora::{ADAPTER_CONFIG, ADAPTER_TENSORS, Adapter, Module};
use crate::node::{Count, InputRole, JobInput, NodeError, Run};
use crate::record::RecordSet;
use crate::store::{Artifact, Digest};

/// The output of the pinned node that training starts from.
const ADAPTER: &str = "adapter";

/// What a warm start begins with.
#[derive(Debug)]
pub(super) struct Warm {
    /// The pinned adapter.
    pub(super) adapter: Adapter,
    /// Warm starts since the last training in full, this one among them.
    pub(super) count: u64,
    /// The share of the rows that it was trained on which each epoch trains again.
    pub(super) replay: f64,
    /// The rows that it was trained on.
    learnt: BTreeMap<String, Digest>,
}

impl Warm {
    /// Reads what the lock pins for the run; nothing when it trains in full.
    pub(super) fn of(run: &Run<'_>, settings: &Settings, config: &ModelConfig) -> Result<Option<Self>, NodeError> {
        let pinned = || run.job.inputs.iter().filter(|input| input.role == InputRole::WarmStart);
        let Some(input) = pinned().find(|input| input.output == ADAPTER) else { return Ok(None) };
        let replay = settings.adapter.as_ref().map_or(0.0, |adapter| adapter.replay);
        let refused = |what: String| TrainError::WarmStart { node: run.job.node.clone(), what };
        let base = input.fields.get("model").and_then(Value::as_str).unwrap_or_default();
        if base != run.model()?.artifact.digest().to_string() {
            return Err(refused("it was trained on another base model".into()).into());
        }
        let adapter = adapter(run, config, input, &refused)?;
        let held_out = settings.training.eval.as_deref();
        let mut learnt = BTreeMap::new();
        for input in pinned() {
            let Artifact::Records(records) = &input.artifact else { continue };
            // The output is named as it was in `from`: with its node.
            let node = input.output.split(':').next();
            if held_out.is_some_and(|eval| eval == input.output || Some(eval) == node) {
                continue;
            }
            for line in RecordSet::open(run.store, records)?.lines() {
                let line = line?;
                learnt.insert(line.id().to_owned(), line.digest());
            }
        }
        let count = input.fields.get("warm-starts").and_then(Value::as_u64).unwrap_or(0) + 1;
        Ok(Some(Self { adapter, count, replay, learnt }))
    }

    /// Refuses a pinned adapter of another shape than the one that a training in full starts with.
    pub(super) fn check(&self, run: &Run<'_>, fresh: &Adapter) -> Result<(), TrainError> {
        let [ours, theirs] = [&self.adapter, fresh].map(Adapter::modules);
        let shapes = |modules: &[Module]| -> Vec<_> { modules.iter().map(|module| (module.a(), module.b())).collect() };
        let doubled = ours.iter().zip(theirs).all(|(module, fresh)| module.rank() == 2 * fresh.rank());
        let what = if doubled && fresh.holds_its_start() {
            "an adapter that began with `init = \"pissa\"` has twice the rank, since it holds what it began with, and is trained \
             no further"
        } else if shapes(ours) != shapes(theirs) {
            "its rank or its modules are not those of the settings"
        } else if ours != theirs {
            "its `alpha` or its kind is not that of the settings"
        } else {
            return Ok(());
        };
        Err(TrainError::WarmStart { node: run.job.node.clone(), what: what.into() })
    }

    /// Returns whether the pinned adapter was trained on exactly this row.
    pub(super) fn has_learnt(&self, id: &str, digest: &Digest) -> bool {
        self.learnt.get(id) == Some(digest)
    }

    /// Counts what is new and what is gone, and warns of what cannot be unlearnt.
    pub(super) fn report(&self, run: &Run<'_>, told: &[Told], new_rows: u64, report: &mut Vec<Count>) {
        let here: BTreeSet<&str> = told.iter().map(|told| told.conversation.id.as_str()).collect();
        let gone = self.learnt.keys().filter(|id| !here.contains(id.as_str())).count() as u64;
        report.push(Count { what: "rows new or changed since the warm start's adapter".into(), count: new_rows });
        if gone > 0 {
            report.push(Count {
                what: "rows that the warm start's adapter learnt and that are gone".into(),
                count: gone,
            });
            run.warn(format!(
                "the pinned adapter learnt {gone} rows that are gone; a warm start does not unlearn them: \
                 `tunesmith lock --cold {}` trains in full",
                run.job.node
            ));
        }
    }
}

fn adapter(
    run: &Run<'_>,
    config: &ModelConfig,
    input: &JobInput,
    refused: &dyn Fn(String) -> TrainError,
) -> Result<Adapter, NodeError> {
    let Artifact::Folder { files } = &input.artifact else {
        return Err(run.bad_job("the pinned adapter is no folder".into()));
    };
    let paths = run.store.paths(files)?;
    let path = |name: &str| paths.get(name).ok_or_else(|| refused(format!("it has no `{name}`")));
    Ok(Adapter::from_peft(config, path(ADAPTER_CONFIG)?, path(ADAPTER_TENSORS)?)?)
}
