//! `config.json` and `generation_config.json`.

use serde_json::{Map, Value as Json, json};

use super::{Float, Keys, float, rope, shortest};
use crate::model::config::{Architecture, Biases, ModelConfig};
use crate::model::gguf::Value;
use crate::model::{ModelError, Result};

/// Returns the configuration that transformers reads.
pub(super) fn config(
    keys: &Keys,
    config: &ModelConfig,
    stored: Float,
    factors: Option<&[f32]>,
) -> Result<Map<String, Json>> {
    let number = |key: &str| keys.own(key).and_then(Value::as_u64);
    let window = number("attention.sliding_window").filter(|window| *window > 0);
    let (class, kind) = match config.architecture {
        // A GGUF has the same architecture for both; only Mistral has a window.
        Architecture::Llama if window.is_some() => ("MistralForCausalLM", "mistral"),
        Architecture::Llama => ("LlamaForCausalLM", "llama"),
        Architecture::Qwen2 => ("Qwen2ForCausalLM", "qwen2"),
        Architecture::Qwen3 => ("Qwen3ForCausalLM", "qwen3"),
    };
    let mut object = object(json!({
        "architectures": [class],
        "model_type": kind,
        "hidden_act": "silu",
        "hidden_size": config.hidden,
        "intermediate_size": config.intermediate,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "vocab_size": config.vocabulary,
        "max_position_embeddings": number("context_length").unwrap_or(config.context as u64),
        "rms_norm_eps": shortest(config.rms_epsilon),
        "rope_theta": shortest(float(keys.own("rope.freq_base")).unwrap_or(10_000.0)),
        "tie_word_embeddings": config.tied,
        "torch_dtype": stored.torch_name(),
        "use_cache": true,
    }));
    let mut put = |key: &str, value: Json| object.insert(key.to_owned(), value);
    if number("attention.key_length").is_some() || config.architecture == Architecture::Qwen3 {
        put("head_dim", config.head_dim.into());
    }
    if let Some(scaling) = rope::scaling(keys, config, factors)? {
        put("rope_scaling", scaling);
    }
    match config.architecture {
        Architecture::Qwen2 | Architecture::Qwen3 => {
            put("use_sliding_window", window.is_some().into());
        }
        Architecture::Llama => {}
    }
    if let Some(window) = window {
        put("sliding_window", window.into());
    }
    for (key, value) in biases(config)? {
        put(key, value.into());
    }
    for (name, key) in [("bos", "bos_token_id"), ("eos", "eos_token_id"), ("padding", "pad_token_id")] {
        if let Some(id) = keys.special(name) {
            put(key, id.into());
        }
    }
    Ok(object)
}

/// Returns what says which biases there are.
fn biases(config: &ModelConfig) -> Result<Vec<(&'static str, bool)>> {
    let Biases { attention_inputs, attention_output, feed_forward } = config.biases;
    let refused =
        |what: &str| Err(ModelError::Unsupported { what: format!("{what}, which transformers does not have") });
    match config.architecture {
        Architecture::Llama if attention_inputs != attention_output => refused("biases in a part of its attention"),
        Architecture::Llama => Ok(vec![("attention_bias", attention_inputs), ("mlp_bias", feed_forward)]),
        _ if attention_output || feed_forward => refused("biases beside those of its queries, keys and values"),
        Architecture::Qwen3 if attention_inputs => refused("biases in its attention"),
        Architecture::Qwen3 => Ok(vec![("attention_bias", false)]),
        Architecture::Qwen2 => Ok(Vec::new()),
    }
}

/// Returns how text is generated: where it ends, and the publisher's sampling, where the file says so.
pub(super) fn generation(keys: &Keys) -> Map<String, Json> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Json| object.insert(key.to_owned(), value);
    for (name, key) in [("bos", "bos_token_id"), ("padding", "pad_token_id")] {
        if let Some(id) = keys.special(name) {
            put(key, id.into());
        }
    }
    let mut ends: Vec<u64> = ["eos", "eot", "eom"].into_iter().filter_map(|name| keys.special(name)).collect();
    ends.dedup();
    match ends[..] {
        [] => {}
        [end] => drop(put("eos_token_id", end.into())),
        _ => drop(put("eos_token_id", ends.into())),
    }
    let sampling = |end: &str| keys.0.get(&format!("general.sampling.{end}"));
    let mut is_sampled = false;
    for (end, key) in [("temp", "temperature"), ("top_p", "top_p"), ("min_p", "min_p")] {
        if let Some(number) = float(sampling(end)) {
            put(key, shortest(number));
            is_sampled = true;
        }
    }
    if let Some(count) = sampling("top_k").and_then(Value::as_u64) {
        put("top_k", count.into());
        is_sampled = true;
    }
    if is_sampled {
        put("do_sample", true.into());
    }
    object
}

/// Returns the fields of an object.
fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(fields) => fields,
        _ => Map::new(),
    }
}
