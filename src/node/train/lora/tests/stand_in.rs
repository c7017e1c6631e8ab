//! The stand-in of a training's result.

use super::*;
use crate::model::lora::PeftAdapter;

fn stand_in(bench: &Bench, more: &Value) -> Outcome {
    bench.with_run(&LORA, &settings(more), ten_rows(bench), &[], |run| LORA.rehearse(run)).unwrap()
}

#[test]
fn it_is_an_adapter_of_the_trainings_shapes_that_changes_nothing() {
    for more in [json!({}), json!({"init": "pissa", "dora": true, "rank-pattern": {"q_proj": 2}})] {
        let bench = Bench::new();
        let outcome = stand_in(&bench, &more);
        assert_eq!(outcome.outputs.keys().collect::<Vec<_>>(), ["adapter", "metrics", "tensorboard"]);
        let Artifact::Folder { files } = &outcome.outputs["adapter"] else { panic!("{outcome:?}") };
        let files: BTreeMap<_, _> = bench.store.paths(files).unwrap();
        let bytes = fs_err::read(&files["adapter_model.safetensors"]).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert!(
            tensors.len() > 4
                && tensors.tensors().iter().all(|(_, tensor)| tensor.data().iter().all(|byte| *byte == 0))
        );
        PeftAdapter::read(&files).unwrap();
    }
}

#[test]
fn it_has_every_field_that_the_training_has() {
    let bench = Bench::new();
    let fields = |outcome: &Outcome| outcome.fields.keys().cloned().collect::<Vec<_>>();
    let trained = bench.run(&LORA, &settings(&json!({"epochs": 1})), ten_rows(&bench), &[]).unwrap();
    assert_eq!(fields(&stand_in(&bench, &json!({}))), fields(&trained));
    assert!(stand_in(&bench, &json!({"eval": "dataset:train"})).fields.contains_key("eval-loss"));
}
