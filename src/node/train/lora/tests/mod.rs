//! Trainings of the tiny model of `tests/fixtures/tiny-llama`, which take a moment.

mod adapters;
mod devices;
mod evaluation;
mod mistakes;
mod reproducible;
mod stand_in;
mod warm;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::node::bench::Bench;
use crate::node::{FailureClass, InputRole, JobInput};
use crate::record::{Conversation, Record, Role, Turn};
use crate::store::Artifact;

pub(in crate::node::train) use evaluation::held_out;

/// Returns the random model of `tests/fixtures/tiny-llama` as an input.
pub(in crate::node::train) fn model(bench: &Bench) -> JobInput {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama");
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];
    let files = names.iter().map(|name| ((*name).to_owned(), bench.store.put_file(&folder.join(name)).unwrap()));
    let artifact = Artifact::Folder { files: files.collect() };
    bench.input(InputRole::Model, "model", "weights", Some(artifact), json!({}))
}

/// Returns the lines of the metrics.
pub(in crate::node::train) fn metrics(bench: &Bench, outputs: &BTreeMap<String, Artifact>) -> Vec<Value> {
    let Artifact::File(metrics) = &outputs["metrics"] else { panic!("metrics are a file") };
    let text = fs_err::read_to_string(bench.store.path(metrics).unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(in crate::node::train) fn row(index: usize, answer: &str) -> Record {
    let turn = |role, text: &str| Turn { role, text: text.to_owned() };
    let turns = vec![turn(Role::User, &format!("What is {index}?")), turn(Role::Assistant, answer)];
    Record::Row(Conversation {
        id: format!("row-{index:02}"),
        thread: index.to_string(),
        turns,
        ..Conversation::default()
    })
}

pub(in crate::node::train) fn rows(bench: &Bench, rows: Vec<Record>) -> JobInput {
    let records = crate::record::write(&bench.store, rows).unwrap();
    bench.input(InputRole::From, "dataset", "train", Some(Artifact::Records(records)), json!({}))
}

pub(in crate::node::train) fn ten_rows(bench: &Bench) -> Vec<JobInput> {
    vec![rows(bench, (0..10).map(|index| row(index, "the one after the one before")).collect()), model(bench)]
}

fn settings(more: &Value) -> Value {
    let mut all = json!({"rank": 4, "epochs": 4, "batch-size": 4, "learning-rate": 0.02, "max-tokens": 128});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Lora.canonical(&all).unwrap()
}

fn trained(bench: &Bench, settings: &Value) -> (BTreeMap<String, Artifact>, BTreeMap<String, Value>) {
    let outcome = bench.run(&Lora, settings, ten_rows(bench), &[]).unwrap();
    (outcome.outputs, outcome.fields)
}

/// Cancels a run after so many steps.
pub(in crate::node::train) struct AfterSteps<'a>(
    pub(in crate::node::train) &'a crate::node::Cancel,
    pub(in crate::node::train) u64,
);

impl crate::node::Events for AfterSteps<'_> {
    fn event(&self, event: crate::node::Event) {
        if matches!(event, crate::node::Event::Progress(progress) if progress.unit == "steps" && progress.done >= self.1)
        {
            self.0.cancel();
        }
    }
}

/// Trains, asks for the end after so many steps, and returns the failure's class.
fn cancelled(bench: &Bench, settings: &Value, steps: u64) -> FailureClass {
    bench.with_run(&Lora, settings, ten_rows(bench), &[], |run| {
        let events = AfterSteps(run.cancel, steps);
        let run = Run { job: run.job, store: run.store, events: &events, cancel: run.cancel, secrets: run.secrets };
        Lora.run(&run).unwrap_err().class
    })
}

/// Gives `go` a run with so many threads and bytes of memory.
pub(in crate::node::train) fn with_grant<T>(
    bench: &Bench,
    settings: &Value,
    inputs: Vec<JobInput>,
    threads: usize,
    memory: Option<u64>,
    go: impl FnOnce(&Run<'_>) -> T,
) -> T {
    bench.with_run(&Lora, settings, inputs, &[], |run| {
        let job = crate::node::Job {
            grant: crate::node::Grant { threads, memory, device: crate::node::Device::Cpu },
            ..run.job.clone()
        };
        go(&Run { job: &job, store: run.store, events: run.events, cancel: run.cancel, secrets: run.secrets })
    })
}

#[test]
fn training_learns_and_gives_an_adapter_with_its_metrics() {
    let bench = Bench::new();
    let outcome = bench.run(&Lora, &settings(&json!({})), ten_rows(&bench), &[]).unwrap();
    assert_eq!(outcome.fields["steps"], 12);
    assert_eq!(outcome.fields["rows"], 10);
    assert_eq!(outcome.outputs.keys().collect::<Vec<_>>(), ["adapter", "metrics", "tensorboard"]);
    let metrics = metrics(&bench, &outcome.outputs);
    let loss = |step: usize| metrics[step]["loss"].as_f64().unwrap();
    assert!(loss(11) < loss(0) - 0.5, "{} is not below {}", loss(11), loss(0));
    let last = outcome.fields["loss"].as_f64().unwrap();
    assert!(loss(11) <= last && last < loss(0));
}

#[test]
fn a_training_that_was_cancelled_goes_on_to_the_same_bytes() {
    let settings = settings(&json!({"dropout": 0.1, "schedule": "cosine"}));
    let whole = trained(&Bench::new(), &settings);
    let bench = Bench::new();
    assert_eq!(cancelled(&bench, &settings, 5), FailureClass::Cancelled);
    assert_eq!(cancelled(&bench, &settings, 7), FailureClass::Cancelled);
    assert_eq!(trained(&bench, &settings), whole);
}

#[test]
fn a_longer_training_with_a_constant_rate_goes_on_where_the_shorter_one_ended() {
    let with = |epochs: u64| settings(&json!({"epochs": epochs, "schedule": "constant", "warmup-steps": 2}));
    let bench = Bench::new();
    trained(&bench, &with(1));
    let (went_on, _) = trained(&bench, &with(2));
    assert!(bench.events.notes().iter().any(|note| note.starts_with("goes on after step 3 of 6")));
    assert_eq!(went_on, trained(&Bench::new(), &with(2)).0);
    // And a shorter one does not start from the longer one's end.
    assert_eq!(trained(&bench, &with(1)), trained(&Bench::new(), &with(1)));
}
