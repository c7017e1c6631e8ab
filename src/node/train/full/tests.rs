//! Trainings of all weights of the tiny model of `tests/fixtures/tiny-llama`, which take a moment.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::lora::LORA;
use super::super::tests::{self as both, metrics, row, ten_rows, with_grant, with_held_out};
use super::*;
use crate::model::transformer::{Batch, Transformer};
use crate::model::weights::{Base, Storage, WeightFiles};
use crate::node::bench::Bench;
use crate::node::{Device, Grant, InputRole, Kind as _};
use crate::store::Artifact;

fn settings(more: &Value) -> Value {
    both::settings(&FULL, more)
}

/// Opens what a training gave as a base model.
fn opened(bench: &Bench, outputs: &BTreeMap<String, Artifact>) -> Base {
    let files = WeightFiles::of(&bench.store, &outputs["weights"]).unwrap().unwrap();
    Base::open(&files).unwrap()
}

#[test]
fn training_learns_and_gives_a_model_that_is_a_base_itself() {
    let bench = Bench::new();
    let held = |index| row(index, "the one after the one before");
    let with = settings(&json!({"eval": "dataset:eval", "neftune-alpha": 1.0, "label-smoothing": 0.01}));
    let outcome = bench.run(&FULL, &with, with_held_out(&bench), &[]).unwrap();
    assert_eq!(outcome.outputs.keys().collect::<Vec<_>>(), ["metrics", "tensorboard", "weights"]);
    let lines = metrics(&bench, &outcome.outputs);
    let losses: Vec<f64> = lines.iter().filter_map(|line| line["loss"].as_f64()).collect();
    assert_eq!(losses.len(), 12);
    assert!(losses[11] < losses[0] - 1.0, "{losses:?}");
    let field = |name: &str| outcome.fields[name].as_f64().unwrap();
    assert!(field("eval-loss") < field("eval-base-loss") - 1.0, "{:?}", outcome.fields);
    assert!(!outcome.fields.contains_key("warm-starts"), "{:?}", outcome.fields);

    let base = opened(&bench, &outcome.outputs);
    let start = Base::open(&WeightFiles::of(&bench.store, &both::model(&bench).artifact).unwrap().unwrap()).unwrap();
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
fn a_base_that_is_a_gguf_and_a_gpu_are_refused_before_anything_is_read() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    crate::model::gguf::tiny::Variant::LLAMA.write(&path, 1, crate::model::gguf::TensorType::F32).unwrap();
    let gguf = Artifact::File(bench.store.put_file(&path).unwrap());
    let mut inputs = ten_rows(&bench);
    inputs[1] = bench.input(InputRole::Model, "model", "weights", Some(gguf), json!({}));
    let error = bench.run(&FULL, &settings(&json!({})), inputs, &[]).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("train::whole_gguf"), "{error:?}");
    assert!(error.help.unwrap().contains("hf:ORG/REPO"));
    let gpu = Grant { threads: 2, memory: None, device: Device::Cuda(4095) };
    let error =
        with_grant(&bench, (&FULL, &settings(&json!({}))), ten_rows(&bench), gpu, |run| FULL.run(run)).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("train::whole_on_device"), "{error:?}");
    assert!(error.help.as_ref().unwrap().contains("`type = \"lora\"`"));
    let planned = with_grant(&bench, (&FULL, &settings(&json!({}))), ten_rows(&bench), gpu, |run| FULL.cost(run));
    assert_eq!(planned.unwrap_err(), error);
    assert!(bench.events.progress().is_empty());
}

#[test]
fn settings_of_an_adapter_are_unknown_here_and_the_way_to_them_is_told() {
    let problems = |settings: Value| FULL.canonical(&settings).unwrap_err();
    for key in ["rank", "targets", "dora", "dropout", "loraplus-ratio", "replay"] {
        let [problem] = &problems(json!({ key: 1 }))[..] else { panic!("{key}") };
        assert_eq!((problem.path.as_slice(), problem.code), (&[key.to_owned()][..], "settings::unknown_key"));
        assert!(problem.help.as_ref().unwrap().contains("`type = \"lora\"`"), "{problem:?}");
    }
    let [problem] = &problems(json!({"epoch": 1}))[..] else { panic!() };
    assert_eq!(problem.help.as_deref(), Some("did you mean `epochs`?"));
    let [problem] = &LORA.canonical(&json!({"method": "full"})).unwrap_err()[..] else { panic!() };
    assert!(problem.help.as_ref().unwrap().contains("`type = \"full\"` all weights"), "{problem:?}");
    let canonical = FULL.canonical(&json!({})).unwrap();
    assert_eq!(canonical["learning-rate"], 2e-5);
    assert_eq!(FULL.schema()["properties"]["learning-rate"]["default"], 2e-5);
    assert_eq!(LORA.canonical(&json!({})).unwrap()["learning-rate"], 2e-4);
}
