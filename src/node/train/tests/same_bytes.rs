//! The same result, however the work is done.

use super::*;

/// Long rows, so that activations count beside the program.
fn long_rows(bench: &Bench) -> Vec<JobInput> {
    let answer = "the one after the one before, and so on ".repeat(8);
    vec![rows(bench, (0..40).map(|index| row(index, &answer)).collect()), model(bench)]
}

/// Checks a kind with settings that hold more than the usual ones.
fn check_threads_and_memory(kind: &Training, more: &Value) {
    let mut long = json!({"max-tokens": 512, "micro-batch-tokens": 8192, "batch-size": 20, "epochs": 2});
    long.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let settings = settings(kind, &long);
    // Outputs of a training within these limits, and what was noted of activations.
    let train = |threads, memory| {
        let bench = Bench::new();
        let run = |run: &Run<'_>| kind.run(run);
        let outcome = with_grant(&bench, (kind, &settings), long_rows(&bench), grant(threads, memory), run).unwrap();
        let again = bench.events.notes().into_iter().find(|note| note.contains("activations computed again"));
        (outcome.outputs, again)
    };
    let (whole, again) = train(1, None);
    assert_eq!(again, None);
    for threads in [2, 3, 8] {
        assert_eq!(train(threads, None).0, whole, "{threads} threads");
    }
    let bench = Bench::new();
    let needed = |memory| {
        let cost = |run: &Run<'_>| kind.cost(run);
        with_grant(&bench, (kind, &settings), long_rows(&bench), grant(1, memory), cost).unwrap().unwrap()
    };
    // A little less than what is planned with a twentieth to spare.
    let memory = needed(None).memory * 20 / 19 - (2 << 20);
    let (recomputed, again) = train(2, Some(memory));
    assert!(again.is_some_and(|note| note.contains("activations computed again in 1 of 2 blocks")));
    assert_eq!(recomputed, whole);
    let cost = needed(Some(memory));
    assert!(cost.memory < memory && cost.note.contains("again in 1 of 2 blocks"), "{}", cost.note);
}

#[test]
fn neither_threads_nor_memory_change_a_byte_of_an_adapter() {
    check_threads_and_memory(&LORA, &json!({"dropout": 0.1}));
}

#[test]
fn neither_threads_nor_memory_change_a_byte_of_all_weights() {
    check_threads_and_memory(&FULL, &json!({}));
}

#[test]
fn parts_of_a_step_are_weighted_by_their_tokens() {
    for kind in KINDS {
        let line = |tokens: usize| {
            let bench = Bench::new();
            let mut some: Vec<Record> = (0..4).map(|index| row(index, "short")).collect();
            some.extend((4..8).map(|index| row(index, "a much longer answer than the others have, by some words")));
            let more = json!({"batch-size": 8, "epochs": 1, "warmup-steps": 0, "micro-batch-tokens": tokens});
            let inputs = vec![rows(&bench, some), model(&bench)];
            let (outputs, _) = trained(&bench, kind, &settings(kind, &more), inputs);
            let line = metrics(&bench, &outputs).remove(0);
            ["loss", "grad-norm", "trained-tokens"].map(|name| line[name].as_f64().unwrap())
        };
        for (whole, part) in line(4096).iter().zip(line(32)) {
            assert!((whole - part).abs() < 1e-5 * whole.abs(), "{whole} is not {part}");
        }
    }
}

#[test]
fn a_training_that_does_not_fit_into_memory_is_refused_with_what_would() {
    for kind in KINDS {
        let bench = Bench::new();
        let (short, settings) = (grant(1, Some(20 << 20)), settings(kind, &json!({})));
        let run = |run: &Run<'_>| kind.run(run);
        let error = with_grant(&bench, (kind, &settings), ten_rows(&bench), short, run).unwrap_err();
        assert_eq!(error.code.as_deref(), Some("train::memory"), "{error:?}");
        assert!(error.message.contains("19 MiB may be used"), "{}", error.message);
        let cost = |run: &Run<'_>| kind.cost(run);
        assert_eq!(with_grant(&bench, (kind, &settings), ten_rows(&bench), short, cost).unwrap_err(), error);
    }
}
