//! Checkpoints change nothing, and people see how far a training has come.

use super::*;

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
    both::cancelled(&bench, &LORA, &each, ten_rows(&bench), 5);
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
