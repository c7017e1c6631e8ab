//! `export.gguf` from artifacts to a file that llama.cpp loads and that behaves as base plus adapter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::ExportGguf;
use crate::llama::{Context, ContextOptions, Generation, Model};
use crate::model::convert::sample::{config, write_adapter};
use crate::model::gguf::{Header, TensorType, tiny};
use crate::node::bench::Bench;
use crate::node::{InputRole, JobInput, Kind as _};
use crate::store::{Artifact, FileRef};

/// What the adapter changes.
const MODULES: [(&str, usize, usize); 2] =
    [("model.layers.0.self_attn.q_proj", 256, 256), ("model.layers.1.mlp.down_proj", 256, 512)];

fn inputs(bench: &Bench) -> Vec<JobInput> {
    let base = bench.folder().join("base.gguf");
    tiny::write(&base, &tiny::tensors(3), TensorType::F16).unwrap();
    let files = write_adapter(bench.folder(), &MODULES, &config(""));
    let files: BTreeMap<_, _> =
        files.into_iter().map(|(name, path)| (name, bench.store.put_file(&path).unwrap())).collect();
    let base = Artifact::File(bench.store.put_file(&base).unwrap());
    vec![
        bench.input(InputRole::From, "expert", "adapter", Some(Artifact::Folder { files }), json!({})),
        bench.input(InputRole::Model, "model", "weights", Some(base), json!({})),
    ]
}

#[test]
fn every_target_loads_and_speaks_and_says_its_size() {
    let bench = Bench::new();
    for (name, low, high) in [("q4_k_m", 4.0, 7.5), ("Q8_0", 8.0, 9.5), ("F16", 16.0, 17.0), ("BF16", 16.0, 17.0)] {
        let settings = ExportGguf.canonical(&json!({"quantization": name})).unwrap();
        let outcome = bench.run(&ExportGguf, &settings, inputs(&bench), &[]).unwrap();
        let Artifact::File(file) = &outcome.outputs["gguf"] else { panic!("{outcome:?}") };
        let bits = outcome.fields["bits-per-weight"].as_f64().unwrap();
        // The tiny model's vocabulary is a large part of its file.
        assert!((low..high).contains(&bits), "{name}: {bits}");
        assert_eq!(outcome.fields["quantization"], name.to_uppercase());
        assert_eq!(outcome.fields["size"], file.size);
        let model = Model::load(&bench.store.path(file).unwrap()).unwrap();
        let options = ContextOptions { length: 64, threads: 1, interrupt: &|| false };
        let how = Generation { tokens: 4, temperature: 0.0, top_p: 1.0, seed: 0, stop: Vec::new() };
        Context::new(&model, &options).unwrap().generate(&[1, 40, 41], &how).unwrap();
        let again = bench.run(&ExportGguf, &settings, inputs(&bench), &[]).unwrap();
        assert_eq!(outcome, again, "{name}");
    }
}

#[test]
fn every_type_can_be_chosen_for_a_tensor() {
    let bench = Bench::new();
    for name in super::TENSOR_TYPES {
        let settings = json!({"tensor-types": [{"pattern": "ffn_up", "type": name}]});
        let settings = ExportGguf.canonical(&settings).unwrap();
        let outcome = bench.run(&ExportGguf, &settings, inputs(&bench), &[]).unwrap();
        let Artifact::File(file) = &outcome.outputs["gguf"] else { panic!("{outcome:?}") };
        let path = bench.store.path(file).unwrap();
        let header = Header::read(&path).unwrap();
        assert_eq!(header.tensor("blk.0.ffn_up.weight").unwrap().tensor_type.name(), *name);
        Model::load(&path).unwrap();
    }
}

/// Stores files of the tiny model in `tests/fixtures` as a folder.
fn fixture(bench: &Bench, folder: &str, names: &[&str]) -> Artifact {
    let folder = Path::new("tests/fixtures/tiny-llama").join(folder);
    let put = |name: &&str| ((*name).to_owned(), bench.store.put_file(&folder.join(name)).unwrap());
    Artifact::Folder { files: names.iter().map(put).collect() }
}

#[test]
fn a_base_of_safetensors_is_converted_and_merged() {
    let bench = Bench::new();
    let adapter = fixture(&bench, "adapter", &["adapter_config.json", "adapter_model.safetensors"]);
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];
    let base = fixture(&bench, "", &names);
    let inputs = vec![
        bench.input(InputRole::From, "expert", "adapter", Some(adapter), json!({})),
        bench.input(InputRole::Model, "model", "weights", Some(base), json!({})),
    ];
    let settings = ExportGguf.canonical(&json!({"quantization": "Q8_0"})).unwrap();
    let outcome = bench.run(&ExportGguf, &settings, inputs, &[]).unwrap();
    let Artifact::File(file) = &outcome.outputs["gguf"] else { panic!("{outcome:?}") };
    let model = Model::load(&bench.store.path(file).unwrap()).unwrap();
    let options = ContextOptions { length: 64, threads: 1, interrupt: &|| false };
    let how = Generation { tokens: 4, temperature: 0.0, top_p: 1.0, seed: 0, stop: Vec::new() };
    Context::new(&model, &options).unwrap().generate(&[1, 40, 41], &how).unwrap();
}

/// Returns the inputs with rows to measure an importance matrix on.
fn inputs_with_rows(bench: &Bench) -> Vec<JobInput> {
    let mut inputs = inputs(bench);
    inputs.push(bench.rows("train", 20));
    inputs
}

#[test]
fn an_importance_matrix_makes_small_types_possible_and_changes_others() {
    let bench = Bench::new();
    let run = |settings: Value, inputs: Vec<JobInput>| {
        let settings = ExportGguf.canonical(&settings).unwrap();
        bench.run(&ExportGguf, &settings, inputs, &[])
    };
    for name in ["IQ2_XXS", "Q2_K_S"] {
        let settings = json!({"quantization": name, "imatrix": "dataset"});
        let outcome = run(settings, inputs_with_rows(&bench)).unwrap();
        let Artifact::File(file) = &outcome.outputs["gguf"] else { panic!("{outcome:?}") };
        let model = Model::load(&bench.store.path(file).unwrap()).unwrap();
        let options = ContextOptions { length: 64, threads: 1, interrupt: &|| false };
        let how = Generation { tokens: 4, temperature: 0.0, top_p: 1.0, seed: 0, stop: Vec::new() };
        Context::new(&model, &options).unwrap().generate(&[1, 40, 41], &how).unwrap();
    }
    let notes = bench.events.notes();
    assert!(notes[0].starts_with("measured the importance of 14 tensors' columns on "), "{notes:?}");
    let q4 = |imatrix: Value, inputs| run(imatrix, inputs).unwrap().outputs["gguf"].digest();
    let with = q4(json!({"imatrix": "dataset:train"}), inputs_with_rows(&bench));
    assert_eq!(with, q4(json!({"imatrix": "dataset:train"}), inputs_with_rows(&bench)), "it repeats itself");
    assert_ne!(with, q4(json!({}), inputs(&bench)));
    let measured = || bench.events.notes().iter().filter(|note| note.starts_with("measured")).count();
    let before = measured();
    run(json!({"quantization": "Q3_K_M", "imatrix": "dataset:train"}), inputs_with_rows(&bench)).unwrap();
    assert_eq!(measured(), before, "what was measured serves every type");
    let few = q4(json!({"imatrix": "dataset:train", "imatrix-tokens": 1}), inputs_with_rows(&bench));
    assert_ne!(with, few);
    assert_eq!(measured(), before + 1);
    let code = |settings: Value, inputs| run(settings, inputs).unwrap_err().code.unwrap();
    assert_eq!(code(json!({}), inputs_with_rows(&bench)), "export::needless_rows");
    assert_eq!(code(json!({"imatrix": "dataset:eval"}), inputs_with_rows(&bench)), "export::needless_rows");
    assert_eq!(code(json!({"imatrix": "dataset"}), inputs(&bench)), "export::imatrix");
    assert_eq!(code(json!({"imatrix": "dataset", "max-tokens": 1}), inputs_with_rows(&bench)), "export::no_rows");
}

/// Returns the inputs with an adapter whose module of this name is another than usual.
fn inputs_changed(bench: &Bench, at: usize) -> Vec<JobInput> {
    let mut inputs = inputs(bench);
    let mut modules = MODULES;
    // What comes later in the list has other numbers.
    modules[at..].rotate_left(1);
    let files = write_adapter(bench.folder(), &modules, &config(""));
    let put = |(name, path): (String, PathBuf)| (name, bench.store.put_file(&path).unwrap());
    inputs[0].artifact = Artifact::Folder { files: files.into_iter().map(put).collect() };
    inputs
}

#[test]
fn only_tensors_that_changed_are_quantised_again() {
    let bench = Bench::new();
    let run = |bench: &Bench, settings: &Value, inputs: Vec<JobInput>| {
        let settings = ExportGguf.canonical(settings).unwrap();
        bench.run(&ExportGguf, &settings, inputs, &[]).unwrap().outputs["gguf"].clone()
    };
    let took = || bench.events.notes().into_iter().rev().find(|note| note.starts_with("quantised"));
    run(&bench, &json!({}), inputs(&bench));
    assert_eq!(took(), None);
    let q5_k = json!({"tensor-types": [{"pattern": "ffn_up", "type": "Q5_K"}]});
    for (settings, inputs, said) in [
        // The two modules of which the numbers are swapped.
        (json!({}), inputs_changed(&bench, 0), "quantised 2 tensors, took 13 from files that were made before"),
        (q5_k, inputs(&bench), "quantised 2 tensors, took 13 from files that were made before"),
        // Q4_K_S has most tensors as Q4_K_M has them.
        (
            json!({"quantization": "Q4_K_S"}),
            inputs(&bench),
            "quantised 3 tensors, took 12 from files that were made before",
        ),
        (json!({}), inputs(&bench), "quantised 0 tensors, took 15 from files that were made before"),
    ] {
        let fresh = Bench::new();
        let lend = |input: JobInput| JobInput { artifact: lent(&bench, &fresh, &input.artifact), ..input };
        let expected = run(&fresh, &settings, inputs.iter().cloned().map(lend).collect());
        assert_eq!(run(&bench, &settings, inputs), expected, "{settings}");
        assert_eq!(took().unwrap(), said, "{settings}");
    }
    // Another base, and a file that is gone, have nothing to take.
    let mut other = inputs(&bench);
    let base = bench.folder().join("other.gguf");
    tiny::write(&base, &tiny::tensors(4), TensorType::F16).unwrap();
    other[1].artifact = Artifact::File(bench.store.put_file(&base).unwrap());
    let notes = bench.events.notes().len();
    let made = run(&bench, &json!({"quantization": "Q6_K"}), other.clone());
    let Artifact::File(file) = made else { panic!("{made:?}") };
    bench.store.drop_file(&file).unwrap();
    assert_eq!(run(&bench, &json!({"quantization": "Q6_K"}), other), made);
    assert!(bench.events.notes()[notes..].iter().all(|note| !note.starts_with("quantised")));
}

/// Copies an artifact's files into another store.
fn lent(from: &Bench, to: &Bench, artifact: &Artifact) -> Artifact {
    let copy = |file: &FileRef| to.store.put_file(&from.store.path(file).unwrap()).unwrap();
    match artifact {
        Artifact::File(file) => Artifact::File(copy(file)),
        Artifact::Folder { files } => {
            Artifact::Folder { files: files.iter().map(|(name, file)| (name.clone(), copy(file))).collect() }
        }
        Artifact::Records(_) => panic!("{artifact:?}"),
    }
}

#[test]
fn bits_a_weight_are_met_and_told() {
    let bench = Bench::new();
    let settings = ExportGguf.canonical(&json!({"bits-per-weight": 4.5})).unwrap();
    let outcome = bench.run(&ExportGguf, &settings, inputs(&bench), &[]).unwrap();
    let bits = outcome.fields["bits-per-weight"].as_f64().unwrap();
    assert!((4.455..=4.5).contains(&bits), "{bits}");
    assert_eq!(outcome, bench.run(&ExportGguf, &settings, inputs(&bench), &[]).unwrap(), "it repeats itself");
    let tensors: u64 = outcome.report.iter().map(|count| count.count).sum();
    assert_eq!(json!(tensors), outcome.fields["tensors"], "{:?}", outcome.report);
    assert!(outcome.report[0].what.starts_with("tensors stored as "), "{:?}", outcome.report);
    let settings = json!({"bits-per-weight": 3.5, "imatrix": "dataset"});
    let settings = ExportGguf.canonical(&settings).unwrap();
    let weighed = bench.run(&ExportGguf, &settings, inputs_with_rows(&bench), &[]).unwrap();
    assert!((3.465..=3.5).contains(&weighed.fields["bits-per-weight"].as_f64().unwrap()), "{weighed:?}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let messages = |settings: Value| {
        let problems = ExportGguf.canonical(&settings).unwrap_err();
        problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; ")
    };
    let both = json!({"quantization": "Q8_0", "bits-per-weight": 4.5, "imatrix-tokens": 5});
    assert_eq!(
        messages(both),
        "`bits-per-weight` chooses what `quantization` says; there is no importance matrix to measure"
    );
    assert_eq!(messages(json!({"bits-per-weight": 1})), "a weight has from 2 to 32 bits");
    assert_eq!(
        messages(json!({"quantization": "F16", "imatrix": "dataset"})),
        "plain floats need no importance matrix"
    );
    assert_eq!(messages(json!({"imatrix": "dataset", "imatrix-tokens": 0})), "nothing is measured on no tokens");
    let value = |settings: Value| ExportGguf.canonical(&settings).unwrap();
    let importance = value(json!({"imatrix": "dataset", "max-tokens": 64}));
    assert_eq!((&importance["imatrix-tokens"], &importance["max-tokens"]), (&json!(32_768), &json!(64)));
    assert_eq!(value(importance.clone()), importance, "what is canonical stays");
    assert_eq!(value(json!({"max-tokens": 64})), json!({"quantization": "Q4_K_M"}), "what is not used is left out");
    let small = json!({"imatrix": "dataset", "tensor-types": [{"pattern": "ffn", "type": "IQ2_XS"}]});
    assert_eq!(value(small.clone())["tensor-types"], small["tensor-types"]);
}

#[test]
fn one_adapter_is_needed() {
    let bench = Bench::new();
    let settings = ExportGguf.canonical(&json!({})).unwrap();
    let error = bench.run(&ExportGguf, &settings, inputs(&bench).split_off(1), &[]).unwrap_err();
    assert_eq!(error.message, "a GGUF is made from one adapter or one model, `from` names 0");
}

#[test]
fn unknown_quantisations_get_a_suggestion() {
    let help = |name: &str| {
        let problem = ExportGguf.canonical(&json!({"quantization": name})).unwrap_err().remove(0);
        format!("{}: {}", problem.message, problem.help.unwrap())
    };
    assert_eq!(help("Q4_KM"), "unknown quantisation `Q4_KM`: did you mean `Q4_K_M`?");
    assert_eq!(help("int8"), "unknown quantisation `int8`: common ones: Q4_K_M (default), Q5_K_M, Q6_K, Q8_0, F16");
    assert!(help("IQ1_S").starts_with("llama.cpp makes `IQ1_S` only with an importance matrix"));
    let value = |settings: Value| ExportGguf.canonical(&settings).unwrap();
    assert_eq!(value(json!({"quantization": "q8_0"})), value(json!({"quantization": "Q8_0"})), "case is no change");
}
