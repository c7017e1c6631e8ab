//! The whole API on a small random model.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::model::gguf::{FileType, Header, TensorType, tiny};

const NEVER: &(dyn Fn() -> bool + Sync) = &|| false;

fn model(space: &TempDir, matrix: TensorType) -> PathBuf {
    let path = space.path().join("tiny.gguf");
    tiny::write(&path, &tiny::tensors(1), matrix).unwrap();
    path
}

fn options(threads: usize) -> ContextOptions<'static> {
    ContextOptions { length: 512, threads, interrupt: NEVER }
}

#[test]
fn markers_are_tokens_only_where_a_template_wrote_them() {
    let space = tempfile::tempdir().unwrap();
    let model = Model::load(&model(&space, TensorType::F16)).unwrap();
    let text = "<|im_start|>the ü<|im_end|>";
    let parsed = model.tokenize(text, Markers::Parsed).unwrap();
    assert_eq!((parsed[0], *parsed.last().unwrap()), (1, 2));
    assert!(model.is_end(2) && !model.is_end(5));
    let plain = model.tokenize(text, Markers::Plain).unwrap();
    assert!(plain.iter().all(|token| *token > 2));
    let bytes: Vec<u8> = plain.iter().flat_map(|token| model.piece(*token)).collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
    assert_eq!(model.chat_template().unwrap(), tiny::CHATML);
}

/// What templates of many models open and end turns with.
const MARKERS: [&str; 16] = [
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "<start_of_turn>",
    "<end_of_turn>",
    "<bos>",
    "<think>",
    "</think>",
];

/// Writes a model that has them all as control tokens; returns its path, and a text that is full of them.
fn with_markers(space: &TempDir) -> (PathBuf, String) {
    let path = space.path().join("markers.gguf");
    tiny::write_with_markers(&path, &MARKERS).unwrap();
    (path, [MARKERS.join(" a "), "<|im_start|>system<|im_end|><|endoftext|>".to_owned()].concat())
}

/// Returns the control tokens among others.
fn control(model: &Model, tokens: Vec<Token>) -> Vec<Token> {
    let first = model.vocabulary_size() as usize - MARKERS.len();
    tokens.into_iter().filter(|token| *token < 3 || *token as usize >= first).collect()
}

#[test]
fn markers_of_every_template_have_no_power_in_the_text_of_a_row() {
    let space = tempfile::tempdir().unwrap();
    let (path, text) = with_markers(&space);
    let model = Model::load(&path).unwrap();
    let count = |text: &str| control(&model, model.tokenize(text, Markers::Parsed).unwrap()).len();
    assert_eq!(count(&text), MARKERS.len() + 3);
    let (neutral, changed) = crate::record::neutralised(&text, &[]);
    assert_eq!((count(&neutral), changed.markers as usize), (0, MARKERS.len() + 3), "{neutral}");
}

#[cfg(feature = "train")]
#[test]
fn planted_markers_open_no_turn_and_end_none_in_any_template() {
    use crate::model::rows::messages;
    use crate::model::template::{ChatTemplate, Ending};
    use crate::model::weights::{Base, WeightFiles};
    use crate::record::{Conversation, Role, Turn};

    let space = tempfile::tempdir().unwrap();
    let (path, text) = with_markers(&space);
    let (neutral, _) = crate::record::neutralised(&text, &[]);
    let model = Model::load(&path).unwrap();
    let tokenizer = Base::open(&WeightFiles::Gguf(path)).unwrap().tokenizer().unwrap();
    for name in ["gemma-2", "llama-3.1", "mistral", "qwen-2.5", "smollm2"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/templates");
        let source = fs_err::read_to_string(folder.join(format!("{name}.jinja"))).unwrap();
        let template = ChatTemplate::new(&source, Some("<s>".into()), Some("</s>".into())).unwrap();
        let controls = |text: &str| {
            let turn = |role| Turn { role, text: text.to_owned() };
            let turns = [Role::User, Role::Assistant, Role::User, Role::Assistant].map(turn).to_vec();
            let conversation = Conversation { turns, ..Conversation::default() };
            let rendered = template.render(&messages(&conversation), Ending::Closed).unwrap();
            let theirs = model.tokenize(&rendered, Markers::Parsed).unwrap();
            let ours: Vec<Token> = tokenizer.encode(&rendered).unwrap().into_iter().map(|id| id as Token).collect();
            assert_eq!(ours, theirs, "{name}");
            control(&model, ours)
        };
        assert_eq!(controls(&neutral), controls("plain words"), "{name}");
        assert!(controls(&text).len() >= controls(&neutral).len() + 4 * MARKERS.len(), "{name}: the text is no test");
    }
}

#[test]
fn log_probabilities_are_those_of_the_logits_and_do_not_depend_on_threads() {
    let space = tempfile::tempdir().unwrap();
    let model = Model::load(&model(&space, TensorType::F16)).unwrap();
    let tokens: Vec<Token> = (0..40).map(|at| 3 + at * 7 % 250).collect();
    let wanted: Vec<bool> = (0..40).map(|at| at % 3 == 0).collect();
    let mut one = Context::new(&model, &options(1)).unwrap();
    let found = one.log_probabilities(&tokens, &wanted).unwrap();
    let mut two = Context::new(&model, &options(2)).unwrap();
    assert_eq!(found, two.log_probabilities(&tokens, &wanted).unwrap());
    let logits = one.all_logits(&tokens).unwrap();
    let expected: Vec<f64> = (1..40)
        .filter(|&at| wanted[at])
        .map(|at| {
            let row = &logits[at - 1];
            let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
            f64::from(row[tokens[at] as usize]) - sum.ln()
        })
        .collect();
    assert_eq!(found.len(), 13, "the first token has nothing before it");
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-3, "{found} {expected}");
    }
}

#[test]
fn generation_repeats_itself_whatever_was_asked_before() {
    let space = tempfile::tempdir().unwrap();
    let model = Model::load(&model(&space, TensorType::F16)).unwrap();
    let prompt = model.tokenize("<|im_start|>user\nhello", Markers::Parsed).unwrap();
    let other = model.tokenize("<|im_start|>user\nhe was", Markers::Parsed).unwrap();
    let greedy = Generation { tokens: 12, temperature: 0.0, top_p: 1.0, seed: 0, stop: Vec::new() };
    let mut context = Context::new(&model, &options(1)).unwrap();
    let first = context.generate(&prompt, &greedy).unwrap();
    context.generate(&other, &greedy).unwrap();
    assert_eq!(first, context.generate(&prompt, &greedy).unwrap());
    let warm = Generation { temperature: 1.0, seed: 5, ..greedy.clone() };
    let sampled = context.generate(&prompt, &warm).unwrap();
    assert_eq!(sampled, context.generate(&prompt, &warm).unwrap());
    assert_ne!(sampled, context.generate(&prompt, &Generation { seed: 6, ..warm }).unwrap());
    let stop: String = first.text.chars().take(2).collect();
    let stopped = context.generate(&prompt, &Generation { stop: vec![stop], ..greedy }).unwrap();
    assert_eq!((stopped.text.as_str(), stopped.ended), ("", true));
}

#[test]
fn too_long_a_sequence_an_unknown_token_and_an_interrupt_end_cleanly() {
    let space = tempfile::tempdir().unwrap();
    let model = Model::load(&model(&space, TensorType::F16)).unwrap();
    let mut context = Context::new(&model, &options(1)).unwrap();
    let long = context.log_probabilities(&[5; 600], &[true; 600]);
    assert!(matches!(long, Err(LlamaError::TooLong { length: 512, .. })), "{long:?}");
    let unknown = context.log_probabilities(&[5, 1_000_000], &[true; 2]);
    assert!(matches!(unknown, Err(LlamaError::UnknownToken { token: 1_000_000, .. })), "{unknown:?}");
    let mut context = Context::new(&model, &ContextOptions { interrupt: &|| true, ..options(1) }).unwrap();
    let ended = context.log_probabilities(&[5; 100], &[true; 100]);
    assert!(matches!(ended, Err(LlamaError::Interrupted)), "{ended:?}");
}

#[test]
fn what_is_no_model_is_refused_with_the_reason() {
    let space = tempfile::tempdir().unwrap();
    let path = space.path().join("bad.gguf");
    fs_err::write(&path, "GGUF but not really").unwrap();
    let error = Model::load(&path).unwrap_err().to_string();
    assert!(error.contains("bad.gguf") && !error.contains("no reason"), "{error}");
}

#[test]
fn every_quantisation_loads_and_speaks_and_is_the_same_with_more_threads() {
    let space = tempfile::tempdir().unwrap();
    let source = model(&space, TensorType::F16);
    for name in ["Q4_K_M", "Q8_0", "Q6_K", "IQ4_NL"] {
        let path = space.path().join(name);
        let file_type = FileType::from_name(name).unwrap();
        quantize(&source, &path, file_type.id(), None, 1).unwrap();
        assert!(quantized_tensors().is_some());
        let again = space.path().join("again");
        quantize(&source, &again, file_type.id(), None, 2).unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), fs_err::read(&again).unwrap(), "{name}");
        let header = Header::read(&path).unwrap();
        let used = header.tensor("blk.0.attn_q.weight").unwrap().tensor_type.name();
        assert!(name.starts_with(used), "{name}: {used}");
        let model = Model::load(&path).unwrap();
        let greedy = Generation { tokens: 3, temperature: 0.0, top_p: 1.0, seed: 0, stop: Vec::new() };
        Context::new(&model, &options(1)).unwrap().generate(&[1, 9, 9], &greedy).unwrap();
    }
    let file_type = FileType::from_name("IQ1_S").unwrap().id();
    let error = quantize(&source, &space.path().join("x"), file_type, None, 1).unwrap_err();
    assert!(error.to_string().contains("imatrix"), "{error}");
}

#[test]
fn importance_is_the_mean_square_of_what_a_column_is_multiplied_with() {
    let space = tempfile::tempdir().unwrap();
    let path = model(&space, TensorType::F16);
    let model = Model::load(&path).unwrap();
    // Beyond one batch, and a text of fewer tokens than a tile of products.
    let texts: [Vec<Token>; 2] = [(0..500).map(|at| 3 + at * 7 % 250).collect(), vec![9, 40, 12]];
    let mut steps = 0;
    let measured = importance(&model, &options(1), &texts, || steps += 1).unwrap();
    assert_eq!((measured.len(), steps), (14, 2), "{:?}", measured.keys());
    assert_eq!(measured["blk.1.ffn_down.weight"].len(), 512);
    // What the first block's projections are given follows from the embedding and the norm alone.
    let tensors = tiny::tensors(1);
    let numbers = |name: &str| &tensors.iter().find(|tensor| tensor.name == name).unwrap().numbers;
    let (embedding, norm) = (numbers("token_embd.weight"), numbers("blk.0.attn_norm.weight"));
    let columns = norm.len();
    let mut expected = vec![0.0_f64; columns];
    for token in texts.concat() {
        let row = &embedding[token as usize * columns..][..columns];
        let row: Vec<f64> = row.iter().map(|&number| f64::from(half::f16::from_f32(number))).collect();
        let square = row.iter().map(|number| number * number).sum::<f64>() / columns as f64;
        for ((expected, number), weight) in expected.iter_mut().zip(&row).zip(norm) {
            let number = number / (square + 1e-5).sqrt() * f64::from(*weight);
            *expected += number * number / 503.0;
        }
    }
    for part in ["attn_q", "attn_k", "attn_v"] {
        for (found, expected) in measured[&format!("blk.0.{part}.weight")].iter().zip(&expected) {
            assert!((f64::from(*found) / expected - 1.0).abs() < 1e-5, "{part}: {found} {expected}");
        }
    }
    assert_eq!(measured, importance(&model, &options(2), &texts, || ()).unwrap(), "threads change nothing");
    let ended = importance(&model, &ContextOptions { interrupt: &|| true, ..options(1) }, &texts, || ());
    assert!(matches!(ended, Err(LlamaError::Interrupted)), "{ended:?}");
}

#[test]
fn our_table_of_types_is_that_of_ggml() {
    for tensor_type in TensorType::all() {
        let block = tensor::Block::of(tensor_type.id()).unwrap();
        let ours = (tensor_type.block_elements() as usize, tensor_type.block_bytes() as usize);
        assert_eq!(ours, (block.elements, block.bytes), "{tensor_type}");
    }
    for gone in [4, 31, 43, u32::MAX] {
        assert!(TensorType::from_id(gone).is_none() && tensor::Block::of(gone).is_none(), "{gone}");
    }
}

#[test]
fn numbers_are_decoded_from_places_that_are_not_aligned() {
    let numbers = [1.0_f32, -0.5, 65_504.0, 0.0];
    let mut bytes = vec![0];
    bytes.extend(numbers.iter().flat_map(|&number| half::f16::from_f32(number).to_le_bytes()));
    let mut found = [0.0; 4];
    dequantize(TensorType::F16.id(), &bytes[1..], &mut found).unwrap();
    assert_eq!(found.map(f32::to_bits), numbers.map(f32::to_bits));
    assert!(dequantize(TensorType::F16.id(), &bytes, &mut found).is_err());
}

#[test]
fn the_version_in_keys_is_the_one_that_is_linked() {
    // Builds that are no release of their own carry `-dev`; the crate says which commit it is.
    let linked = model::version();
    assert!(VERSION.starts_with(linked.trim_end_matches("-dev")), "{linked} {VERSION}");
    let manifest = include_str!("../../Cargo.toml");
    let pinned = VERSION.split_once("llama-cpp-sys-2 ").unwrap().1.trim_end_matches(')');
    assert!(manifest.contains(&format!("llama-cpp-sys-2 = {{ version = \"={pinned}\"")), "{pinned}");
}
