//! Whole files held against those that llama.cpp quantises from the same floats.

use super::super::{GgufSource, merge};
use super::*;
use crate::model::gguf::tiny::{self, noise};
use crate::model::gguf::{Array, Header};
use crate::model::quantize::rounds_separately;

/// A model of small matrices, in many layers.
struct Shape {
    architecture: &'static str,
    layers: u32,
    columns: u64,
    kv_heads: u32,
    tied: bool,
}

impl Shape {
    fn metadata(&self) -> Vec<(String, Value)> {
        let number = |key: &str, number: u32| (format!("{}.{key}", self.architecture), Value::U32(number));
        let tokens = ["<s>", "a", "b", "c"].map(str::to_owned);
        vec![
            ("general.architecture".into(), Value::String(self.architecture.into())),
            ("general.name".into(), Value::String("many layers".into())),
            number("block_count", self.layers),
            number("context_length", 64),
            number("embedding_length", 256),
            number("feed_forward_length", 256),
            number("attention.head_count", 8),
            number("attention.head_count_kv", self.kv_heads),
            (format!("{}.attention.layer_norm_rms_epsilon", self.architecture), Value::F32(1e-5)),
            ("tokenizer.ggml.model".into(), Value::String("gpt2".into())),
            ("tokenizer.ggml.tokens".into(), Value::strings(tokens)),
            ("tokenizer.ggml.token_type".into(), Value::Array(Array { element: 5, items: vec![Value::I32(1); 4] })),
        ]
    }

    /// Writes the model in 16 bits.
    fn write(&self, path: &Path) {
        let mut names = vec!["token_embd.weight".to_owned(), "output_norm.weight".to_owned()];
        if !self.tied {
            names.push("output.weight".to_owned());
        }
        let parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down", "attn_norm"];
        names.extend((0..self.layers).flat_map(|layer| parts.map(|part| format!("blk.{layer}.{part}.weight"))));
        let plan = names.into_iter().map(|name| {
            let norm = name.ends_with("_norm.weight");
            PlannedTensor {
                dimensions: if norm { vec![self.columns] } else { vec![self.columns, 4] },
                tensor_type: if norm { TensorType::F32 } else { TensorType::F16 },
                name,
            }
        });
        let plan: Vec<PlannedTensor> = plan.collect();
        let mut writer = Writer::create(path, &self.metadata(), plan.clone()).unwrap();
        for (seed, tensor) in plan.iter().enumerate() {
            let numbers = noise(seed as u64, tensor.dimensions.iter().product::<u64>() as usize);
            let bytes: Vec<u8> = match tensor.tensor_type {
                TensorType::F32 => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
                _ => numbers.iter().flat_map(|&number| f16::from_f32(number).to_le_bytes()).collect(),
            };
            writer.write(&bytes).unwrap();
        }
        writer.finish().unwrap();
    }
}

fn ours(base: &Path, output: &Path, target: &Target<'_>, threads: usize) -> bool {
    let how = &mut Merge { adapter: None, float: FileType::F16, threads, earlier: None, progress: &mut |_, _| true };
    merge_quantised(&GgufSource::open(base).unwrap(), output, how, target).is_ok_and(|merged| merged.is_some())
}

/// Compares the files of every type that both make: byte by byte where llama.cpp rounds as it is told to, else their
/// headers.
#[track_caller]
fn compare(shape: &Shape) {
    let compared = compare_with(shape, None);
    assert!(compared > 20, "only {compared} file types were compared");
}

/// Returns how many types both make.
#[track_caller]
fn compare_with(shape: &Shape, importance: Option<&Importance>) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let [base, float, found, expected] = ["base", "float", "found", "expected"].map(|name| folder.path().join(name));
    shape.write(&base);
    let how = &mut Merge { adapter: None, float: FileType::F16, threads: 1, earlier: None, progress: &mut |_, _| true };
    merge(&GgufSource::open(&base).unwrap(), &float, how).unwrap();
    let mut both = 0;
    for file_type in FileType::all().filter(|file_type| !file_type.is_float()) {
        let theirs = crate::llama::quantize(&float, &expected, file_type.id(), importance, 1).is_ok();
        let target = Target { file_type, overrides: &[], importance };
        assert_eq!(ours(&base, &found, &target, 1), theirs, "{file_type}: llama.cpp makes it: {theirs}");
        if shape.columns == 256 {
            let can = importance.is_some() || !file_type.needs_importance();
            assert_eq!(theirs, can && file_type.name() != "NVFP4", "{file_type}");
        }
        if !theirs {
            continue;
        }
        both += 1;
        let [found_header, expected_header] = [&found, &expected].map(|path| Header::read(path).unwrap());
        assert_eq!(found_header.metadata, expected_header.metadata, "{file_type}");
        assert_eq!(found_header.tensors, expected_header.tensors, "{file_type}");
        let same = fs_err::read(&found).unwrap() == fs_err::read(&expected).unwrap();
        assert!(same || !rounds_separately(), "{file_type}: the tensors' bytes differ");
    }
    both
}

#[test]
fn every_file_type_is_llama_cpps_with_an_importance_matrix() {
    let shape = Shape { architecture: "llama", layers: 8, columns: 256, kv_heads: 8, tied: false };
    let parts = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    let names = (0..shape.layers).flat_map(|layer| parts.map(|part| format!("blk.{layer}.{part}.weight")));
    let squares = |seed: u64| noise(seed, 256).into_iter().map(|number| number * number).collect();
    let importance: Importance = names.zip(100..).map(|(name, seed)| (name, squares(seed))).collect();
    let compared = compare_with(&shape, Some(&importance));
    assert!(compared > 30, "only {compared} file types were compared");
}

#[test]
fn every_file_type_is_llama_cpps_for_models_with_few_and_many_key_heads() {
    let shape = Shape { architecture: "llama", layers: 24, columns: 256, kv_heads: 8, tied: false };
    compare(&shape);
    compare(&Shape { kv_heads: 2, ..shape });
}

#[test]
fn every_file_type_is_llama_cpps_for_tied_models_and_for_rows_that_blocks_do_not_fill() {
    let shape = Shape { architecture: "llama", layers: 9, columns: 288, kv_heads: 4, tied: true };
    compare(&shape);
    compare(&Shape { tied: false, ..shape });
    compare(&Shape { columns: 40, ..shape });
}

#[test]
fn every_file_type_is_llama_cpps_for_models_of_seventy_billion_parameters() {
    let shape = Shape { architecture: "llama", layers: 80, columns: 256, kv_heads: 1, tied: false };
    compare(&shape);
}

#[test]
fn chosen_types_win_over_the_rules_and_threads_change_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let [base, one, two] = ["base", "one", "two"].map(|name| folder.path().join(name));
    Shape { architecture: "llama", layers: 3, columns: 256, kv_heads: 4, tied: false }.write(&base);
    let kind = |name| TensorType::from_name(name).unwrap();
    let overrides = [
        (Regex::new("attn_v").unwrap(), kind("Q8_0")),
        (Regex::new(r"^blk\.1\.").unwrap(), kind("Q6_K")),
        (Regex::new("norm").unwrap(), kind("Q8_0")),
    ];
    let file_type = FileType::from_name("Q4_K_M").unwrap();
    let target = Target { file_type, overrides: &overrides, importance: None };
    assert!(ours(&base, &one, &target, 1));
    assert!(ours(&base, &two, &target, 2));
    assert_eq!(fs_err::read(&one).unwrap(), fs_err::read(&two).unwrap());
    let header = Header::read(&one).unwrap();
    for (name, expected) in [
        ("blk.1.attn_v.weight", "Q8_0"),
        ("blk.1.ffn_up.weight", "Q6_K"),
        ("blk.0.ffn_up.weight", "Q4_K"),
        ("blk.1.attn_norm.weight", "F32"),
        ("output.weight", "Q6_K"),
    ] {
        assert_eq!(header.tensor(name).unwrap().tensor_type, kind(expected), "{name}");
    }
}

#[test]
fn mixtures_of_experts_are_left_to_llama_cpp() {
    let shape = Shape { architecture: "llama", layers: 2, columns: 256, kv_heads: 4, tied: false };
    let mut metadata = shape.metadata();
    let file_type = FileType::from_name("Q4_K_M").unwrap();
    assert!(Rules::new(file_type, &metadata, &[], false).is_some());
    metadata.push(("llama.expert_count".into(), Value::U32(8)));
    assert!(Rules::new(file_type, &metadata, &[], false).is_none());
}

#[test]
fn a_type_that_needs_an_importance_matrix_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let [base, output] = ["base", "output"].map(|name| folder.path().join(name));
    Shape { architecture: "llama", layers: 2, columns: 256, kv_heads: 4, tied: false }.write(&base);
    let how = &mut Merge { adapter: None, float: FileType::F16, threads: 1, earlier: None, progress: &mut |_, _| true };
    let overrides = [(Regex::new("ffn_up").unwrap(), TensorType::from_name("IQ2_XS").unwrap())];
    let target = Target { file_type: FileType::from_name("Q4_K_M").unwrap(), overrides: &overrides, importance: None };
    let error = merge_quantised(&GgufSource::open(&base).unwrap(), &output, how, &target).unwrap_err();
    assert_eq!(error.to_string(), "tensor `blk.0.ffn_up.weight` is stored as IQ2_XS only with an importance matrix");
    assert!(!output.exists());
}

fn sized(source: &GgufSource, threads: usize, sizing: &Sizing<'_>) -> Result<Chosen, ConvertError> {
    let how = &mut Merge { adapter: None, float: FileType::F16, threads, earlier: None, progress: &mut |_, _| true };
    types_for_size(source, how, sizing)
}

#[test]
fn a_size_is_met_by_choosing_types_and_what_is_chosen_by_hand_stays() {
    let folder = tempfile::tempdir().unwrap();
    let [base, output] = ["base", "output"].map(|name| folder.path().join(name));
    tiny::Variant::LLAMA.write(&base, 5, TensorType::F16).unwrap();
    let source = GgufSource::open(&base).unwrap();
    let overrides = [(Regex::new("attn_v").unwrap(), TensorType::Q8_0)];
    let importance = Importance::from([("blk.0.ffn_up.weight".to_owned(), vec![1.0; 256])]);
    for bits in [3.5, 6.0] {
        let sizing = Sizing { bits, overrides: &overrides, importance: Some(&importance) };
        let chosen = sized(&source, 1, &sizing).unwrap();
        assert_eq!(chosen.counts, sized(&source, 2, &sizing).unwrap().counts, "threads change nothing");
        let target =
            Target { file_type: chosen.file_type, overrides: &chosen.overrides, importance: Some(&importance) };
        assert!(ours(&base, &output, &target, 1));
        let header = Header::read(&output).unwrap();
        let found = fs_err::metadata(&output).unwrap().len() as f64 * 8.0 / header.parameters() as f64;
        assert!(found <= bits && found > bits * 0.99, "{bits}: {found}");
        assert_eq!(header.tensor("blk.1.attn_v.weight").unwrap().tensor_type, TensorType::Q8_0);
        assert_eq!(header.tensors.len(), chosen.counts.iter().map(|(_, tensors)| tensors).sum::<usize>());
    }
    let size = |bits| sized(&source, 1, &Sizing { bits, overrides: &[], importance: None });
    assert_eq!(size(1.0).unwrap_err().to_string(), "no file of this model has 1 bits a weight, within 1 %");
    assert!(size(20.0).is_err());
}

#[test]
fn bytes_go_to_tensors_that_lose_most_and_importance_says_what_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    let mut tensors = tiny::tensors(5);
    // Zeros are stored as well in few bits as in many.
    let easy = tensors.iter_mut().find(|tensor| tensor.name == "blk.0.ffn_up.weight").unwrap();
    easy.numbers.fill(0.0);
    tiny::write(&base, &tensors, TensorType::F16).unwrap();
    let source = GgufSource::open(&base).unwrap();
    let bytes = |name: &str, importance: Option<&Importance>| {
        let chosen = sized(&source, 1, &Sizing { bits: 4.5, overrides: &[], importance }).unwrap();
        let (_, kind) = chosen.overrides.iter().find(|(pattern, _)| pattern.is_match(name)).unwrap();
        kind.bytes(256).unwrap()
    };
    let (easy, small, table) = ("blk.0.ffn_up.weight", "blk.0.attn_v.weight", "token_embd.weight");
    assert_eq!(bytes(easy, None), 84, "Q2_K");
    assert!(bytes(small, None) > bytes(easy, None));
    assert!(bytes(small, None) >= bytes(table, None), "small matrices are cheap to store well");
    // A matrix that is multiplied with zeros loses nothing, however few bits it has.
    let unused = Importance::from([(small.to_owned(), vec![0.0; 256])]);
    assert_eq!(bytes(small, Some(&unused)), 84, "Q2_K");
}
