//! Trainings that start from an adapter that the lock pins.

use super::*;

/// Returns what the lock would pin of a training on `rows`, as inputs.
fn pinned(bench: &Bench, outcome: &Outcome, rows: &JobInput, warm_starts: u64) -> Vec<JobInput> {
    let model = model(bench).artifact.digest();
    let fields = json!({"model": model, "warm-starts": warm_starts});
    let adapter = outcome.outputs["adapter"].clone();
    vec![
        bench.input(InputRole::WarmStart, "expert", "adapter", Some(adapter), fields),
        bench.input(InputRole::WarmStart, "expert", "dataset:train", Some(rows.artifact.clone()), json!({})),
    ]
}

fn dataset(bench: &Bench, range: std::ops::Range<usize>, changed: Option<usize>) -> JobInput {
    let answer = |index| if Some(index) == changed { "quite another answer" } else { "the one after the one before" };
    rows(bench, range.map(|index| row(index, answer(index))).collect())
}

/// Trains in full on ten rows, then from there on `later`.
fn warm(bench: &Bench, later: JobInput, more: &Value) -> Outcome {
    let first = dataset(bench, 0..10, None);
    let settings = settings(more);
    let full = bench.run(&LORA, &settings, vec![first.clone(), model(bench)], &[]).unwrap();
    let mut inputs = vec![later, model(bench)];
    inputs.extend(pinned(bench, &full, &first, 0));
    bench.run(&LORA, &settings, inputs, &[]).unwrap()
}

fn counts(outcome: &Outcome) -> Vec<String> {
    outcome.report.iter().map(|count| format!("{}: {}", count.what, count.count)).collect()
}

#[test]
fn a_warm_start_trains_new_and_changed_rows_and_a_share_of_the_others() {
    let bench = Bench::new();
    let later = dataset(&bench, 2..14, Some(5));
    let more = json!({"epochs": 1, "batch-size": 1, "replay": 0.0});
    let outcome = warm(&bench, later, &more);
    // Four new, one changed; two are gone.
    assert_eq!((&outcome.fields["new-rows"], &outcome.fields["steps"]), (&json!(5), &json!(5)));
    assert_eq!(outcome.fields["warm-starts"], 1);
    let counts = counts(&outcome);
    assert!(
        counts.contains(&"rows that the warm start's adapter learnt and that are gone: 2".to_owned()),
        "{counts:?}"
    );
    assert!(bench.events.warnings().iter().any(|text| text.contains("`tunesmith lock --cold lora`")));
    let all = json!({"epochs": 1, "batch-size": 1, "replay": 1.0});
    let replayed = warm(&bench, dataset(&bench, 2..14, Some(5)), &all);
    assert_eq!(replayed.fields["steps"], 12);
}

#[test]
fn a_warm_start_begins_where_the_pinned_adapter_ended() {
    let bench = Bench::new();
    let held = || held_out(&bench, vec![row(30, "the one after the one before")]);
    let settings = settings(&json!({"eval": "dataset:eval", "epochs": 2}));
    let first = dataset(&bench, 0..10, None);
    let full = bench.run(&LORA, &settings, vec![first.clone(), held(), model(&bench)], &[]).unwrap();
    let mut inputs = vec![dataset(&bench, 0..12, None), held(), model(&bench)];
    inputs.extend(pinned(&bench, &full, &first, 3));
    let warm = bench.run(&LORA, &settings, inputs, &[]).unwrap();
    assert_eq!(warm.fields["eval-start-loss"], full.fields["eval-loss"]);
    assert_eq!(warm.fields["eval-base-loss"], full.fields["eval-base-loss"]);
    assert_eq!((&warm.fields["warm-starts"], &warm.fields["new-rows"]), (&json!(4), &json!(2)));
}

#[test]
fn without_a_new_row_the_pinned_adapter_stays_as_it_is() {
    let bench = Bench::new();
    let first = dataset(&bench, 0..10, None);
    let settings = settings(&json!({"epochs": 1}));
    let full = bench.run(&LORA, &settings, vec![first.clone(), model(&bench)], &[]).unwrap();
    let mut inputs = vec![first.clone(), model(&bench)];
    inputs.extend(pinned(&bench, &full, &first, 0));
    let warm = bench.run(&LORA, &settings, inputs, &[]).unwrap();
    assert_eq!(warm.outputs["adapter"], full.outputs["adapter"]);
    assert_eq!(warm.fields["steps"], 0);
}

#[test]
fn a_pinned_adapter_of_another_shape_or_base_is_refused() {
    let bench = Bench::new();
    let first = dataset(&bench, 0..10, None);
    let full = bench.run(&LORA, &settings(&json!({"epochs": 1})), vec![first.clone(), model(&bench)], &[]).unwrap();
    let refused = |more: &Value, mut inputs: Vec<JobInput>| {
        inputs.extend([dataset(&bench, 0..12, None), model(&bench)]);
        let error = bench.run(&LORA, &settings(more), inputs, &[]).unwrap_err();
        assert_eq!(error.code.as_deref(), Some("train::warm_start_mismatch"), "{}", error.message);
        assert!(error.help.unwrap().contains("tunesmith lock --cold lora"));
        error.message
    };
    let pins = || pinned(&bench, &full, &first, 0);
    assert!(refused(&json!({"rank": 2}), pins()).ends_with("its rank or its modules are not those of the settings"));
    assert!(refused(&json!({"alpha": 3.0}), pins()).ends_with("its `alpha` or its kind is not that of the settings"));
    let pissa = json!({"init": "pissa"});
    let full = bench.run(&LORA, &settings(&pissa), vec![first.clone(), model(&bench)], &[]).unwrap();
    assert!(refused(&pissa, pinned(&bench, &full, &first, 0)).contains("has twice the rank"));
    let mut other = pins();
    other[0].fields.insert("model".into(), json!("other"));
    assert!(refused(&json!({}), other).ends_with("it was trained on another base model"));
}
