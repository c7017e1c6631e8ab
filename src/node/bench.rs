//! A store, a scratch folder and a job for tests that run one kind, as the engine does.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;
use tempfile::TempDir;

use super::{
    Cancel, Device, Event, Events, FileInput, Grant, InputRole, JOB_FORMAT, Job, JobFile, JobInput, Kind, NodeError,
    Outcome, Outside, Run, Secrets,
};
#[cfg(feature = "llama")]
use crate::record::{Conversation, Role, Turn};
use crate::record::{Record, RecordSet};
use crate::store::{Artifact, Digest, RecordsRef, Store};

/// A place to run kinds in.
pub(crate) struct Bench {
    space: TempDir,
    /// The store that runs read from and put into.
    pub store: Store,
    /// What runs said.
    pub events: Said,
    /// The environment's variables; none at first.
    pub environment: BTreeMap<&'static str, String>,
    /// Runs so far; each has a scratch folder of its own.
    runs: Cell<u32>,
}

/// Keeps what a run says.
#[derive(Default)]
pub(crate) struct Said(Mutex<Vec<Event>>);

impl Said {
    /// Returns the warnings so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let warning = |event: &Event| match event {
            Event::Warning { text } => Some(text.clone()),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(warning).collect()
    }

    /// Returns the notes so far.
    pub(crate) fn notes(&self) -> Vec<String> {
        let note = |event: &Event| match event {
            Event::Note { text } => Some(text.clone()),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(note).collect()
    }

    /// Returns the progress so far.
    #[cfg(feature = "train")]
    pub(crate) fn progress(&self) -> Vec<super::Progress> {
        let progress = |event: &Event| match event {
            Event::Progress(progress) => Some(progress.clone()),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(progress).collect()
    }
}

impl Events for Said {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Secrets for BTreeMap<&'static str, String> {
    fn environment(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

impl Bench {
    /// Returns rows with a question and an answer as an input.
    #[cfg(feature = "llama")]
    pub(crate) fn rows(&self, output: &str, count: u32) -> JobInput {
        let turn = |role, text: String| Turn { role, text };
        let row = |number: u32| {
            Record::Row(Conversation {
                id: format!("row-{number}"),
                thread: format!("row-{number}"),
                turns: vec![turn(Role::User, format!("what is {number}")), turn(Role::Assistant, "a number".into())],
                ..Conversation::default()
            })
        };
        let records = crate::record::write(&self.store, (0..count).map(row)).unwrap();
        let records = Some(Artifact::Records(records));
        self.input(InputRole::From, "dataset", output, records, serde_json::json!({}))
    }

    pub(crate) fn new() -> Self {
        let space = tempfile::tempdir().unwrap();
        let store = Store::open(&space.path().join("cache"), None).unwrap();
        Self { space, store, events: Said::default(), environment: BTreeMap::new(), runs: Cell::new(0) }
    }

    /// A folder for the test's own files.
    pub(crate) fn folder(&self) -> &Path {
        self.space.path()
    }

    /// Writes a file below the folder.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.folder().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    /// Makes an input; without an artifact only its fields are read.
    #[expect(clippy::unused_self, reason = "a test says `bench.input` as it says `bench.run`")]
    pub(crate) fn input(
        &self,
        role: InputRole,
        node: &str,
        output: &str,
        artifact: Option<Artifact>,
        fields: Value,
    ) -> JobInput {
        let artifact = artifact.unwrap_or(Artifact::Folder { files: BTreeMap::new() });
        let fields = fields.as_object().cloned().unwrap_or_default().into_iter().collect();
        JobInput { role, node: node.into(), output: output.into(), artifact, fields }
    }

    /// Runs `kind` with settings as the manifest has them, the files that they name, and record sets as inputs.
    pub(crate) fn run_on(
        &self,
        kind: &dyn Kind,
        settings: &Value,
        inputs: &[(&str, RecordsRef)],
    ) -> Result<Outcome, NodeError> {
        let settings = kind.canonical(settings).unwrap();
        let input = |(node, records): &(&str, RecordsRef)| {
            self.input(InputRole::From, node, "records", Some(Artifact::Records(*records)), Value::Null)
        };
        let files = kind.files(&settings).into_iter().flat_map(|input| self.job_files(&input)).collect();
        self.with_job(kind, &settings, inputs.iter().map(input).collect(), files, |run| kind.run(run))
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

    /// Returns the files that a setting names below the folder; of a folder those that end with `.md`.
    fn job_files(&self, input: &FileInput) -> Vec<JobFile> {
        let root = self.folder().join(&input.path);
        if input.globs.is_none() {
            return root.is_file().then(|| job_file(input.setting, &root, &root)).into_iter().collect();
        }
        let files = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().map(Result::unwrap);
        let files = files.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "md"));
        files.map(|entry| job_file(input.setting, &root, entry.path())).collect()
    }

    /// Runs `kind` with canonical settings.
    pub(crate) fn run(
        &self,
        kind: &dyn Kind,
        settings: &Value,
        inputs: Vec<JobInput>,
        files: &[(&str, PathBuf)],
    ) -> Result<Outcome, NodeError> {
        self.with_run(kind, settings, inputs, files, |run| kind.run(run))
    }

    /// Gives `go` the run that [`Self::run`] would start.
    pub(crate) fn with_run<T>(
        &self,
        kind: &dyn Kind,
        settings: &Value,
        inputs: Vec<JobInput>,
        files: &[(&str, PathBuf)],
        go: impl FnOnce(&Run<'_>) -> T,
    ) -> T {
        let files = files.iter().map(|(setting, path)| job_file(setting, path, path)).collect();
        self.with_job(kind, settings, inputs, files, go)
    }

    fn with_job<T>(
        &self,
        kind: &dyn Kind,
        settings: &Value,
        inputs: Vec<JobInput>,
        files: Vec<JobFile>,
        go: impl FnOnce(&Run<'_>) -> T,
    ) -> T {
        self.runs.set(self.runs.get() + 1);
        let scratch = self.store.root().join("scratch").join(format!("run-{}", self.runs.get()));
        fs_err::create_dir_all(&scratch).unwrap();
        let info = kind.info();
        let job = Job {
            format: JOB_FORMAT,
            node: info.name.into(),
            kind: format!("{}.{}", info.family.as_str(), info.name),
            kind_version: info.version,
            key: Digest::of(b"key"),
            settings: settings.clone(),
            inputs,
            files,
            store: self.store.root().to_owned(),
            remote: None,
            rehearsal: None,
            offline: false,
            scratch,
            previous: BTreeMap::new(),
            // One thread: llama.cpp spins where threads wait, which starves tests that run beside it.
            grant: Grant { threads: 1, memory: None, device: Device::Cpu },
            outside: kind.is_effect(settings).then(|| Outside {
                folder: self.space.path().to_owned(),
                ledger: format!("deployed//{}", info.name),
                time: u64::from(self.runs.get()),
            }),
        };
        let cancel = Cancel::default();
        go(&Run { job: &job, store: &self.store, events: &self.events, cancel: &cancel, secrets: &self.environment })
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
