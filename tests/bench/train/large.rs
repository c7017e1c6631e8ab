//! A model of Llama 3.1 8B's shape with random weights, in the types that llama.cpp's `Q4_K_M` has.

use std::path::Path;

use tunesmith::model::gguf::{PlannedTensor, TensorType, Value, Writer};

/// Its blocks.
pub(super) const LAYERS: u64 = 32;
const HIDDEN: u64 = 4_096;
const INTERMEDIATE: u64 = 14_336;
const KEYS: u64 = 1_024;
const VOCABULARY: u64 = 128_256;

/// The types by ggml's numbers.
const F32: u32 = 0;
const Q4_K: u32 = 12;
const Q6_K: u32 = 14;

/// Writes the file, of so many blocks: all are 4.6 GiB.
pub(super) fn write(path: &Path, layers: u64) {
    let number = |number: u64| Value::U32(number as u32);
    let metadata = [
        ("general.architecture", Value::String("llama".into())),
        ("llama.block_count", number(layers)),
        ("llama.context_length", number(131_072)),
        ("llama.embedding_length", number(HIDDEN)),
        ("llama.feed_forward_length", number(INTERMEDIATE)),
        ("llama.attention.head_count", number(32)),
        ("llama.attention.head_count_kv", number(8)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.freq_base", Value::F32(500_000.0)),
    ];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
    let tensors = tensors(layers);
    let mut writer = Writer::create(path, &metadata, tensors.clone()).unwrap();
    for (seed, tensor) in (1..).zip(&tensors) {
        let numbers: u64 = tensor.dimensions.iter().product();
        let mut left = tensor.tensor_type.bytes(numbers).unwrap() as usize;
        let part = part(tensor.tensor_type, seed);
        while left > 0 {
            writer.write(&part[..left.min(part.len())]).unwrap();
            left -= left.min(part.len());
        }
    }
    writer.finish().unwrap();
}

fn tensors(layers: u64) -> Vec<PlannedTensor> {
    let tensor = |name: String, dimensions: &[u64], id: u32| PlannedTensor {
        name,
        dimensions: dimensions.to_vec(),
        tensor_type: TensorType::from_id(id).unwrap(),
    };
    let mut tensors = vec![
        tensor("token_embd.weight".into(), &[HIDDEN, VOCABULARY], Q4_K),
        tensor("output_norm.weight".into(), &[HIDDEN], F32),
        tensor("output.weight".into(), &[HIDDEN, VOCABULARY], Q6_K),
    ];
    for layer in 0..layers {
        // `Q4_K_M` gives six bits to values and the way down of half of the layers.
        let finer = if layer % 2 == 0 { Q6_K } else { Q4_K };
        let matrices = [
            ("attn_q", HIDDEN, HIDDEN, Q4_K),
            ("attn_k", HIDDEN, KEYS, Q4_K),
            ("attn_v", HIDDEN, KEYS, finer),
            ("attn_output", HIDDEN, HIDDEN, Q4_K),
            ("ffn_gate", HIDDEN, INTERMEDIATE, Q4_K),
            ("ffn_up", HIDDEN, INTERMEDIATE, Q4_K),
            ("ffn_down", INTERMEDIATE, HIDDEN, finer),
        ];
        for (name, inputs, outputs, id) in matrices {
            tensors.push(tensor(format!("blk.{layer}.{name}.weight"), &[inputs, outputs], id));
        }
        for name in ["attn_norm", "ffn_norm"] {
            tensors.push(tensor(format!("blk.{layer}.{name}.weight"), &[HIDDEN], F32));
        }
    }
    tensors
}

/// Returns about a megabyte of whole blocks of a type: random numbers of sane sizes. Were all blocks the same, all features
/// would be, and gradients cancel to numbers so small that a processor computes with them many times as slowly.
fn part(tensor_type: TensorType, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    // Halves: 2^-14 for the scales of Q4_K and 7.5 times that for its minima, so that their mean is 0; 2^-15 for those of Q6_K.
    let mut block = || -> Vec<u8> {
        match tensor_type.id() {
            F32 => 1.0_f32.to_le_bytes().into(),
            Q4_K => [0x00, 0x04, 0x80, 0x0f].into_iter().chain((4..144).map(|_| byte())).collect(),
            _ => (0..208).map(|_| byte()).chain([0x00, 0x02]).collect(),
        }
    };
    (0..1 << 12).flat_map(|_| block()).collect()
}
