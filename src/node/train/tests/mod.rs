//! What both kinds of training promise, on the tiny model of `tests/fixtures/tiny-llama`, whose trainings take a moment.

mod resumed;
mod same_bytes;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::full::FULL;
use super::lora::LORA;
use super::training::Training;
use crate::node::bench::Bench;
use crate::node::{Cancel, Device, Event, Events, FailureClass, Grant, InputRole, Job, JobInput, Kind as _, Run};
use crate::record::{Conversation, Record, Role, Turn};
use crate::store::Artifact;

/// Both kinds.
const KINDS: [&Training; 2] = [&LORA, &FULL];

/// Returns canonical settings of a short training.
pub(super) fn settings(kind: &Training, more: &Value) -> Value {
    let mut all = json!({"epochs": 4, "batch-size": 4, "max-tokens": 128, "learning-rate": 5e-3});
    if kind.info().name == "lora" {
        all["rank"] = json!(4);
        all["learning-rate"] = json!(0.02);
    }
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    kind.canonical(&all).unwrap()
}

/// Returns the random model of `tests/fixtures/tiny-llama` as an input.
pub(super) fn model(bench: &Bench) -> JobInput {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama");
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];
    let files = names.iter().map(|name| ((*name).to_owned(), bench.store.put_file(&folder.join(name)).unwrap()));
    let artifact = Artifact::Folder { files: files.collect() };
    bench.input(InputRole::Model, "model", "weights", Some(artifact), json!({}))
}

/// Returns the lines of the metrics.
pub(super) fn metrics(bench: &Bench, outputs: &BTreeMap<String, Artifact>) -> Vec<Value> {
    let Artifact::File(metrics) = &outputs["metrics"] else { panic!("metrics are a file") };
    let text = fs_err::read_to_string(bench.store.path(metrics).unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(super) fn row(index: usize, answer: &str) -> Record {
    let turn = |role, text: &str| Turn { role, text: text.to_owned() };
    let turns = vec![turn(Role::User, &format!("What is {index}?")), turn(Role::Assistant, answer)];
    Record::Row(Conversation {
        id: format!("row-{index:02}"),
        thread: index.to_string(),
        turns,
        ..Conversation::default()
    })
}

pub(super) fn rows(bench: &Bench, rows: Vec<Record>) -> JobInput {
    let records = crate::record::write(&bench.store, rows).unwrap();
    bench.input(InputRole::From, "dataset", "train", Some(Artifact::Records(records)), json!({}))
}

/// Returns held-out rows as an input.
pub(super) fn held_out(bench: &Bench, held: Vec<Record>) -> JobInput {
    let records = crate::record::write(&bench.store, held).unwrap();
    bench.input(InputRole::From, "dataset", "eval", Some(Artifact::Records(records)), json!({}))
}

pub(super) fn ten_rows(bench: &Bench) -> Vec<JobInput> {
    vec![rows(bench, (0..10).map(|index| row(index, "the one after the one before")).collect()), model(bench)]
}

/// Returns the ten rows with two that are held out.
pub(super) fn with_held_out(bench: &Bench) -> Vec<JobInput> {
    let mut inputs = ten_rows(bench);
    let held = (20..22).map(|index| row(index, "the one after the one before")).collect();
    inputs.insert(1, held_out(bench, held));
    inputs
}

pub(super) fn grant(threads: usize, memory: Option<u64>) -> Grant {
    Grant { threads, memory, device: Device::Cpu }
}

/// Gives `go` a run with such a grant.
pub(super) fn with_grant<T>(
    bench: &Bench,
    (kind, settings): (&Training, &Value),
    inputs: Vec<JobInput>,
    grant: Grant,
    go: impl FnOnce(&Run<'_>) -> T,
) -> T {
    bench.with_run(kind, settings, inputs, &[], |run| {
        let job = Job { grant, ..run.job.clone() };
        go(&Run { job: &job, store: run.store, events: run.events, cancel: run.cancel, secrets: run.secrets })
    })
}

/// What a training gave: its outputs and fields.
pub(super) type Given = (BTreeMap<String, Artifact>, BTreeMap<String, Value>);

pub(super) fn trained(bench: &Bench, kind: &Training, settings: &Value, inputs: Vec<JobInput>) -> Given {
    let outcome = bench.run(kind, settings, inputs, &[]).unwrap();
    (outcome.outputs, outcome.fields)
}

/// Cancels a run after so many steps.
struct AfterSteps<'a>(&'a Cancel, u64);

impl Events for AfterSteps<'_> {
    fn event(&self, event: Event) {
        if matches!(event, Event::Progress(progress) if progress.unit == "steps" && progress.done >= self.1) {
            self.0.cancel();
        }
    }
}

/// Trains and asks for the end after so many steps, which the training takes as asked.
pub(super) fn cancelled(bench: &Bench, kind: &Training, settings: &Value, inputs: Vec<JobInput>, steps: u64) {
    bench.with_run(kind, settings, inputs, &[], |run| {
        let events = AfterSteps(run.cancel, steps);
        let run = Run { job: run.job, store: run.store, events: &events, cancel: run.cancel, secrets: run.secrets };
        assert_eq!(kind.run(&run).unwrap_err().class, FailureClass::Cancelled);
    });
}
