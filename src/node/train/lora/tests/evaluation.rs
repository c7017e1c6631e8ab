//! Held-out rows: their loss, the best adapter, patience, and answers.

use super::*;

fn with(more: &Value) -> Value {
    let mut all = json!({"eval": "dataset:eval"});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings(&all)
}

#[test]
fn the_loss_on_held_out_rows_is_measured_at_each_epochs_end_and_they_are_not_trained() {
    let bench = Bench::new();
    let outcome = bench.run(&LORA, &with(&json!({})), with_held_out(&bench), &[]).unwrap();
    assert_eq!(outcome.fields["rows"], 10);
    let metrics = metrics(&bench, &outcome.outputs);
    let evaluated: Vec<u64> =
        metrics.iter().filter(|line| line["eval-loss"].is_f64()).map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(evaluated, [0, 3, 6, 9, 12]);
    let field = |name: &str| outcome.fields[name].as_f64().unwrap();
    assert!(field("eval-loss") < field("eval-start-loss") - 0.5, "{:?}", outcome.fields);
    assert_eq!(outcome.fields["eval-start-loss"], outcome.fields["eval-base-loss"]);
    // What is trained is what is trained without them.
    assert_eq!(outcome.outputs["adapter"], trained(&Bench::new(), &settings(&json!({}))).0["adapter"]);
}

#[test]
fn training_stops_when_patience_ends_and_the_best_adapter_is_kept() {
    let bench = Bench::new();
    // The held-out answer is another one: the more is learnt, the worse it becomes.
    let inputs = || {
        let mut inputs = ten_rows(&bench);
        inputs.insert(1, held_out(&bench, vec![row(20, "QQQQ ZZZZ 0000 !!!!")]));
        inputs
    };
    let more = json!({"eval-steps": 1, "patience": 3, "keep": "best", "epochs": 20, "schedule": "constant",
        "warmup-steps": 0});
    let best = bench.run(&LORA, &with(&more), inputs(), &[]).unwrap();
    let step = best.fields["eval-best-step"].as_u64().unwrap();
    assert_eq!(best.fields["steps"].as_u64().unwrap(), step + 3);
    let losses: Vec<f64> =
        metrics(&bench, &best.outputs).iter().filter_map(|line| line["eval-loss"].as_f64()).collect();
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(best.fields["eval-loss"].as_f64(), Some(least));
    let last = bench
        .run(
            &LORA,
            &with(&json!({"eval-steps": 1, "patience": 3, "epochs": 20, "schedule": "constant",
        "warmup-steps": 0})),
            inputs(),
            &[],
        )
        .unwrap();
    assert_ne!(last.outputs["adapter"], best.outputs["adapter"]);
    assert_eq!(last.fields["eval-loss"].as_f64(), losses.last().copied());
}

#[test]
fn answers_are_generated_at_each_evaluation_and_become_what_is_taught() {
    let bench = Bench::new();
    let asked = with(&json!({"samples": 1, "sample-tokens": 40, "epochs": 40, "eval-steps": 1000}));
    let outcome = bench.run(&LORA, &asked, with_held_out(&bench), &[]).unwrap();
    let metrics = metrics(&bench, &outcome.outputs);
    let answers: Vec<&Value> = metrics.iter().filter(|line| line["answer"].is_string()).collect();
    let row = (&json!("row-20"), &json!("What is 20?"));
    assert_eq!(answers.iter().map(|line| (&line["row"], &line["question"])).collect::<Vec<_>>(), [row, row]);
    let answer = |line: &Value| line["answer"].as_str().unwrap().to_owned();
    // The likeliest token each time, up to the end of the turn, which is no part of it.
    let taught = |answer: String| answer.ends_with(" the one before");
    assert_eq!(answers.iter().map(|line| taught(answer(line))).collect::<Vec<_>>(), [false, true], "{answers:?}");
}
