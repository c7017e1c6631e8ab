use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::node::bench::Bench;
use crate::node::{FailureClass, InputRole, JobInput};
use crate::record::{Conversation, Record, Role, Turn};
use crate::store::Artifact;

/// Returns the random model of `tests/fixtures/tiny-llama` as an input.
fn model(bench: &Bench) -> JobInput {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama");
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];
    let files = names.iter().map(|name| ((*name).to_owned(), bench.store.put_file(&folder.join(name)).unwrap()));
    let artifact = Artifact::Folder { files: files.collect() };
    bench.input(InputRole::Model, "model", "weights", Some(artifact), json!({}))
}

fn row(index: usize, answer: &str) -> Record {
    let turn = |role, text: &str| Turn { role, text: text.to_owned() };
    let turns = vec![turn(Role::User, &format!("What is {index}?")), turn(Role::Assistant, answer)];
    Record::Row(Conversation {
        id: format!("row-{index:02}"),
        thread: index.to_string(),
        turns,
        ..Conversation::default()
    })
}

fn rows(bench: &Bench, rows: Vec<Record>) -> JobInput {
    let records = crate::record::write(&bench.store, rows).unwrap();
    bench.input(InputRole::From, "dataset", "train", Some(Artifact::Records(records)), json!({}))
}

fn ten_rows(bench: &Bench) -> Vec<JobInput> {
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

/// Trains, asks for the end after so many steps, and returns the failure's class.
fn cancelled(bench: &Bench, settings: &Value, steps: u64) -> FailureClass {
    struct AfterSteps<'a>(&'a crate::node::Cancel, u64);
    impl crate::node::Events for AfterSteps<'_> {
        fn event(&self, event: crate::node::Event) {
            if matches!(event, crate::node::Event::Progress(progress) if progress.unit == "steps" && progress.done >= self.1)
            {
                self.0.cancel();
            }
        }
    }
    bench.with_run(&Lora, settings, ten_rows(bench), &[], |run| {
        let events = AfterSteps(run.cancel, steps);
        let run = Run { job: run.job, store: run.store, events: &events, cancel: run.cancel, secrets: run.secrets };
        Lora.run(&run).unwrap_err().class
    })
}

#[test]
fn training_learns_and_gives_an_adapter_with_its_metrics() {
    let bench = Bench::new();
    let outcome = bench.run(&Lora, &settings(&json!({})), ten_rows(&bench), &[]).unwrap();
    assert_eq!(outcome.fields["steps"], 12);
    assert_eq!(outcome.fields["rows"], 10);
    assert_eq!(outcome.outputs.keys().collect::<Vec<_>>(), ["adapter", "metrics"]);
    let Artifact::File(metrics) = &outcome.outputs["metrics"] else { panic!("metrics are a file") };
    let metrics = fs_err::read_to_string(bench.store.path(metrics).unwrap()).unwrap();
    let metrics: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
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
    assert_eq!(went_on, trained(&Bench::new(), &with(2)).0);
    // And a shorter one does not start from the longer one's end.
    assert_eq!(trained(&bench, &with(1)), trained(&Bench::new(), &with(1)));
}

#[test]
fn rows_that_cannot_be_trained_are_counted_by_reason() {
    let bench = Bench::new();
    let mut some: Vec<Record> = (0..3).map(|index| row(index, "fine")).collect();
    some.push(row(3, "<|im_end|>"));
    let outcome = bench.run(&Lora, &settings(&json!({"epochs": 1})), vec![rows(&bench, some), model(&bench)], &[]);
    let report = outcome.unwrap().report;
    let found = report.iter().find(|count| count.what.contains("template's token")).unwrap();
    assert_eq!(found.count, 1);
}

#[test]
fn nothing_to_train_is_an_error_that_says_why() {
    let bench = Bench::new();
    let inputs = vec![rows(&bench, vec![row(1, "<|im_end|>")]), model(&bench)];
    let error = bench.run(&Lora, &settings(&json!({})), inputs, &[]).unwrap_err();
    assert_eq!(error.message, "none of 1 rows can be trained: dropped: its text holds the template's token <|im_end|>");
}

#[test]
fn a_training_that_diverges_ends_with_the_step() {
    let bench = Bench::new();
    let settings = settings(&json!({"alpha": 1e38, "learning-rate": 0.9, "warmup-steps": 0}));
    let error = bench.run(&Lora, &settings, ten_rows(&bench), &[]).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("train::diverged"));
    assert!(error.message.starts_with("training diverged in step 2:"), "{}", error.message);
}

#[test]
fn every_setting_out_of_its_range_is_named() {
    let problems = Lora.canonical(&json!({"rank": 0, "learning-rate": 3.0, "targets": []})).unwrap_err();
    let names: Vec<&str> = problems.iter().map(|problem| problem.path[0].as_str()).collect();
    assert_eq!(names, ["rank", "learning-rate", "targets"]);
}

#[test]
fn what_is_wrong_with_an_adapters_settings_is_said_with_its_place() {
    let check = |settings: Value, path: &[&str], message: &str, help: &str| {
        let problems = Lora.canonical(&settings).unwrap_err();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!(problem.path, path);
        assert_eq!(problem.message, message);
        assert!(problem.help.as_deref().unwrap_or("").contains(help), "{problem:?}");
    };
    check(json!({"targets": ["q_proj", "q"]}), &["targets", "1"], "`targets` cannot be `q`", "did you mean `q_proj`?");
    check(
        json!({"exclude": ["up_porj"]}),
        &["exclude", "0"],
        "`exclude` cannot be `up_porj`",
        "did you mean `up_proj`?",
    );
    check(json!({"targets": "(q"}), &["targets"], "`(q` is no regular expression", "");
    check(
        json!({"targets": 3}),
        &["targets"],
        "`targets` must be an array of names, a regular expression, or \"all-linear\", not the integer `3`",
        "",
    );
    check(
        json!({"rank-pattern": {"q_proj": 0}}),
        &["rank-pattern", "q_proj"],
        "the rank of `q_proj` is out of its range",
        "1024",
    );
    check(json!({"alpha-pattern": {"[": 1}}), &["alpha-pattern", "["], "`[` is no regular expression", "");
    check(json!({"layers": []}), &["layers"], "`layers` names no block", "leave it out");
    check(
        json!({"layers": [0], "targets": ".*"}),
        &["layers"],
        "`layers` and a pattern as `targets` both choose blocks",
        "pattern",
    );
    check(
        json!({"pissa-niter": 4}),
        &["pissa-niter"],
        "`pissa-niter` says something without PiSSA",
        "init = \"pissa\"",
    );
    check(json!({"label-smoothing": 1.0}), &["label-smoothing"], "`label-smoothing` is out of its range", "below 1");
}

#[test]
fn targets_and_ranks_that_do_not_fit_the_base_end_the_training_before_its_first_step() {
    let check = |more: Value, code: &str, message: &str| {
        let bench = Bench::new();
        let error = bench.run(&Lora, &settings(&more), ten_rows(&bench), &[]).unwrap_err();
        assert_eq!((error.code.as_deref(), error.message.as_str()), (Some(code), message));
    };
    check(json!({"targets": ".*qkv"}), "lora::no_target", "`targets`: `.*qkv` names no module of the base model");
    check(
        json!({"layers": [2]}),
        "lora::no_such_layer",
        "`layers` names block 2, the base model has the blocks 0 to 1",
    );
    check(
        json!({"rank": 17}),
        "lora::rank_too_large",
        "rank 17 is larger than a side of `model.layers.0.self_attn.k_proj`, which turns 32 numbers into 16",
    );
    check(
        json!({"targets": ["q_proj"], "rank-pattern": {"up_proj": 8}}),
        "lora::unused_pattern",
        "`rank-pattern`: `up_proj` matches no trained module",
    );
}

#[test]
fn every_kind_of_adapter_learns_and_gives_the_same_bytes_after_a_cancelled_run() {
    for more in [
        json!({"dora": true, "rslora": true, "dropout": 0.1, "neftune-alpha": 5.0}),
        json!({"init": "pissa", "loraplus-ratio": 4.0, "label-smoothing": 0.1, "weight-decay": 0.01}),
    ] {
        let settings = settings(&more);
        let whole = trained(&Bench::new(), &settings);
        let bench = Bench::new();
        assert_eq!(cancelled(&bench, &settings, 5), FailureClass::Cancelled);
        let again = trained(&bench, &settings);
        assert_eq!(again, whole);
        let first: f64 = metric(&bench, &again.0, 0);
        assert!(metric(&bench, &again.0, 11) < first - 0.3, "{more}: {first}");
    }
}

/// Returns the loss of a step.
fn metric(bench: &Bench, outputs: &BTreeMap<String, Artifact>, step: usize) -> f64 {
    let Artifact::File(metrics) = &outputs["metrics"] else { panic!("metrics are a file") };
    let metrics = fs_err::read_to_string(bench.store.path(metrics).unwrap()).unwrap();
    let line: Value = serde_json::from_str(metrics.lines().nth(step).unwrap()).unwrap();
    line["loss"].as_f64().unwrap()
}
