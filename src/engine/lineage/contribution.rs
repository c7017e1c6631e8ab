//! What one record counts for in a node's report, such as the reason for which it was dropped.
//!
//! The node's run is done again, aside, without that record: what the report has less is what the record gave. Filters
//! work in the size of a change, so this costs one record's work; and it is right for any filter, those that decide over
//! whole sets too.

use std::collections::BTreeSet;

use crate::engine::{EngineError, Resolver, Standing, explain, worker};
use crate::graph::NodeIndex;
use crate::node::{Cancel, Determinism, Device, Event, Events, Grant, JOB_FORMAT, Job, JobInput, Secrets, Weight};
use crate::record::{RecordSet, edit};
use crate::store::{Artifact, Store};

/// Takes nothing: the run is nobody's.
struct Aside;

impl Events for Aside {
    fn event(&self, _: Event) {}
}

impl Secrets for Aside {
    fn environment(&self, _: &str) -> Option<String> {
        None
    }
}

/// Returns what a record of a fresh node's inputs counts for in its report: each remark with how often. Nothing where that
/// cannot be told: the node is stale, no input has the record, or the kind gives other bytes each time.
///
/// # Errors
/// Errors of the store.
pub fn contribution(
    resolver: &Resolver<'_>,
    index: NodeIndex,
    id: &str,
) -> Result<Option<Vec<(String, u64)>>, EngineError> {
    let node = &resolver.graph[index];
    let kind = resolver.kind(node)?;
    if kind.info().determinism != Determinism::Exact || kind.info().weight != Weight::Light {
        return Ok(None);
    }
    let explanation = explain(resolver, index)?;
    let (Standing::Fresh, Some(prepared), Some(known)) =
        (explanation.standing, explanation.prepared, explanation.known)
    else {
        return Ok(None);
    };
    let store = Store::open(resolver.store.root(), None)?.without_new_memos();
    let mut inputs = prepared.inputs.clone();
    if !without(&store, &mut inputs, id)? {
        return Ok(None);
    }
    let scratch = tempfile::Builder::new().prefix("lineage-").tempdir_in(store.root().join("scratch"))?;
    let job = Job {
        format: JOB_FORMAT,
        node: node.name.clone(),
        kind: node.kind_name.clone(),
        kind_version: kind.info().version,
        key: prepared.key,
        settings: prepared.settings.clone(),
        inputs,
        files: prepared.files.clone(),
        store: store.root().to_owned(),
        remote: None,
        rehearsal: None,
        offline: true,
        scratch: scratch.path().to_owned(),
        previous: prepared.previous.clone(),
        grant: Grant { threads: 1, memory: None, device: Device::Cpu },
        outside: None,
    };
    let Ok(outcome) = worker::run(kind, &job, &store, &Aside, &Cancel::default(), &Aside) else { return Ok(None) };
    // Readers' remarks are not the node's own.
    let report = resolver.store.action(&known.key)?.map(|record| record.report).unwrap_or_default();
    let less = report.into_iter().filter_map(|(what, count)| {
        let rest = outcome.report.iter().find(|other| other.what == what).map_or(0, |other| other.count);
        (count > rest).then(|| (what, count - rest))
    });
    Ok(Some(less.collect()))
}

/// Takes a record out of the inputs; `false` when none has it.
fn without(store: &Store, inputs: &mut [JobInput], id: &str) -> Result<bool, EngineError> {
    let mut found = false;
    for input in inputs {
        let Artifact::Records(set) = &mut input.artifact else { continue };
        if RecordSet::open(store, set)?.line(id)?.is_some() {
            *set = edit(store, set, &BTreeSet::from([id.to_owned()]), Vec::new())?;
            found = true;
        }
    }
    Ok(found)
}
