//! A random adapter in PEFT's form for a model of any size.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

/// The rank of each pair of matrices.
const RANK: usize = 16;

/// Writes an adapter on every projection of the model in `base`, with numbers in both of its matrices, and returns its files.
pub(crate) fn write(base: &Path, folder: &Path) -> BTreeMap<String, PathBuf> {
    let config: Value = serde_json::from_slice(&fs_err::read(base.join("config.json")).unwrap()).unwrap();
    let number = |key: &str| config[key].as_u64().map(|number| number as usize);
    let (hidden, inner) = (number("hidden_size").unwrap(), number("intermediate_size").unwrap());
    let heads = number("num_attention_heads").unwrap();
    let head = number("head_dim").unwrap_or(hidden / heads);
    let (queries, keys) = (heads * head, number("num_key_value_heads").unwrap_or(heads) * head);
    let parts = [
        ("self_attn.q_proj", hidden, queries),
        ("self_attn.k_proj", hidden, keys),
        ("self_attn.v_proj", hidden, keys),
        ("self_attn.o_proj", queries, hidden),
        ("mlp.gate_proj", hidden, inner),
        ("mlp.up_proj", hidden, inner),
        ("mlp.down_proj", inner, hidden),
    ];
    let mut tensors: Vec<(String, [usize; 2], Vec<u8>)> = Vec::new();
    let mut state = 1;
    for layer in 0..number("num_hidden_layers").unwrap() {
        for (part, inputs, outputs) in parts {
            let name = |matrix: &str| format!("base_model.model.model.layers.{layer}.{part}.{matrix}.weight");
            tensors.push((name("lora_A"), [RANK, inputs], noise(&mut state, RANK * inputs)));
            tensors.push((name("lora_B"), [outputs, RANK], noise(&mut state, outputs * RANK)));
        }
    }
    fs_err::create_dir_all(folder).unwrap();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
    let bytes = safetensors::serialize(views, None).unwrap();
    let targets: Vec<&str> = parts.iter().filter_map(|(part, ..)| part.split_once('.')).map(|(_, part)| part).collect();
    let settings = json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": RANK, "lora_alpha": RANK,
        "target_modules": targets, "inference_mode": true,
    });
    let files = [("adapter_config.json", settings.to_string().into_bytes()), ("adapter_model.safetensors", bytes)];
    let write = |(name, bytes): (&str, Vec<u8>)| {
        fs_err::write(folder.join(name), bytes).unwrap();
        (name.to_owned(), folder.join(name))
    };
    files.map(write).into()
}

/// Returns numbers in -0.02..0.02 as bytes (xorshift).
fn noise(state: &mut u64, count: usize) -> Vec<u8> {
    let mut next = || {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        ((*state >> 40) as f32 / 8_388_608.0 - 1.0) * 0.02
    };
    (0..count).flat_map(|_| next().to_le_bytes()).collect()
}
