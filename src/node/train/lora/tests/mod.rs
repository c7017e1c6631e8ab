//! Trainings of the tiny model of `tests/fixtures/tiny-llama`, which take a moment.

mod adapters;
mod devices;
mod evaluation;
mod mistakes;
mod reproducible;
mod stand_in;
mod templates;
mod warm;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::session;
use super::super::tests::{self as both, held_out, metrics, model, row, rows, ten_rows, with_held_out};
use super::*;
use crate::node::bench::Bench;
use crate::node::{InputRole, JobInput, Kind as _, Outcome, Run};
use crate::record::Record;
use crate::store::Artifact;

fn settings(more: &Value) -> Value {
    both::settings(&LORA, more)
}

fn trained(bench: &Bench, settings: &Value) -> both::Given {
    both::trained(bench, &LORA, settings, ten_rows(bench))
}

#[test]
fn training_learns_and_gives_an_adapter_with_its_metrics() {
    let bench = Bench::new();
    let outcome = bench.run(&LORA, &settings(&json!({})), ten_rows(&bench), &[]).unwrap();
    assert_eq!(outcome.fields["steps"], 12);
    assert_eq!(outcome.fields["rows"], 10);
    assert_eq!(outcome.outputs.keys().collect::<Vec<_>>(), ["adapter", "metrics", "tensorboard"]);
    let metrics = metrics(&bench, &outcome.outputs);
    let loss = |step: usize| metrics[step]["loss"].as_f64().unwrap();
    assert!(loss(11) < loss(0) - 0.5, "{} is not below {}", loss(11), loss(0));
    let last = outcome.fields["loss"].as_f64().unwrap();
    assert!(loss(11) <= last && last < loss(0));
}
