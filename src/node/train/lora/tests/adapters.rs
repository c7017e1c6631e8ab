//! Kinds of adapters, and what is wrong with their settings.

use super::*;

#[test]
fn what_is_wrong_with_an_adapters_settings_is_said_with_its_place() {
    let check = |settings: Value, path: &[&str], message: &str, help: &str| {
        let problems = LORA.canonical(&settings).unwrap_err();
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
        "`targets` must be an array of names, a regular expression, or \"all-linear\", not the number `3`",
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
        let error = bench.run(&LORA, &settings(&more), ten_rows(&bench), &[]).unwrap_err();
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
        json!({"init": "pissa", "learning-rate": 0.005, "loraplus-ratio": 4.0, "label-smoothing": 0.1,
            "weight-decay": 0.01}),
    ] {
        let settings = settings(&more);
        let whole = trained(&Bench::new(), &settings);
        let bench = Bench::new();
        both::cancelled(&bench, &LORA, &settings, ten_rows(&bench), 5);
        let again = trained(&bench, &settings);
        assert_eq!(again, whole);
        let losses: Vec<f64> = metrics(&bench, &again.0).iter().map(|line| line["loss"].as_f64().unwrap()).collect();
        assert!(losses[11] < losses[0] - 0.1, "{more}: {losses:?}");
    }
}
