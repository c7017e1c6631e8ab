//! One run of one kind in a store of its own, without manifest, graph and engine.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::Value;
use tunesmith::node::{
    Cancel, Device, Event, Events, Family, Grant, JOB_FORMAT, Job, JobFile, JobInput, NodeError, Outcome, Run, Secrets,
    find,
};
use tunesmith::store::{Artifact, Digest, Store};

/// A store and what its runs were given and said.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) cancel: Cancel,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) inputs: Vec<JobInput>,
    pub(crate) files: Vec<JobFile>,
    pub(crate) previous: BTreeMap<String, Artifact>,
    pub(crate) offline: bool,
    events: Mutex<Vec<Event>>,
    folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(&folder.path().join("cache"), None).unwrap(),
            cancel: Cancel::default(),
            secrets: BTreeMap::new(),
            inputs: Vec::new(),
            files: Vec::new(),
            previous: BTreeMap::new(),
            offline: false,
            events: Mutex::default(),
            folder,
        }
    }

    /// Runs a kind with these settings as its node `it`.
    pub(crate) fn run(&self, family: Family, name: &str, settings: &Value) -> Result<Outcome, NodeError> {
        let kind = find(family, name).unwrap();
        let scratch = tempfile::tempdir_in(self.folder.path()).unwrap();
        let job = Job {
            format: JOB_FORMAT,
            node: "it".into(),
            kind: format!("{}.{name}", family.as_str()),
            kind_version: kind.info().version,
            key: Digest::of(b"key"),
            settings: kind.canonical(settings).unwrap(),
            inputs: self.inputs.clone(),
            files: self.files.clone(),
            store: self.store.root().to_owned(),
            remote: None,
            rehearsal: None,
            offline: self.offline,
            scratch: scratch.path().to_owned(),
            previous: self.previous.clone(),
            grant: Grant { threads: 1, memory: None, device: Device::Cpu },
            outside: None,
        };
        kind.run(&Run { job: &job, store: &self.store, events: self, cancel: &self.cancel, secrets: self })
    }

    /// Returns what runs said since the last call: notes and warnings.
    pub(crate) fn said(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        let text = |event| match event {
            Event::Note { text } => Some(text),
            Event::Warning { text } => Some(format!("warning: {text}")),
            _ => None,
        };
        events.into_iter().filter_map(text).collect()
    }
}

impl Bench {
    /// Takes how far runs said that they had come: done, and in all.
    pub(crate) fn progress(&self) -> Vec<(u64, Option<u64>)> {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        let progress = |event| match event {
            Event::Progress(progress) => Some((progress.done, progress.total)),
            _ => None,
        };
        events.into_iter().filter_map(progress).collect()
    }

    /// Takes how much runs said that they had of earlier ones, the most of it.
    pub(crate) fn kept(&self) -> u64 {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        let kept = |event| match event {
            Event::Progress(progress) => Some(progress.kept),
            _ => None,
        };
        events.into_iter().filter_map(kept).max().unwrap_or(0)
    }
}

impl Events for Bench {
    fn event(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

impl Secrets for Bench {
    fn environment(&self, name: &str) -> Option<String> {
        self.secrets.get(name).cloned()
    }
}
