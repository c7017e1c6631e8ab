//! A training that ended goes on.

use super::*;

#[test]
fn a_training_that_was_cancelled_goes_on_to_the_same_bytes_with_its_best_state() {
    for kind in KINDS {
        let own = if kind.info().name == "lora" { json!({"dropout": 0.1}) } else { json!({"weight-decay": 0.1}) };
        let mut more = json!({"schedule": "cosine", "eval": "dataset:eval", "eval-steps": 2, "keep": "best", "samples": 1,
            "sample-tokens": 3, "neftune-alpha": 5.0});
        more.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let settings = settings(kind, &more);
        let whole = Bench::new();
        let expected = trained(&whole, kind, &settings, with_held_out(&whole));
        let bench = Bench::new();
        for steps in [5, 7] {
            cancelled(&bench, kind, &settings, with_held_out(&bench), steps);
        }
        assert_eq!(trained(&bench, kind, &settings, with_held_out(&bench)), expected);
    }
}

#[test]
fn a_longer_training_with_a_constant_rate_goes_on_where_the_shorter_one_ended() {
    for kind in KINDS {
        let train = |bench: &Bench, epochs: u64| {
            let settings = settings(kind, &json!({"epochs": epochs, "schedule": "constant", "warmup-steps": 2}));
            trained(bench, kind, &settings, ten_rows(bench))
        };
        let bench = Bench::new();
        train(&bench, 1);
        let (went_on, _) = train(&bench, 2);
        assert!(bench.events.notes().iter().any(|note| note.starts_with("goes on after step 3 of 6")));
        assert_eq!(went_on, train(&Bench::new(), 2).0);
        // And a shorter one does not start from the longer one's end.
        assert_eq!(train(&bench, 1), train(&Bench::new(), 1));
    }
}
