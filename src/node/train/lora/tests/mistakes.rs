//! What can be wrong with rows, settings and files: each is said before the first step.

use std::path::Path;

use super::*;

/// Returns the fixture with one of its files made otherwise.
fn model_with(bench: &Bench, name: &str, bytes: &[u8]) -> JobInput {
    let mut input = model(bench);
    let Artifact::Folder { files } = &mut input.artifact else { panic!("the fixture is a folder") };
    files.insert(name.to_owned(), bench.store.put_file_bytes(bytes).unwrap());
    input
}

fn fixture(name: &str) -> Vec<u8> {
    fs_err::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama").join(name)).unwrap()
}

/// Returns the fixture's weights with another header.
fn with_header(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let bytes = fixture("model.safetensors");
    let (length, rest) = bytes.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let mut header: Value = serde_json::from_slice(header).unwrap();
    change(&mut header);
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), data].concat()
}

/// Trains with a file of the model made otherwise, and returns code and message.
fn refused(name: &str, bytes: &[u8]) -> (String, String) {
    let bench = Bench::new();
    let inputs = vec![rows(&bench, vec![row(1, "fine")]), model_with(&bench, name, bytes)];
    let error = bench.run(&LORA, &settings(&json!({})), inputs, &[]).unwrap_err();
    assert!(error.help.is_some(), "{error:?}");
    assert!(!bench.events.progress().iter().any(|progress| progress.unit == "steps"), "it trained");
    (error.code.unwrap(), error.message)
}

#[test]
fn weights_that_are_no_whole_model_are_refused_by_name() {
    let whole = fixture("model.safetensors");
    let (code, message) = refused("model.safetensors", &whole[..whole.len() - 7]);
    assert_eq!(code, "safetensors::damaged", "{message}");
    let name = "model.layers.1.mlp.up_proj.weight";
    let (code, message) = refused(
        "model.safetensors",
        &with_header(|header| {
            let tensor = header.as_object_mut().unwrap().remove(name).unwrap();
            header["other"] = tensor;
        }),
    );
    assert_eq!((code.as_str(), message.contains(name)), ("model::missing_tensor", true), "{message}");
    let (code, message) = refused(
        "model.safetensors",
        &with_header(|header| {
            let shape = header[name]["shape"].as_array_mut().unwrap();
            shape.reverse();
        }),
    );
    assert_eq!((code.as_str(), message.contains(name)), ("model::wrong_shape", true), "{message}");
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let mut tokenizer: Value = serde_json::from_slice(&fixture("tokenizer.json")).unwrap();
    let added = json!({"id": 400, "content": "fine", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": false});
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    for id in vocabulary.len()..=400 {
        vocabulary.insert(format!("filler {id}"), json!(id));
    }
    vocabulary.insert("fine".into(), json!(400));
    tokenizer["added_tokens"].as_array_mut().unwrap().push(added);
    let (code, message) = refused("tokenizer.json", &serde_json::to_vec(&tokenizer).unwrap());
    assert_eq!(code, "model::tokenizer_size", "{message}");
}

#[test]
fn a_template_that_does_not_parse_or_render_is_refused() {
    let (code, _) = refused("chat_template.jinja", b"{% for message in messages %}{{ message");
    assert_eq!(code, "model::bad_template");
    let (code, message) = refused("chat_template.jinja", b"{{ raise_exception('only for tools') }}");
    assert_eq!(code, "train::no_rows");
    assert!(message.contains("only for tools"), "{message}");
}

#[test]
fn an_empty_dataset_and_rows_that_teach_nothing_are_refused() {
    let bench = Bench::new();
    let inputs = vec![rows(&bench, Vec::new()), model(&bench)];
    let error = bench.run(&LORA, &settings(&json!({})), inputs, &[]).unwrap_err();
    assert_eq!(error.message, "none of 0 rows can be trained: there are none");
    let long = "What is the longest question that anybody has ever asked here? ".repeat(9);
    let mut masked = row(1, "fine");
    let Record::Row(conversation) = &mut masked else { unreachable!() };
    conversation.turns[0].text = long;
    let inputs = vec![rows(&bench, vec![masked.clone()]), model(&bench)];
    let error = bench.run(&LORA, &settings(&json!({})), inputs, &[]).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("train::untrained_row"));
    // By policy such rows are left out; when none is left, that is said.
    for policy in [json!({"untrained-rows": "drop"}), json!({"over-length": "drop", "untrained-rows": "drop"})] {
        let inputs = vec![rows(&bench, vec![masked.clone()]), model(&bench)];
        let error = bench.run(&LORA, &settings(&policy), inputs, &[]).unwrap_err();
        assert_eq!(error.code.as_deref(), Some("train::no_rows"), "{}", error.message);
        assert!(error.message.contains("max-tokens"), "{}", error.message);
    }
}

#[test]
fn a_row_that_is_too_long_ends_the_training_where_that_is_asked_for() {
    let bench = Bench::new();
    let fail = settings(&json!({"over-length": "fail"}));
    bench.run(&LORA, &fail, ten_rows(&bench), &[]).unwrap();
    let long = |index| row(index, &"and so on ".repeat(60));
    let inputs = || vec![rows(&bench, vec![row(1, "fine"), long(2), long(3)]), model(&bench)];
    let error = bench.run(&LORA, &fail, inputs(), &[]).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("train::over_length"));
    let found = "row `row-02` has 461 tokens, `max-tokens` is 128: user: What is 2? | assistant: and so on";
    assert!(error.message.starts_with(found), "{}", error.message);
    assert!(error.help.as_ref().unwrap().contains("--row 'row-02'"), "{error:?}");
    // `plan` says the same.
    let planned = bench.with_run(&LORA, &fail, inputs(), &[], |run| LORA.cost(run));
    assert_eq!(planned.unwrap_err(), error);
    // Held-out rows are no exception.
    let mut inputs = ten_rows(&bench);
    inputs.push(held_out(&bench, vec![long(4)]));
    let settings = settings(&json!({"over-length": "fail", "eval": "dataset:eval"}));
    assert_eq!(bench.run(&LORA, &settings, inputs, &[]).unwrap_err().code.as_deref(), Some("train::over_length"));
    // By the other policies it is cut or left out.
    for (policy, found) in [("truncate", "truncated"), ("drop", "dropped")] {
        let inputs = vec![rows(&bench, vec![row(1, "fine"), long(2)]), model(&bench)];
        let outcome = bench.run(&LORA, &self::settings(&json!({"over-length": policy})), inputs, &[]).unwrap();
        let what = format!("{found}: longer than max-tokens");
        assert!(outcome.report.iter().any(|count| count.what == what && count.count == 1), "{:?}", outcome.report);
    }
}

#[test]
fn held_out_rows_that_are_none_of_the_inputs_or_empty_are_refused() {
    let bench = Bench::new();
    let code = |inputs: Vec<JobInput>| {
        let settings = settings(&json!({"eval": "dataset:eval"}));
        bench.run(&LORA, &settings, inputs, &[]).unwrap_err().code.unwrap()
    };
    assert_eq!(code(ten_rows(&bench)), "train::unknown_eval");
    let mut inputs = ten_rows(&bench);
    inputs.push(held_out(&bench, Vec::new()));
    assert_eq!(code(inputs), "train::no_held_out_rows");
}

#[test]
fn rows_that_cannot_be_trained_are_counted_by_reason() {
    let bench = Bench::new();
    let mut some: Vec<Record> = (0..3).map(|index| row(index, "fine")).collect();
    some.push(row(3, "<|im_end|>"));
    let outcome = bench.run(&LORA, &settings(&json!({"epochs": 1})), vec![rows(&bench, some), model(&bench)], &[]);
    let report = outcome.unwrap().report;
    let found = report.iter().find(|count| count.what.contains("template's token")).unwrap();
    assert_eq!(found.count, 1);
}

#[test]
fn nothing_to_train_is_an_error_that_says_why() {
    let bench = Bench::new();
    let inputs = vec![rows(&bench, vec![row(1, "<|im_end|>")]), model(&bench)];
    let error = bench.run(&LORA, &settings(&json!({})), inputs, &[]).unwrap_err();
    assert_eq!(error.message, "none of 1 rows can be trained: dropped: its text holds the template's token <|im_end|>");
}

#[test]
fn a_training_that_diverges_ends_with_the_step() {
    let bench = Bench::new();
    let settings = settings(&json!({"alpha": 1e38, "learning-rate": 0.9, "warmup-steps": 0}));
    let error = bench.run(&LORA, &settings, ten_rows(&bench), &[]).unwrap_err();
    assert_eq!(error.code.as_deref(), Some("train::diverged"));
    assert!(error.message.starts_with("training diverged in step 2:"), "{}", error.message);
    assert!(error.message.contains("; its rows: `row-0"), "{}", error.message);
}

#[test]
fn every_setting_out_of_its_range_is_named() {
    let problems = LORA.canonical(&json!({"rank": 0, "learning-rate": 3.0, "targets": []})).unwrap_err();
    let names: Vec<&str> = problems.iter().map(|problem| problem.path[0].as_str()).collect();
    assert_eq!(names, ["rank", "learning-rate", "targets"]);
    let problems = LORA.canonical(&json!({"epoch": 3, "patience": 2})).unwrap_err();
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `epochs`?"));
}
