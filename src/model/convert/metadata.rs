//! What a GGUF says of a model, from the folder's JSON files.
//!
//! Keys and values are those of llama.cpp's `convert_hf_to_gguf.py` (`conversion/base.py` and the architectures' own
//! files); [`super::general`] says what is left out.

use serde::Deserialize;

use super::ConvertError;
use super::general::sampling;
use super::vocabulary::vocabulary;
use crate::model::config::{Architecture, ModelConfig, RopeScaling};
use crate::model::gguf::Value;
use crate::model::weights::Folder;
use crate::model::{ModelError, Result};

/// The parts of `config.json` that [`ModelConfig`] does not keep as they are written.
#[derive(Deserialize)]
struct ConfigJson {
    max_position_embeddings: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
}

/// Returns the metadata of the GGUF to be, but for how its numbers are stored.
pub(super) fn metadata(
    folder: &Folder,
    config: &ModelConfig,
) -> std::result::Result<Vec<(String, Value)>, ConvertError> {
    let architecture = config.architecture.gguf_name();
    let mut metadata = vec![text("general.architecture", architecture), text("general.type", "model")];
    metadata.extend(sampling(folder)?);
    metadata.extend(shape(folder, config)?);
    metadata.extend(vocabulary(folder, config)?);
    match folder.template_source() {
        Ok(source) => metadata.push(text("tokenizer.chat_template", &source)),
        Err(ModelError::NoTemplate) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(metadata)
}

pub(super) fn text(key: &str, value: &str) -> (String, Value) {
    (key.into(), Value::String(value.into()))
}

pub(super) fn number(key: &str, value: usize) -> (String, Value) {
    (key.into(), Value::U32(u32::try_from(value).unwrap_or(u32::MAX)))
}

fn shape(folder: &Folder, config: &ModelConfig) -> Result<Vec<(String, Value)>> {
    let json: ConfigJson = folder.json("config.json")?;
    let (base, scaling) = folder.rope()?;
    let key = |end: &str| format!("{}.{end}", config.architecture.gguf_name());
    let mut keys = vec![
        number(&key("block_count"), config.layers),
        number(&key("context_length"), json.max_position_embeddings),
        number(&key("embedding_length"), config.hidden),
        number(&key("feed_forward_length"), config.intermediate),
        number(&key("attention.head_count"), config.heads),
    ];
    keys.extend(json.num_key_value_heads.map(|heads| number(&key("attention.head_count_kv"), heads)));
    if let RopeScaling::Linear { factor } = scaling {
        keys.push(text(&key("rope.scaling.type"), "linear"));
        keys.push((key("rope.scaling.factor"), Value::F32(factor as f32)));
    }
    keys.push((key("rope.freq_base"), Value::F32(base as f32)));
    keys.push((key("attention.layer_norm_rms_epsilon"), Value::F32(config.rms_epsilon)));
    // Without the keys a reader takes an even share of the embedding.
    if json.head_dim.is_some() || config.head_dim * config.heads != config.hidden {
        keys.push(number(&key("attention.key_length"), config.head_dim));
        keys.push(number(&key("attention.value_length"), config.head_dim));
    }
    if config.architecture == Architecture::Llama {
        keys.push(number(&key("vocab_size"), config.vocabulary));
        keys.push(number(&key("rope.dimension_count"), config.head_dim));
    }
    Ok(keys)
}
