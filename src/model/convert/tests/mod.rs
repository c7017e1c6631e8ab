//! Merging into a tiny model, held against dense arithmetic and against llama.cpp.

mod adapter_gguf;
mod architectures;
mod importance;

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;

use super::*;
use crate::llama::{Context, ContextOptions, Model, dequantize};
use crate::model::gguf::{FileType, Header, TensorType, Value, tiny};
use crate::model::lora;
use crate::model::rows::TokenRow;
use crate::model::transformer::{Batch, Transformer};
use crate::model::weights::{Base, Storage, WeightFiles};

use super::sample::{ALPHA, RANK, config, write_adapter};

fn run(
    base: &Path,
    adapter: Option<&Adapter>,
    output: &Path,
    float: FileType,
    threads: usize,
) -> Result<Merged, ConvertError> {
    let source = GgufSource::open(base)?;
    merge(&source, output, &mut Merge { adapter, float, threads, earlier: None, progress: &mut |_, _| true })
}

fn numbers(path: &Path, name: &str) -> Vec<f32> {
    let header = Header::read(path).unwrap();
    let info = header.tensor(name).unwrap();
    let bytes = fs_err::read(path).unwrap();
    let start = (header.data_offset + info.offset) as usize;
    let mut numbers = vec![0.0; info.elements() as usize];
    dequantize(info.tensor_type.id(), &bytes[start..start + info.size as usize], &mut numbers).unwrap();
    numbers
}

/// The Kullback-Leibler divergence of the distribution `b` from `a`.
fn divergence(a: &[f32], b: &[f32]) -> f64 {
    let logs = |row: &[f32]| {
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        row.iter().map(|&logit| f64::from(logit) - sum.ln()).collect::<Vec<_>>()
    };
    logs(a).iter().zip(logs(b)).map(|(a, b)| a.exp() * (a - b)).sum()
}

/// Returns which row of the checkpoint stands at `row` of the GGUF, by the converter's own words:
/// `W.reshape(heads, 2, rows / heads / 2, columns).swapaxes(1, 2)`.
fn original(row: usize, rows: usize, heads: Option<usize>) -> usize {
    heads.map_or(row, |heads| {
        let half = rows / heads / 2;
        let (head, pair, side) = (row / (2 * half), row % (2 * half) / 2, row % 2);
        head * 2 * half + side * half + pair
    })
}

/// `W + alpha / r · B·A`, with the rows of `W` where the checkpoint has them.
fn dense(module: &lora::PeftModule, base: &[f32], columns: usize, heads: Option<usize>) -> Vec<f32> {
    let rows = base.len() / columns;
    let mut merged = base.to_vec();
    for row in 0..rows {
        let original = original(row, rows, heads);
        for column in 0..columns {
            let sum: f64 = (0..RANK)
                .map(|r| f64::from(module.b[original * RANK + r]) * f64::from(module.a[r * columns + column]))
                .sum();
            merged[row * columns + column] += (f64::from(ALPHA) / RANK as f64 * sum) as f32;
        }
    }
    merged
}

#[test]
fn merged_weights_are_those_of_dense_arithmetic_in_gguf_order() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.gguf");
    let tensors = tiny::tensors(3);
    tiny::write(&base, &tensors, TensorType::F32).unwrap();
    let modules = [
        ("model.layers.0.self_attn.q_proj", 256, 256),
        ("model.layers.1.self_attn.k_proj", 128, 256),
        ("model.layers.0.mlp.down_proj", 256, 512),
    ];
    let adapter = Adapter::read(&write_adapter(folder.path(), &modules, &config(""))).unwrap();
    let output = folder.path().join("merged.gguf");
    let merged = run(&base, Some(&adapter), &output, FileType::F32, 2).unwrap();
    assert_eq!((merged.tensors, merged.changed), (tensors.len(), 3));
    for (name, columns, heads) in [
        ("blk.0.attn_q.weight", 256, Some(4)),
        ("blk.1.attn_k.weight", 256, Some(2)),
        ("blk.0.ffn_down.weight", 512, None),
    ] {
        let expected = dense(&adapter.modules[name], &numbers(&base, name), columns, heads);
        let worst = numbers(&output, name).iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-6, "{name}: {worst}");
    }
    assert_eq!(numbers(&output, "blk.1.attn_q.weight"), numbers(&base, "blk.1.attn_q.weight"), "it was not trained");
}

#[test]
fn merged_weights_are_pefts_for_every_kind_of_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("merged.gguf");
    for variant in ["rslora", "dora", "patterns", "pissa"] {
        let variant = Path::new("tests/fixtures/tiny-llama/variants").join(variant);
        let files = ["adapter_config.json", "adapter_model.safetensors"];
        let adapter = Adapter::read(&files.map(|name| (name.to_owned(), variant.join(name))).into()).unwrap();
        let how = &mut Merge {
            adapter: Some(&adapter),
            float: FileType::F32,
            threads: 2,
            earlier: None,
            progress: &mut |_, _| true,
        };
        merge(&FolderSource::open(&tiny_llama()).unwrap(), &output, how).unwrap();
        let bytes = fs_err::read(variant.join("merged.safetensors")).unwrap();
        let theirs = SafeTensors::deserialize(&bytes).unwrap();
        for (module, tensor, heads) in [
            ("model.layers.0.self_attn.k_proj", "blk.0.attn_k.weight", Some(2)),
            ("model.layers.1.self_attn.q_proj", "blk.1.attn_q.weight", Some(4)),
            ("model.layers.1.mlp.up_proj", "blk.1.ffn_up.weight", None),
        ] {
            let view = theirs.tensor(module).unwrap();
            let (rows, columns) = (view.shape()[0], view.shape()[1]);
            let theirs: Vec<f32> = view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            for (row, ours) in numbers(&output, tensor).chunks(columns).enumerate() {
                let theirs = &theirs[original(row, rows, heads) * columns..][..columns];
                let worst = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-6, "{variant:?}, {module}, row {row}: {worst}");
            }
        }
    }
}

#[test]
fn the_result_carries_the_base_metadata_and_does_not_depend_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.gguf");
    tiny::write(&base, &tiny::tensors(3), TensorType::F16).unwrap();
    let modules = [("model.layers.0.mlp.up_proj", 512, 256)];
    let adapter = Adapter::read(&write_adapter(folder.path(), &modules, &config(""))).unwrap();
    let outputs = [1, 2].map(|threads| {
        let output = folder.path().join(format!("{threads}.gguf"));
        run(&base, Some(&adapter), &output, FileType::BF16, threads).unwrap();
        fs_err::read(output).unwrap()
    });
    assert_eq!(outputs[0], outputs[1]);
    let header = Header::read(&folder.path().join("1.gguf")).unwrap();
    assert_eq!(header.get("general.file_type"), Some(&Value::U32(32)));
    for (key, value) in tiny::metadata().iter().filter(|(key, _)| key != "general.file_type") {
        assert_eq!(header.get(key), Some(value), "{key}");
    }
    assert_eq!(header.tensor("blk.0.ffn_up.weight").unwrap().tensor_type, TensorType::BF16);
    assert_eq!(header.tensor("blk.0.ffn_norm.weight").unwrap().tensor_type, TensorType::F32);
}

#[test]
fn a_quantised_base_without_an_adapter_says_the_same_in_floats() {
    let folder = tempfile::tempdir().unwrap();
    let [base, small, large] = ["base", "small", "large"].map(|name| folder.path().join(name));
    tiny::write(&base, &tiny::tensors(3), TensorType::F16).unwrap();
    crate::llama::quantize(&base, &small, FileType::from_name("Q4_K_M").unwrap().id(), None, 1).unwrap();
    run(&small, None, &large, FileType::F16, 1).unwrap();
    let logits = |path: &Path| {
        let model = Model::load(path).unwrap();
        let options = ContextOptions { length: 64, threads: 1, interrupt: &|| false };
        Context::new(&model, &options).unwrap().all_logits(&[1, 40, 41, 42]).unwrap()
    };
    // llama.cpp rounds what it multiplies with quantised weights to 8 bits; more than that would be our fault.
    for (small, large) in logits(&small).iter().zip(logits(&large)) {
        let divergence = divergence(small, &large);
        assert!(divergence < 5e-3, "{divergence}");
    }
}

#[test]
fn rank_stabilised_and_own_alphas_change_the_scale() {
    let folder = tempfile::tempdir().unwrap();
    let modules = [("model.layers.0.mlp.up_proj", 8, 8), ("model.layers.0.mlp.gate_proj", 8, 8)];
    let scales = |more: &str| {
        let adapter = Adapter::read(&write_adapter(folder.path(), &modules, &config(more))).unwrap();
        adapter.modules.values().map(|module| module.scale).collect::<Vec<_>>()
    };
    assert_eq!(scales(""), [1.5, 1.5]);
    assert_eq!(scales(r#","use_rslora":true"#), [3.0, 3.0]);
    assert_eq!(scales(r#","alpha_pattern":{"mlp.gate_proj":8}"#), [2.0, 1.5]);
}

#[test]
fn what_does_not_fit_the_base_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.gguf");
    tiny::write(&base, &tiny::tensors(3), TensorType::F16).unwrap();
    let refused = |modules: &[(&str, usize, usize)], more: &str| {
        let files = write_adapter(folder.path(), modules, &config(more));
        let output = folder.path().join("out.gguf");
        let adapter = Adapter::read(&files);
        let error = adapter.and_then(|adapter| run(&base, Some(&adapter), &output, FileType::F16, 1)).unwrap_err();
        assert!(!output.exists());
        error.to_string()
    };
    let module = "model.layers.0.mlp.up_proj";
    assert_eq!(
        refused(&[(module, 512, 128)], ""),
        "the adapter changes `blk.0.ffn_up.weight` as 512 × 128, in the base model it is 512 × 256"
    );
    assert!(refused(&[("model.layers.7.mlp.up_proj", 512, 256)], "").contains("`blk.7.ffn_up.weight`, which the base"));
    assert!(refused(&[("lm_head", 268, 256)], "").contains("`output.weight`, which the base"));
    assert!(
        refused(&[("model.layers.0.mlp.router", 8, 8)], "").contains("`model.layers.0.mlp.router`, which is no known")
    );
    let message = refused(&[(module, 512, 256)], r#","use_qalora":true"#);
    assert_eq!(message, "the adapter has `use_qalora` = true, which is not supported");
    fs_err::remove_file(folder.path().join("adapter_config.json")).unwrap();
    let error = Adapter::read(&BTreeMap::new()).unwrap_err();
    assert_eq!(error.to_string(), "the adapter has no `adapter_config.json`");
}

#[test]
fn numbers_that_the_target_cannot_hold_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.gguf");
    let mut tensors = tiny::tensors(3);
    tensors[1].numbers[5] = 70_000.0;
    tiny::write(&base, &tensors, TensorType::F32).unwrap();
    let output = folder.path().join("out.gguf");
    let error = run(&base, None, &output, FileType::F16, 1).unwrap_err();
    assert_eq!(error.to_string(), "tensor `blk.0.attn_q.weight` has a number that F16 cannot hold: 70000");
    run(&base, None, &output, FileType::BF16, 1).unwrap();
}

/// Returns the logits of our own forward pass, in 32 bits.
pub(super) fn own_logits(base: &Base, adapter: Option<&lora::Adapter>, row: &TokenRow) -> Vec<Vec<f32>> {
    Transformer::load(base, Storage::Dense, |_| ()).unwrap().logits(adapter, &Batch::new([(0, row)])).unwrap()
}

/// Returns the logits of llama.cpp.
fn their_logits(path: &Path, row: &TokenRow) -> Vec<Vec<f32>> {
    let model = Model::load(path).unwrap();
    let options = ContextOptions { length: 64, threads: 2, interrupt: &|| false };
    let tokens: Vec<i32> = row.ids.iter().map(|id| *id as i32).collect();
    Context::new(&model, &options).unwrap().all_logits(&tokens).unwrap()
}

/// Returns the files of `tests/fixtures/tiny-llama`.
fn tiny_llama() -> BTreeMap<String, std::path::PathBuf> {
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];
    names.map(|name| (name.to_owned(), Path::new("tests/fixtures/tiny-llama").join(name))).into()
}

pub(super) fn row() -> TokenRow {
    let ids: Vec<u32> = (0..48).map(|at| 3 + at * 37 % 250).collect();
    TokenRow { trained: vec![true; ids.len()], ids }
}

#[test]
fn llama_cpp_computes_from_a_converted_folder_what_our_own_forward_pass_does() {
    let folder = tempfile::tempdir().unwrap();
    let files = tiny_llama();
    let output = folder.path().join("converted.gguf");
    let how = &mut Merge { adapter: None, float: FileType::F16, threads: 2, earlier: None, progress: &mut |_, _| true };
    merge(&FolderSource::open(&files).unwrap(), &output, how).unwrap();
    let ours = own_logits(&Base::open(&WeightFiles::Folder(files)).unwrap(), None, &row());
    for (ours, theirs) in ours.iter().zip(their_logits(&output, &row())) {
        let divergence = divergence(ours, &theirs);
        assert!(divergence < 1e-3, "{divergence}");
    }
}

#[test]
fn llama_cpp_computes_what_our_own_forward_pass_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base.gguf");
    tiny::write(&path, &tiny::tensors(3), TensorType::F16).unwrap();
    let parts = [
        ("self_attn.q_proj", 256, 256),
        ("self_attn.k_proj", 128, 256),
        ("self_attn.v_proj", 128, 256),
        ("mlp.up_proj", 512, 256),
    ];
    let names: Vec<_> = (0..2)
        .flat_map(|layer| parts.map(|(part, rows, columns)| (format!("model.layers.{layer}.{part}"), rows, columns)))
        .collect();
    let modules: Vec<_> = names.iter().map(|(name, rows, columns)| (name.as_str(), *rows, *columns)).collect();
    let targets = r#","target_modules":["q_proj","k_proj","v_proj","up_proj"]"#;
    let files = write_adapter(folder.path(), &modules, &config(targets));
    let merged = folder.path().join("merged.gguf");
    run(&path, Some(&Adapter::read(&files).unwrap()), &merged, FileType::F16, 2).unwrap();

    let base = Base::open(&WeightFiles::Gguf(path.clone())).unwrap();
    let [settings, tensors] = ["adapter_config.json", "adapter_model.safetensors"].map(|name| &files[name]);
    let adapter = lora::Adapter::from_peft(base.config(), settings, tensors).unwrap();
    let ours = own_logits(&base, Some(&adapter), &row());
    let worst = |theirs: &[Vec<f32>]| {
        assert_eq!(ours.len(), theirs.len());
        ours.iter().zip(theirs).map(|(ours, theirs)| divergence(ours, theirs)).fold(0.0, f64::max)
    };
    let (tuned, untuned) = (worst(&their_logits(&merged, &row())), worst(&their_logits(&path, &row())));
    assert!(tuned < 1e-3, "{tuned}");
    assert!(untuned > 1e-2, "the adapter must matter: {untuned}");
}
