//! What users see of a training beside its result: its forecast, and warm starts by the lock.

use serde_json::{Value, json};

use crate::support::program::{tunesmith, write};
use crate::support::tiny::project;

fn object(out: &str, name: &str) -> Value {
    let objects = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    objects.filter_map(|object| object.get(name).cloned()).next_back().unwrap()
}

fn add_row(folder: &std::path::Path, question: &str) {
    let rows = fs_err::read_to_string(folder.join("rows.jsonl")).unwrap();
    let row = json!({"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": "Ask again."}]});
    write(folder, &[("rows.jsonl", &format!("{rows}{row}\n"))]);
}

/// Returns the tokens that a plan says a training computes.
fn tokens_of(plan: &Value) -> u64 {
    let note = plan["cost"]["note"].as_str().unwrap_or_else(|| panic!("{plan}"));
    let tokens = note.split("some ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    tokens.parse().unwrap()
}

#[test]
fn a_plan_forecasts_a_training_once_its_rows_are_there_and_refuses_what_cannot_fit() {
    let space = project();
    let plan = |more: &[&str]| {
        let arguments = [&["plan", "expert", "--json"], more].concat();
        tunesmith(space.path(), &arguments)
    };
    assert_eq!(object(&plan(&[]).expect(0).out, "plan")["cost"], Value::Null);
    tunesmith(space.path(), &["build", "pairs", "model"]).expect(0);
    let planned = object(&plan(&[]).expect(0).out, "plan");
    assert_eq!(planned["action"], "run");
    assert!(planned["cost"]["memory"].as_u64() > Some(1 << 20), "{planned}");
    assert!(planned["cost"]["note"].as_str().unwrap().starts_with("5 steps over some "), "{planned}");
    let text = tunesmith(space.path(), &["plan", "expert"]).expect(0).out;
    assert!(text.contains("run expert (train.lora): never built; about "), "{text}");

    let manifest = fs_err::read_to_string(space.path().join("pipeline.toml")).unwrap();
    let short = format!("{manifest}\n[run.node.expert]\nmemory = \"20MiB\"\n");
    write(space.path(), &[("pipeline.toml", &short)]);
    let refused = plan(&[]).expect(1);
    assert_eq!(object(&refused.out, "plan")["action"], "refuse");
    assert!(refused.out.contains("train::memory") && refused.out.contains("smaller base model"), "{}", refused.out);
    let built = tunesmith(space.path(), &["build", "expert", "--json"]).expect(1);
    assert!(built.out.contains("19 MiB may be used"), "{}", built.out);
}

#[test]
fn rows_are_shown_as_the_training_that_they_reach_sees_them() {
    let space = project();
    tunesmith(space.path(), &["build", "pairs", "model"]).expect(0);
    let shown = || tunesmith(space.path(), &["show", "pairs", "--rows", "1", "--tokens", "--json"]).expect(0).out;
    let out = shown();
    let (whole, audit) = (object(&out, "tokens"), object(&out, "audit"));
    assert_eq!(
        (&audit["max-tokens"], &audit["training"], &audit["remarks"]),
        (&json!(128), &json!("expert"), &json!([]))
    );
    let (ids, mask) = (whole["ids"].as_array().unwrap(), whole["mask"].as_array().unwrap());
    assert_eq!(ids.len(), mask.len());
    assert_eq!(
        mask.iter().filter(|is_trained| **is_trained == true).count() as u64,
        whole["trained"].as_u64().unwrap()
    );
    assert_eq!(whole["ends"], true, "{whole}");
    let short = ids.len() - 2;
    let manifest = fs_err::read_to_string(space.path().join("pipeline.toml")).unwrap();
    let of_training = |more: &str| manifest.replace("rank = 4\n", &format!("rank = 4\nmax-tokens = {short}\n{more}"));
    write(space.path(), &[("pipeline.toml", &of_training(""))]);
    let cut = object(&shown(), "tokens");
    assert_eq!((&cut["tokens"], &cut["ends"]), (&json!(short), &json!(false)), "{cut}");
    write(space.path(), &[("pipeline.toml", &of_training("over-length = \"drop\"\n"))]);
    assert_eq!(object(&shown(), "tokens")["remark"], "dropped: longer than max-tokens");
}

#[test]
fn a_device_is_in_no_key_and_one_that_cannot_be_used_is_refused_by_name() {
    let space = project();
    let manifest = fs_err::read_to_string(space.path().join("pipeline.toml")).unwrap();
    let on_gpu = format!("{manifest}\n[run.node.expert]\ndevice = \"cuda:999\"\n");
    write(space.path(), &[("pipeline.toml", &on_gpu)]);
    tunesmith(space.path(), &["build", "pairs", "model"]).expect(0);
    let refusals = [&["plan", "expert", "--json"], &["build", "expert", "--json"]];
    for refused in refusals.map(|arguments| tunesmith(space.path(), arguments).expect(1).out) {
        let code = if cfg!(feature = "cuda") { "model::device" } else { "model::no_cuda" };
        assert!(refused.contains(code) && refused.contains("cuda:999"), "{refused}");
    }
    write(space.path(), &[("pipeline.toml", &manifest)]);
    tunesmith(space.path(), &["build", "expert"]).expect(0);
    // What the CPU trained serves where the manifest names a GPU.
    write(space.path(), &[("pipeline.toml", &on_gpu)]);
    assert_eq!(object(&tunesmith(space.path(), &["build", "expert", "--json"]).expect(0).out, "build")["built"], 0);
}

#[test]
fn a_warm_start_is_pinned_by_the_lock_and_ended_by_it() {
    let space = project();
    let build = || tunesmith(space.path(), &["build", "--json"]).expect(0).out;
    let fields =
        || object(&tunesmith(space.path(), &["show", "expert", "--json"]).expect(0).out, "show")["fields"].clone();
    tunesmith(space.path(), &["lock", "--warm-start", "expert"]).expect(1);
    tunesmith(space.path(), &["build", "pairs", "model"]).expect(0);
    let plan = || object(&tunesmith(space.path(), &["plan", "expert", "--json"]).expect(0).out, "plan");
    let in_full = tokens_of(&plan());
    build();
    let adapter = || fs_err::read(space.path().join("adapter/adapter_model.safetensors")).unwrap();
    let cold = adapter();
    let locked = tunesmith(space.path(), &["lock", "--warm-start", "expert", "--json"]).expect(0).out;
    let locked = object(&locked, "lock");
    assert_eq!(
        (&locked["start"], &locked["changed"], &locked["warm-starts"]),
        (&json!("warm"), &json!(true), &json!(0))
    );
    let lock = fs_err::read_to_string(space.path().join("pipeline.lock")).unwrap();
    assert!(lock.contains("[warm-start.expert]"), "{lock}");
    let told = tunesmith(space.path(), &["plan", "expert"]).expect(0).out;
    assert!(told.contains("input result of the warm start is new"), "{told}");

    // Nothing is new: the adapter stays, and what was made from it is fresh.
    let out = build();
    assert_eq!((object(&out, "build")["built"].clone(), fields()["warm-starts"].clone()), (json!(1), json!(1)));
    assert_eq!(adapter(), cold);

    add_row(space.path(), "And then?");
    tunesmith(space.path(), &["build", "pairs"]).expect(0);
    // One row in place of nine, and a tenth of the others.
    let forecast = tokens_of(&plan());
    assert!(forecast < in_full / 3, "{forecast} of {in_full} tokens");
    build();
    assert_ne!(adapter(), cold);
    assert_eq!((&fields()["new-rows"], &fields()["warm-starts"]), (&json!(1), &json!(1)));
    let lineage = tunesmith(space.path(), &["lineage", "expert"]).expect(0).out;
    assert!(lineage.contains("expert:pairs:rows"), "{lineage}");
    let kept = tunesmith(space.path(), &["cache", "gc"]).expect(0);
    drop(kept);
    tunesmith(space.path(), &["verify", "expert"]).expect(0);

    // Pinned again, the next one goes on from there.
    let again = object(&tunesmith(space.path(), &["lock", "--warm-start", "expert", "--json"]).expect(0).out, "lock");
    assert_eq!(again["warm-starts"], 1);
    add_row(space.path(), "What next?");
    build();
    assert_eq!((&fields()["new-rows"], &fields()["warm-starts"]), (&json!(1), &json!(2)));

    // What is excluded cannot be unlearnt by a warm start.
    let ids = tunesmith(space.path(), &["show", "pairs", "--rows", "1", "--json"]).expect(0).out;
    let id = object(&ids, "row")["id"].as_str().unwrap().to_owned();
    tunesmith(space.path(), &["purge", &id]).expect(0);
    let refused = tunesmith(space.path(), &["build", "--json"]).expect(1).out;
    assert!(refused.contains("learnt rows of `pairs:rows` that are excluded"), "{refused}");
    tunesmith(space.path(), &["purge", &id, "--undo"]).expect(0);

    tunesmith(space.path(), &["lock", "--cold", "expert"]).expect(0);
    assert!(!fs_err::read_to_string(space.path().join("pipeline.lock")).unwrap().contains("warm-start"));
    build();
    assert_eq!((&fields()["new-rows"], &fields()["warm-starts"]), (&json!(10), &json!(0)));
    let said = tunesmith(space.path(), &["lock", "--cold", "expert"]).expect(0).out;
    assert_eq!(said, "expert trains in full already\n");
    tunesmith(space.path(), &["lock", "--cold", "pairs"]).expect(2);
    tunesmith(space.path(), &["lock"]).expect(2);
}

#[test]
fn held_out_rows_of_a_split_are_evaluated_and_event_files_are_an_output() {
    let space = project();
    let manifest = fs_err::read_to_string(space.path().join("pipeline.toml")).unwrap();
    let split = "[filter.dataset]\ntype = \"split\"\nfrom = [\"pairs\"]\neval = 0.5\n[train.expert]";
    let manifest = manifest.replace("[train.expert]", split);
    let manifest = manifest.replace(
        "type = \"lora\"\nfrom = [\"pairs\"]",
        "type = \"lora\"\nfrom = [\"dataset\", \"dataset:eval\"]\neval = \"dataset:eval\"\nkeep = \"best\"",
    );
    let gate = "[eval.ship]\ntype = \"gate\"\nrequire = [\"expert.eval-loss <= expert.eval-base-loss\"]\n";
    write(space.path(), &[("pipeline.toml", &(manifest + gate))]);
    tunesmith(space.path(), &["build"]).expect(0);
    tunesmith(space.path(), &["get", "expert:tensorboard", "-o", "board"]).expect(0);
    let bytes = fs_err::read(space.path().join("board/events.out.tfevents.0000000000.tunesmith")).unwrap();
    assert!(bytes.windows(9).any(|window| window == b"eval/loss"));
}

#[test]
fn a_gate_says_when_a_training_in_full_is_due() {
    let space = project();
    let manifest = fs_err::read_to_string(space.path().join("pipeline.toml")).unwrap();
    let split = "[filter.dataset]\ntype = \"split\"\nfrom = [\"pairs\"]\neval = 0.5\n[train.expert]";
    let manifest = manifest.replace("[train.expert]", split).replace(
        "type = \"lora\"\nfrom = [\"pairs\"]",
        "type = \"lora\"\nfrom = [\"dataset\", \"dataset:eval\"]\neval = \"dataset:eval\"\nkeep = \"best\"",
    );
    let gate = "[eval.ship]\ntype = \"gate\"\n\
                require = [\"expert.eval-loss <= expert.eval-start-loss\", \"expert.warm-starts <= 1\"]\n";
    write(space.path(), &[("pipeline.toml", &(manifest + gate))]);
    tunesmith(space.path(), &["build"]).expect(0);
    let warm = |question: &str| {
        tunesmith(space.path(), &["lock", "--warm-start", "expert"]).expect(0);
        add_row(space.path(), question);
        tunesmith(space.path(), &["build", "--json"])
    };
    warm("And then?").expect(0);
    let out = warm("What next?").expect(3).out;
    assert!(out.contains("expert.warm-starts <= 1"), "{out}");
    tunesmith(space.path(), &["lock", "--cold", "expert"]).expect(0);
    tunesmith(space.path(), &["build"]).expect(0);
}

#[cfg(feature = "llama")]
#[test]
fn all_weights_are_trained_converted_and_measured_without_an_adapter() {
    let space = project();
    let nodes = r#"
[filter.dataset]
type = "split"
from = ["pairs"]
eval = 0.3
[train.whole]
type = "full"
from = ["dataset"]
epochs = 8
learning-rate = 5e-3
[export.full-gguf]
type = "gguf"
from = ["whole"]
quantization = "Q8_0"
[export.full-float]
type = "gguf"
from = ["whole"]
quantization = "F16"
[export.folder]
type = "safetensors"
from = ["whole"]
dtype = "bf16"
out = "folder"
[eval.steps]
type = "ladder"
from = ["whole", "full-gguf", "full-float", "dataset:train"]
"#;
    let manifest = fs_err::read_to_string(space.path().join("pipeline.toml")).unwrap();
    write(space.path(), &[("pipeline.toml", &format!("{manifest}{nodes}"))]);
    tunesmith(space.path(), &["build", "steps", "folder"]).expect(0);
    let shown = tunesmith(space.path(), &["show", "steps", "--json"]).expect(0).out;
    let fields = object(&shown, "show")["fields"].clone();
    let number = |name: &str| fields[name].as_f64().unwrap_or_else(|| panic!("{name}: {fields}"));
    assert!(number("full.loss") < number("base.loss") - 1.0, "{fields}");
    // What llama.cpp runs is what was trained.
    assert!(number("F16.kl") < 1e-4 && number("merged.kl") < 1e-4, "{fields}");
    assert!(number("Q8_0.kl") < 2e-2, "{fields}");
    let config = fs_err::read_to_string(space.path().join("folder/config.json")).unwrap();
    assert!(config.contains("bfloat16"), "{config}");
    let card = fs_err::read_to_string(space.path().join("folder/README.md")).unwrap();
    assert!(card.contains("All weights of its base model were trained.") && !card.contains("- lora"), "{card}");
    // It has no adapter to start from.
    let refused = tunesmith(space.path(), &["lock", "--warm-start", "whole"]).expect(2);
    assert!(refused.err.contains("train.full"), "{}", refused.err);
}
