//! The same bytes, however the work is done.

use super::*;

/// Long rows, so that activations count beside the program.
fn long_rows(bench: &Bench) -> Vec<JobInput> {
    let answer = "the one after the one before, and so on ".repeat(8);
    vec![rows(bench, (0..40).map(|index| row(index, &answer)).collect()), model(bench)]
}

fn long_settings() -> Value {
    settings(&json!({"max-tokens": 512, "micro-batch-tokens": 8192, "batch-size": 20, "epochs": 2, "dropout": 0.1}))
}

/// Returns adapter and metrics of a training within these limits, and what was noted of activations.
fn trained_within(threads: usize, memory: Option<u64>) -> (BTreeMap<String, Artifact>, Option<String>) {
    let bench = Bench::new();
    let outcome =
        with_grant(&bench, &long_settings(), long_rows(&bench), threads, memory, |run| Lora.run(run)).unwrap();
    let again = bench.events.notes().into_iter().find(|note| note.contains("activations computed again"));
    (outcome.outputs, again)
}

#[test]
fn neither_threads_nor_memory_change_a_byte() {
    let (whole, again) = trained_within(1, None);
    assert_eq!(again, None);
    for threads in [2, 3, 8] {
        assert_eq!(trained_within(threads, None).0, whole, "{threads} threads");
    }
    let bench = Bench::new();
    let needed = |memory| {
        let cost = with_grant(&bench, &long_settings(), long_rows(&bench), 1, memory, |run| Lora.cost(run));
        cost.map(|cost| cost.unwrap())
    };
    let memory = needed(None).unwrap().memory;
    let (recomputed, again) = trained_within(2, Some(memory));
    assert!(again.is_some_and(|note| note.contains("activations computed again in 1 of 2 blocks")));
    assert_eq!(recomputed, whole);
    let cost = needed(Some(memory)).unwrap();
    assert!(cost.memory < memory && cost.note.contains("again in 1 of 2 blocks"), "{}", cost.note);
}

#[test]
fn parts_of_a_step_are_weighted_by_their_tokens() {
    let adapter = |tokens: usize| {
        let bench = Bench::new();
        let mut some: Vec<Record> = (0..4).map(|index| row(index, "short")).collect();
        some.extend((4..8).map(|index| row(index, "a much longer answer than the others have, by some words")));
        let settings =
            settings(&json!({"batch-size": 8, "epochs": 1, "warmup-steps": 0, "micro-batch-tokens": tokens}));
        let outcome = bench.run(&Lora, &settings, vec![rows(&bench, some), model(&bench)], &[]).unwrap();
        let line = metrics(&bench, &outcome.outputs).remove(0);
        ["loss", "grad-norm", "trained-tokens"].map(|name| line[name].as_f64().unwrap())
    };
    let (whole, parts) = (adapter(4096), adapter(32));
    for (whole, part) in whole.iter().zip(parts) {
        assert!((whole - part).abs() < 1e-5 * whole.abs(), "{whole} is not {part}");
    }
}

#[test]
fn a_checkpoint_after_each_step_changes_nothing_and_old_ones_are_dropped() {
    let each = settings(&json!({"checkpoint-seconds": 0, "schedule": "constant", "warmup-steps": 0}));
    let seldom = settings(&json!({"schedule": "constant", "warmup-steps": 0}));
    let bench = Bench::new();
    let begun = bench.store.stat().unwrap().files;
    assert_eq!(trained(&bench, &each), trained(&Bench::new(), &seldom));
    // The inputs' five files, four of the result, and the checkpoints: those of four epochs, the last two among them.
    let checkpoints: Vec<crate::node::Checkpoint> =
        bench.store.states::<Vec<crate::node::Checkpoint>>("").unwrap().into_iter().flatten().collect();
    let steps: Vec<u64> = checkpoints.iter().map(|checkpoint| checkpoint.step).collect();
    assert_eq!(steps, [3, 6, 9, 11, 12]);
    assert_eq!(bench.store.stat().unwrap().files - begun, 5 + 4 + steps.len() as u64);
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let each = settings(&json!({"checkpoint-seconds": 0, "schedule": "cosine"}));
    let whole = trained(&Bench::new(), &each);
    let bench = Bench::new();
    assert_eq!(cancelled(&bench, &each, 5), FailureClass::Cancelled);
    let checkpoints = bench.store.states::<Vec<crate::node::Checkpoint>>("").unwrap().remove(0);
    let path = bench.store.path(&checkpoints.last().unwrap().file).unwrap();
    fs_err::remove_file(&path).unwrap();
    fs_err::write(&path, "half").unwrap();
    assert_eq!(trained(&bench, &each), whole);
    let before = checkpoints[checkpoints.len() - 2].step;
    assert!(bench.events.notes().contains(&format!("goes on after step {before} of 12")), "{:?}", bench.events.notes());
}

#[test]
fn progress_tells_loss_speed_memory_and_what_is_left() {
    let bench = Bench::new();
    trained(&bench, &settings(&json!({})));
    let steps: Vec<_> = bench.events.progress().into_iter().filter(|progress| progress.left.is_some()).collect();
    assert_eq!(steps.len(), 12);
    let detail = &steps[11].detail;
    for part in ["loss ", " tokens/s", " % of peak", " MiB"] {
        assert!(detail.contains(part), "{detail}");
    }
    assert_eq!(steps[11].left, Some(0));
    let notes = bench.events.notes();
    assert!(notes.iter().any(|note| note.contains("the longest micro-batch, ")), "{notes:?}");
}
