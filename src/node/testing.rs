//! Runs one node in a folder of its own, as the engine does, for the tests of kinds.

use std::path::Path;
use std::sync::Mutex;

use serde_json::Value;

use super::{
    Cancel, Device, Event, Events, Grant, InputRole, JOB_FORMAT, Job, JobFile, JobInput, Kind, NodeError, Outcome, Run,
    Secrets,
};
use crate::record::{Record, RecordSet};
use crate::store::{Artifact, Digest, RecordsRef, Store};

/// A store and a scratch folder.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
    /// What runs said.
    pub(crate) events: Mutex<Vec<Event>>,
}

struct NoSecrets;

impl Secrets for NoSecrets {
    fn environment(&self, _: &str) -> Option<String> {
        None
    }
}

impl Events for Bench {
    fn event(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("cache"), None).unwrap();
        Self { folder, store, events: Mutex::default() }
    }

    /// Writes a file below the folder.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    /// Runs a kind with settings as the manifest has them, local files and record sets as inputs.
    pub(crate) fn run(
        &self,
        kind: &dyn Kind,
        settings: &Value,
        inputs: &[(&str, RecordsRef)],
    ) -> Result<Outcome, NodeError> {
        let settings = kind.canonical(settings).unwrap();
        let info = kind.info();
        let inputs = inputs.iter().map(|(node, records)| JobInput {
            role: InputRole::From,
            node: (*node).to_owned(),
            output: "records".into(),
            artifact: Artifact::Records(*records),
            fields: std::collections::BTreeMap::new(),
        });
        let files = kind.files(&settings).into_iter().flat_map(|input| self.files(&input)).collect();
        let job = Job {
            format: JOB_FORMAT,
            node: "node".into(),
            kind: format!("{}.{}", info.family.as_str(), info.name),
            kind_version: info.version,
            key: Digest::of(b"key"),
            settings,
            inputs: inputs.collect(),
            files,
            store: self.store.root().to_owned(),
            remote: None,
            rehearsal: None,
            offline: false,
            scratch: self.folder.path().join("scratch"),
            previous: std::collections::BTreeMap::new(),
            grant: Grant { threads: 2, memory: None, device: Device::Cpu },
            outside: None,
        };
        let cancel = Cancel::default();
        kind.run(&Run { job: &job, store: &self.store, events: self, cancel: &cancel, secrets: &NoSecrets })
    }

    fn files(&self, input: &super::FileInput) -> Vec<JobFile> {
        let root = self.folder.path().join(&input.path);
        if input.globs.is_none() {
            return root.is_file().then(|| job_file(input.setting, &root, &root)).into_iter().collect();
        }
        let files = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().map(Result::unwrap);
        let files = files.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "md"));
        files.map(|entry| job_file(input.setting, &root, entry.path())).collect()
    }

    /// Returns the record set of an output.
    pub(crate) fn records(outcome: &Outcome, output: &str) -> RecordsRef {
        match &outcome.outputs[output] {
            Artifact::Records(records) => *records,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the records of an output.
    pub(crate) fn read(&self, outcome: &Outcome, output: &str) -> Vec<Record> {
        let set = RecordSet::open(&self.store, &Self::records(outcome, output)).unwrap();
        set.records().collect::<Result<_, _>>().unwrap()
    }
}

fn job_file(setting: &str, root: &Path, path: &Path) -> JobFile {
    let name = path.strip_prefix(root).unwrap();
    let name = if name.as_os_str().is_empty() { Path::new(path.file_name().unwrap()) } else { name };
    JobFile {
        setting: setting.to_owned(),
        name: name.to_str().unwrap().to_owned(),
        path: path.to_owned(),
        digest: Digest::of_file(path).unwrap(),
        size: fs_err::metadata(path).unwrap().len(),
    }
}

/// Returns an outcome's remarks as lines.
pub(crate) fn report(outcome: &Outcome) -> Vec<String> {
    outcome.report.iter().map(|count| format!("{}: {}", count.what, count.count)).collect()
}
