//! Base models as folders and as GGUFs, whole and damaged.

#[cfg(feature = "llama")]
mod architectures;
mod damaged;
#[cfg(feature = "llama")]
mod quantised;

use std::path::Path;

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-llama").join(name)
}

/// Returns the random model of `tests/fixtures/tiny-llama`.
pub(in crate::model) fn tiny_base() -> Base {
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"];
    let files = names.iter().map(|name| ((*name).to_owned(), fixture(name))).collect();
    Base::open(&WeightFiles::Folder(files)).unwrap()
}

#[test]
fn the_folder_of_transformers_5_opens_with_its_rope_parameters() {
    let base = tiny_base();
    let config = base.config();
    assert_eq!((config.hidden, config.heads, config.kv_heads, config.head_dim), (32, 4, 2, 8));
    assert!(config.tied);
    // The lowest frequency, 10000^(-6/8), is divided by Llama 3's factor of 8.
    assert!((config.rope_frequencies[3] - 0.001 / 8.0).abs() < 1e-12);
    assert_eq!(base.vector("model.norm.weight", 32).unwrap().len(), 32);
}

#[test]
fn a_tensor_of_another_shape_is_refused_with_both_shapes() {
    let error = tiny_base().vector("model.norm.weight", 31).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor `model.norm.weight` has the shape [32], the model's hyperparameters say [31]"
    );
}

#[test]
fn a_header_that_points_out_of_its_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let header = br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(&[0; 4]);
    fs_err::write(&path, &bytes).unwrap();
    let files = WeightFiles::Folder([("model.safetensors".to_owned(), path)].into());
    let error = Base::open(&files).unwrap_err();
    assert!(matches!(error, ModelError::Safetensors(_)) && error.to_string().contains("`a`"), "{error}");
}

#[test]
fn a_quantised_matrix_gives_the_same_numbers_by_tiles_and_at_once() {
    use candle_core::quantized::{GgmlDType, QTensor};
    let numbers: Vec<f32> = (0..300 * 32).map(|index| (index % 97) as f32 / 7.0 - 5.0).collect();
    let tensor = candle_core::Tensor::from_vec(numbers, (300, 32), &candle_core::Device::Cpu).unwrap();
    let quantised = QTensor::quantize(&tensor, GgmlDType::Q4_1).unwrap();
    let bytes = quantised.data().unwrap();
    let matrix = |storage| Matrix::from_bytes([300, 32], GgmlDType::Q4_1, &bytes, storage).unwrap();
    let (dense, stored) = (matrix(Storage::Dense), matrix(Storage::AsStored));
    assert_eq!(dense.row(299), stored.row(299));
    assert_eq!(dense.into_dense(), stored.into_dense());
}

/// Writes the random model as llama.cpp's converter would: `Q8_0` where rows fill whole blocks, heads interleaved.
pub(in crate::model) fn tiny_gguf(folder: &Path) -> WeightFiles {
    use crate::model::gguf::{PlannedTensor, TensorType, Value, Writer};
    use candle_core::quantized::{GgmlDType, QTensor};
    let base = tiny_base();
    let config = base.config().clone();
    let json = fs_err::read_to_string(fixture("tokenizer.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let mut tokens: Vec<(u64, String)> = json["model"]["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(token, id)| (id.as_u64().unwrap(), token.clone()))
        .collect();
    tokens.sort_unstable();
    let types = tokens.iter().map(|(_, token)| if token.starts_with("<|") { 3 } else { 1 });
    let merges = json["model"]["merges"].as_array().unwrap().iter();
    let merges = merges.map(|pair| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    let number = |number: usize| Value::U32(number as u32);
    let metadata = [
        ("general.architecture", Value::String("llama".into())),
        ("llama.block_count", number(config.layers)),
        ("llama.context_length", number(config.context)),
        ("llama.embedding_length", number(config.hidden)),
        ("llama.feed_forward_length", number(config.intermediate)),
        ("llama.attention.head_count", number(config.heads)),
        ("llama.attention.head_count_kv", number(config.kv_heads)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(config.rms_epsilon)),
        ("llama.rope.freq_base", Value::F32(10_000.0)),
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.pre", Value::String("smollm".into())),
        ("tokenizer.ggml.token_type", Value::integers(types)),
        ("tokenizer.ggml.merges", Value::strings(merges)),
        ("tokenizer.ggml.eos_token_id", number(2)),
        ("tokenizer.chat_template", Value::String(base.template().unwrap().source().into())),
        ("tokenizer.ggml.tokens", Value::strings(tokens.into_iter().map(|(_, token)| token))),
    ];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    let table = base.matrix("model.embed_tokens.weight", config.vocabulary, config.hidden, Storage::Dense).unwrap();
    tensors.push(("token_embd.weight".into(), vec![config.vocabulary, config.hidden], table.into_dense()));
    let norm = |name: &str| base.vector(name, config.hidden).unwrap();
    tensors.push(("output_norm.weight".into(), vec![config.hidden], norm("model.norm.weight")));
    // Llama 3's factors: what the converter writes instead of scaled frequencies.
    let plain =
        crate::model::config::rope_frequencies(config.head_dim, 10_000.0, crate::model::config::RopeScaling::None);
    let factors = plain.iter().zip(&config.rope_frequencies).map(|(plain, scaled)| (plain / scaled) as f32);
    tensors.push(("rope_freqs.weight".into(), vec![config.head_dim / 2], factors.collect()));
    for layer in 0..config.layers {
        for (ours, theirs) in [("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm")] {
            let numbers = norm(&format!("model.layers.{layer}.{ours}.weight"));
            tensors.push((format!("blk.{layer}.{theirs}.weight"), vec![config.hidden], numbers));
        }
        let names = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
        for (projection, theirs) in crate::model::lora::Projection::ALL.into_iter().zip(names) {
            let (inputs, outputs) = projection.shape(&config);
            let name = format!("model.layers.{layer}.{}.weight", projection.path());
            let mut numbers = base.matrix(&name, outputs, inputs, Storage::Dense).unwrap().into_dense();
            let heads = match theirs {
                "attn_q" => config.heads,
                "attn_k" => config.kv_heads,
                _ => 0,
            };
            if let Some(width) = outputs.checked_div(heads) {
                numbers = interleaved(&numbers, width, inputs);
            }
            tensors.push((format!("blk.{layer}.{theirs}.weight"), vec![outputs, inputs], numbers));
        }
    }
    let quantised = |shape: &[usize]| shape.len() == 2 && shape[1].is_multiple_of(32);
    let plan = tensors.iter().map(|(name, shape, _)| PlannedTensor {
        name: name.clone(),
        dimensions: shape.iter().rev().map(|size| *size as u64).collect(),
        tensor_type: if quantised(shape) { TensorType::from_id(8).unwrap() } else { TensorType::F32 },
    });
    let path = folder.join("tiny.gguf");
    let mut writer = Writer::create(&path, &metadata, plan.collect()).unwrap();
    for (_, shape, numbers) in &tensors {
        let tensor = candle_core::Tensor::from_slice(numbers, shape.as_slice(), &candle_core::Device::Cpu).unwrap();
        let dtype = if quantised(shape) { GgmlDType::Q8_0 } else { GgmlDType::F32 };
        writer.write(&QTensor::quantize(&tensor, dtype).unwrap().data().unwrap()).unwrap();
    }
    writer.finish().unwrap();
    WeightFiles::Gguf(path)
}

/// Puts a head's rows from half after half into pairs: `W.reshape(heads, 2, half, columns).swapaxes(1, 2)`.
fn interleaved(numbers: &[f32], head: usize, columns: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = numbers.chunks(columns).collect();
    rows.chunks(head)
        .flat_map(|head| (0..head.len()).flat_map(|row| head[row % 2 * head.len() / 2 + row / 2]))
        .copied()
        .collect()
}

#[test]
fn a_gguf_opens_to_the_same_model_tokenizer_and_template() {
    let folder = tempfile::tempdir().unwrap();
    let (gguf, plain) = (Base::open(&tiny_gguf(folder.path())).unwrap(), tiny_base());
    for (found, expected) in gguf.config().rope_frequencies.iter().zip(&plain.config().rope_frequencies) {
        assert!((found / expected - 1.0).abs() < 1e-7);
    }
    assert_eq!(
        ModelConfig { rope_frequencies: Vec::new(), ..gguf.config().clone() },
        ModelConfig { rope_frequencies: Vec::new(), ..plain.config().clone() }
    );
    let text = "<|im_start|>user\nWhich of 128 steps?\tΓειά!  👋 don't\r\n\n x=1_000;<|im_end|>\n";
    let ids = gguf.tokenizer().unwrap().encode(text).unwrap();
    assert_eq!(ids, plain.tokenizer().unwrap().encode(text).unwrap());
    assert_eq!(gguf.tokenizer().unwrap().decode(&ids).unwrap(), text);
    for name in ["model.layers.1.self_attn.q_proj.weight", "model.layers.0.self_attn.o_proj.weight"] {
        let numbers = |base: &Base| base.matrix(name, 32, 32, Storage::Dense).unwrap().into_dense();
        for (found, expected) in numbers(&gguf).iter().zip(numbers(&plain)) {
            assert!((found - expected).abs() < 0.01, "{found} is not {expected}");
        }
    }
}
