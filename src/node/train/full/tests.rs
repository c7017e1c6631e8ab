//! Trainings of all weights of the tiny model of `tests/fixtures/tiny-llama`, which take a moment.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::lora::tests::{self as lora, AfterSteps, metrics, row, rows, ten_rows};
use super::*;
use crate::model::transformer::{Batch, Transformer};
use crate::model::weights::{Base, Storage, WeightFiles};
use crate::node::bench::Bench;
use crate::node::{Device, FailureClass, Grant, InputRole, Job, JobInput};
use crate::record::Record;
use crate::store::Artifact;

fn settings(more: &Value) -> Value {
    let mut all = json!({"epochs": 4, "batch-size": 4, "learning-rate": 5e-3, "max-tokens": 128});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Full.canonical(&all).unwrap()
}

fn trained(bench: &Bench, settings: &Value) -> (BTreeMap<String, Artifact>, BTreeMap<String, Value>) {
    let outcome = bench.run(&Full, settings, ten_rows(bench), &[]).unwrap();
    (outcome.outputs, outcome.fields)
}

/// Gives `go` a run with such a grant.
fn with_grant<T>(
    bench: &Bench,
    settings: &Value,
    inputs: Vec<JobInput>,
    grant: Grant,
    go: impl FnOnce(&Run<'_>) -> T,
) -> T {
    bench.with_run(&Full, settings, inputs, &[], |run| {
        let job = Job { grant, ..run.job.clone() };
        go(&Run { job: &job, store: run.store, events: run.events, cancel: run.cancel, secrets: run.secrets })
    })
}

fn grant(threads: usize, memory: Option<u64>) -> Grant {
    Grant { threads, memory, device: Device::Cpu }
}

/// Opens what a training gave as a base model.
fn opened(bench: &Bench, outputs: &BTreeMap<String, Artifact>) -> Base {
    let files = WeightFiles::of(&bench.store, &outputs["weights"]).unwrap().unwrap();
    Base::open(&files).unwrap()
}

#[test]
fn training_learns_and_gives_a_model_that_is_a_base_itself() {
    let bench = Bench::new();
    let mut inputs = ten_rows(&bench);
    let held = |index| row(index, "the one after the one before");
    inputs.insert(1, lora::held_out(&bench, vec![held(20), held(21)]));
    let with = settings(&json!({"eval": "dataset:eval", "neftune-alpha": 1.0, "label-smoothing": 0.01}));
    let outcome = bench.run(&Full, &with, inputs, &[]).unwrap();
    assert_eq!(outcome.outputs.keys().collect::<Vec<_>>(), ["metrics", "tensorboard", "weights"]);
    let lines = metrics(&bench, &outcome.outputs);
    let losses: Vec<f64> = lines.iter().filter_map(|line| line["loss"].as_f64()).collect();
    assert_eq!(losses.len(), 12);
    assert!(losses[11] < losses[0] - 1.0, "{losses:?}");
    let field = |name: &str| outcome.fields[name].as_f64().unwrap();
    assert!(field("eval-loss") < field("eval-base-loss") - 1.0, "{:?}", outcome.fields);
    assert!(!outcome.fields.contains_key("warm-starts"), "{:?}", outcome.fields);

    let base = opened(&bench, &outcome.outputs);
    let start = Base::open(&WeightFiles::of(&bench.store, &lora::model(&bench).artifact).unwrap().unwrap()).unwrap();
    assert_eq!(base.config(), start.config());
    assert_eq!(outcome.fields["parameters"], crate::model::weights::parameters(base.config()));
    // The model reads its own files back to the loss that was measured.
    let (tokenizer, template) = (base.tokenizer().unwrap(), base.template().unwrap());
    let maker = crate::model::rows::RowMaker {
        tokenizer: &tokenizer,
        template: &template,
        max_tokens: 128,
        over_length: crate::model::rows::OverLength::Truncate,
    };
    let rows: Vec<_> = [held(20), held(21)]
        .iter()
        .map(|record| maker.row(record.conversation().unwrap()).unwrap().0.unwrap())
        .collect();
    let batch = Batch::new(rows.iter().map(|row| (0, row)));
    let loss = Transformer::load(&base, Storage::Dense, |_| ()).unwrap().loss(None, &batch).unwrap();
    let loss = loss / batch.trained_tokens() as f64;
    assert!((loss / field("eval-loss") - 1.0).abs() < 1e-6, "{loss} is not {}", field("eval-loss"));
    // Matrices and norms have changed, nearly every number of them.
    let config = base.config();
    for (name, rows, columns) in [
        ("model.embed_tokens.weight", config.vocabulary, config.hidden),
        ("model.layers.1.mlp.down_proj.weight", config.hidden, config.intermediate),
    ] {
        let [before, after] =
            [&start, &base].map(|base| base.matrix(name, rows, columns, Storage::Dense).unwrap().into_dense());
        let same = before.iter().zip(&after).filter(|(before, after)| before.to_bits() == after.to_bits()).count();
        assert!(same * 100 < before.len(), "{name}: {same} of {} numbers are as they were", before.len());
    }
    let norm = |base: &Base| base.vector("model.norm.weight", base.config().hidden).unwrap();
    assert!(norm(&start).iter().zip(norm(&base)).all(|(before, after)| before.to_bits() != after.to_bits()));
}

#[test]
fn a_training_that_was_cancelled_goes_on_to_the_same_bytes_with_its_best_state() {
    let held = |bench: &Bench| lora::held_out(bench, vec![row(20, "the one after the one before")]);
    let inputs = |bench: &Bench| {
        let mut inputs = ten_rows(bench);
        inputs.push(held(bench));
        inputs
    };
    let settings =
        settings(&json!({"schedule": "cosine", "weight-decay": 0.1, "eval": "dataset:eval", "eval-steps": 2,
        "keep": "best", "samples": 1, "sample-tokens": 3, "neftune-alpha": 5.0}));
    let whole = Bench::new();
    let expected = whole.run(&Full, &settings, inputs(&whole), &[]).unwrap();
    let bench = Bench::new();
    for steps in [5, 7] {
        let class = bench.with_run(&Full, &settings, inputs(&bench), &[], |run| {
            let events = AfterSteps(run.cancel, steps);
            let run = Run { job: run.job, store: run.store, events: &events, cancel: run.cancel, secrets: run.secrets };
            Full.run(&run).unwrap_err().class
        });
        assert_eq!(class, FailureClass::Cancelled);
    }
    let found = bench.run(&Full, &settings, inputs(&bench), &[]).unwrap();
    assert_eq!((found.outputs, found.fields), (expected.outputs, expected.fields));
}

#[test]
fn a_longer_training_with_a_constant_rate_goes_on_where_the_shorter_one_ended() {
    let with = |epochs: u64| settings(&json!({"epochs": epochs, "schedule": "constant", "warmup-steps": 2}));
    let bench = Bench::new();
    trained(&bench, &with(1));
    let (went_on, _) = trained(&bench, &with(2));
    assert!(bench.events.notes().iter().any(|note| note.starts_with("goes on after step 3 of 6")));
    assert_eq!(went_on, trained(&Bench::new(), &with(2)).0);
}

/// Long rows, so that activations count beside the program.
fn long_rows(bench: &Bench) -> Vec<JobInput> {
    let answer = "the one after the one before, and so on ".repeat(8);
    let rows = rows(bench, (0..40).map(|index| row(index, &answer)).collect());
    vec![rows, lora::model(bench)]
}

#[test]
fn neither_threads_nor_memory_change_a_byte() {
    let settings = settings(&json!({"max-tokens": 512, "micro-batch-tokens": 8192, "batch-size": 20, "epochs": 2}));
    let run = |threads, memory| {
        let bench = Bench::new();
        let outcome =
            with_grant(&bench, &settings, long_rows(&bench), grant(threads, memory), |run| Full.run(run)).unwrap();
        let again = bench.events.notes().into_iter().find(|note| note.contains("activations computed again"));
        (outcome.outputs, again)
    };
    let (whole, again) = run(1, None);
    assert_eq!(again, None);
    assert_eq!(run(2, None).0, whole);
    assert_eq!(run(3, None).0, whole);
    let bench = Bench::new();
    let cost = with_grant(&bench, &settings, long_rows(&bench), grant(1, None), |run| Full.cost(run)).unwrap().unwrap();
    let (recomputed, again) = run(2, Some(cost.memory));
    assert!(again.is_some_and(|note| note.contains("activations computed again in 1 of 2 blocks")));
    assert_eq!(recomputed, whole);
}

#[test]
fn parts_of_a_step_are_weighted_by_their_tokens() {
    let line = |tokens: usize| {
        let bench = Bench::new();
        let mut some: Vec<Record> = (0..4).map(|index| row(index, "short")).collect();
        some.extend((4..8).map(|index| row(index, "a much longer answer than the others have, by some words")));
        let settings =
            settings(&json!({"batch-size": 8, "epochs": 1, "warmup-steps": 0, "micro-batch-tokens": tokens}));
        let outcome = bench.run(&Full, &settings, vec![rows(&bench, some), lora::model(&bench)], &[]).unwrap();
        let line = metrics(&bench, &outcome.outputs).remove(0);
        ["loss", "grad-norm", "trained-tokens"].map(|name| line[name].as_f64().unwrap())
    };
    for (whole, part) in line(4096).iter().zip(line(32)) {
        assert!((whole - part).abs() < 1e-5 * whole.abs(), "{whole} is not {part}");
    }
}

#[test]
fn a_training_that_does_not_fit_into_memory_is_refused_with_what_would() {
    let bench = Bench::new();
    let short = grant(1, Some(20 << 20));
    let error = with_grant(&bench, &settings(&json!({})), ten_rows(&bench), short, |run| Full.run(run)).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("train::memory"), "{error:?}");
    assert!(error.message.contains("19 MiB may be used"), "{}", error.message);
    let planned = with_grant(&bench, &settings(&json!({})), ten_rows(&bench), short, |run| Full.cost(run));
    assert_eq!(planned.unwrap_err(), error);
}

#[test]
fn a_base_that_is_a_gguf_and_a_gpu_are_refused_before_anything_is_read() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    crate::model::gguf::tiny::Variant::LLAMA.write(&path, 1, crate::model::gguf::TensorType::F32).unwrap();
    let gguf = Artifact::File(bench.store.put_file(&path).unwrap());
    let mut inputs = ten_rows(&bench);
    inputs[1] = bench.input(InputRole::Model, "model", "weights", Some(gguf), json!({}));
    let error = bench.run(&Full, &settings(&json!({})), inputs, &[]).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("train::whole_gguf"), "{error:?}");
    assert!(error.help.unwrap().contains("hf:ORG/REPO"));
    let gpu = Grant { threads: 2, memory: None, device: Device::Cuda(4095) };
    let error = with_grant(&bench, &settings(&json!({})), ten_rows(&bench), gpu, |run| Full.run(run)).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("train::whole_on_device"), "{error:?}");
    assert!(error.help.as_ref().unwrap().contains("`type = \"lora\"`"));
    let planned = with_grant(&bench, &settings(&json!({})), ten_rows(&bench), gpu, |run| Full.cost(run));
    assert_eq!(planned.unwrap_err(), error);
    assert!(bench.events.progress().is_empty());
}

#[test]
fn settings_of_an_adapter_are_unknown_here_and_the_way_to_them_is_told() {
    let problems = |settings: Value| Full.canonical(&settings).unwrap_err();
    for key in ["rank", "targets", "dora", "dropout", "loraplus-ratio", "replay"] {
        let [problem] = &problems(json!({ key: 1 }))[..] else { panic!("{key}") };
        assert_eq!((problem.path.as_slice(), problem.code), (&[key.to_owned()][..], "settings::unknown_key"));
        assert!(problem.help.as_ref().unwrap().contains("`type = \"lora\"`"), "{problem:?}");
    }
    let [problem] = &problems(json!({"epoch": 1}))[..] else { panic!() };
    assert_eq!(problem.help.as_deref(), Some("did you mean `epochs`?"));
    let [problem] = &super::super::lora::Lora.canonical(&json!({"method": "full"})).unwrap_err()[..] else { panic!() };
    assert!(problem.help.as_ref().unwrap().contains("`type = \"full\"` all weights"), "{problem:?}");
    let canonical = Full.canonical(&json!({})).unwrap();
    assert_eq!(canonical["learning-rate"], 2e-5);
    assert_eq!(Full.schema()["properties"]["learning-rate"]["default"], 2e-5);
    assert_eq!(super::super::lora::Lora.canonical(&json!({})).unwrap()["learning-rate"], 2e-4);
}
