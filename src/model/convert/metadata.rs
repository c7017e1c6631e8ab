//! What a GGUF says of a Llama model, from the folder's JSON files.
//!
//! Keys, their order and their values are those of llama.cpp's `convert_hf_to_gguf.py` (`conversion/llama.py` and
//! `conversion/base.py`); `general.name` and what is written from a model card are left out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::ConvertError;
use crate::model::config::{LlamaConfig, RopeScaling};
use crate::model::gguf::Value;
use crate::model::tokenizer::split_name;
use crate::model::weights::Folder;
use crate::model::{ModelError, Result};

/// Kinds of token in a GGUF.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// A vocabulary of this size belongs to models that were trained without a beginning-of-text token, whatever their
/// tokenizer says.
const VOCABULARY_WITHOUT_BOS: usize = 49_152;

/// Names of special tokens: in the folder's files, and in a GGUF (whose spelling of "separator" is its own).
const SPECIAL: &[(&str, &str)] = &[
    ("bos", "bos"),
    ("eos", "eos"),
    ("unk", "unknown"),
    ("sep", "seperator"),
    ("pad", "padding"),
    ("cls", "cls"),
    ("mask", "mask"),
];

/// The parts of `config.json` that [`LlamaConfig`] does not keep as they are written.
#[derive(Deserialize)]
struct ConfigJson {
    max_position_embeddings: usize,
    head_dim: Option<usize>,
}

/// The parts of `tokenizer.json` that a GGUF has.
#[derive(Deserialize)]
struct TokenizerJson {
    model: BpeJson,
    #[serde(default)]
    added_tokens: Vec<AddedJson>,
    post_processor: Option<Json>,
}

#[derive(Deserialize)]
struct BpeJson {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: BTreeMap<String, usize>,
    merges: Vec<MergeJson>,
    #[serde(default)]
    byte_fallback: bool,
}

/// A pair, in the old form as a text and in the new one as two.
#[derive(Deserialize)]
#[serde(untagged)]
enum MergeJson {
    Text(String),
    Pair(String, String),
}

#[derive(Deserialize)]
struct AddedJson {
    id: usize,
    content: String,
    #[serde(default)]
    special: bool,
}

impl MergeJson {
    /// Returns the pair as a GGUF has it; a space inside a part is written as byte-level BPE writes it.
    fn written(&self) -> String {
        match self {
            Self::Text(pair) => pair.clone(),
            Self::Pair(left, right) => format!("{} {}", left.replace(' ', "Ġ"), right.replace(' ', "Ġ")),
        }
    }
}

impl TokenizerJson {
    /// Returns whether the post-processor puts `token` before a text.
    fn begins_with(&self, token: &str) -> bool {
        let Some(processor) = &self.post_processor else { return false };
        let parts = processor.get("processors").and_then(Json::as_array);
        let parts = parts.map_or(std::slice::from_ref(processor), Vec::as_slice);
        parts.iter().any(|part| part.pointer("/single/0/SpecialToken/id").and_then(Json::as_str) == Some(token))
    }
}

/// Returns the metadata of the GGUF to be, but for how its numbers are stored.
pub(super) fn metadata(
    folder: &Folder,
    config: &LlamaConfig,
) -> std::result::Result<Vec<(String, Value)>, ConvertError> {
    let mut metadata = vec![text("general.architecture", "llama"), text("general.type", "model")];
    metadata.extend(shape(folder, config)?);
    metadata.extend(tokenizer(folder, config)?);
    match folder.template_source() {
        Ok(source) => metadata.push(text("tokenizer.chat_template", &source)),
        Err(ModelError::NoTemplate) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(metadata)
}

fn text(key: &str, value: &str) -> (String, Value) {
    (key.into(), Value::String(value.into()))
}

fn number(key: &str, value: usize) -> (String, Value) {
    (key.into(), Value::U32(u32::try_from(value).unwrap_or(u32::MAX)))
}

fn shape(folder: &Folder, config: &LlamaConfig) -> Result<Vec<(String, Value)>> {
    let json: ConfigJson = folder.json("config.json")?;
    let (base, scaling) = folder.rope()?;
    let mut keys = vec![
        number("llama.block_count", config.layers),
        number("llama.context_length", json.max_position_embeddings),
        number("llama.embedding_length", config.hidden),
        number("llama.feed_forward_length", config.intermediate),
        number("llama.attention.head_count", config.heads),
        number("llama.attention.head_count_kv", config.kv_heads),
    ];
    if let RopeScaling::Linear { factor } = scaling {
        keys.push(text("llama.rope.scaling.type", "linear"));
        keys.push(("llama.rope.scaling.factor".into(), Value::F32(factor as f32)));
    }
    keys.push(("llama.rope.freq_base".into(), Value::F32(base as f32)));
    keys.push(("llama.attention.layer_norm_rms_epsilon".into(), Value::F32(config.rms_epsilon)));
    if json.head_dim.is_some() {
        keys.push(number("llama.attention.key_length", config.head_dim));
        keys.push(number("llama.attention.value_length", config.head_dim));
    }
    keys.push(number("llama.vocab_size", config.vocabulary));
    keys.push(number("llama.rope.dimension_count", config.head_dim));
    Ok(keys)
}

fn tokenizer(folder: &Folder, config: &LlamaConfig) -> Result<Vec<(String, Value)>> {
    let json: TokenizerJson = folder.json("tokenizer.json")?;
    let kind = json.model.kind.as_deref().unwrap_or("BPE");
    if kind != "BPE" || json.model.byte_fallback {
        let what = if kind == "BPE" { "a SentencePiece tokenizer" } else { "a tokenizer that is no byte-level BPE" };
        return Err(ModelError::Unsupported { what: what.into() });
    }
    let (tokens, types) = vocabulary(&json, config.vocabulary)?;
    let merges = json.model.merges.iter().map(MergeJson::written);
    let mut keys =
        vec![text("tokenizer.ggml.model", "gpt2"), text("tokenizer.ggml.pre", split_name(&folder.tokenizer()?)?)];
    keys.push(("tokenizer.ggml.tokens".into(), Value::strings(tokens)));
    keys.push(("tokenizer.ggml.token_type".into(), Value::integers(types)));
    keys.push(("tokenizer.ggml.merges".into(), Value::strings(merges)));
    keys.extend(special_tokens(folder, &json, config)?);
    Ok(keys)
}

/// Returns the ids of the special tokens, and which of them are put around a text.
fn special_tokens(folder: &Folder, json: &TokenizerJson, config: &LlamaConfig) -> Result<Vec<(String, Value)>> {
    let mut keys = Vec::new();
    let declared: Json = folder.json("config.json")?;
    for (name, key) in SPECIAL {
        let content = folder.special_token(&format!("{name}_token"))?;
        let added = json.added_tokens.iter().find(|token| Some(&token.content) == content.as_ref());
        let declared = || declared.get(format!("{name}_token_id"))?.as_u64();
        if let Some(id) = added.map(|token| token.id).or_else(|| declared().map(|id| id as usize)) {
            keys.push(number(&format!("tokenizer.ggml.{key}_token_id"), id));
        }
    }
    let settings: Json = folder.json("tokenizer_config.json")?;
    let is_added = |key: &str| settings.get(key).and_then(Json::as_bool);
    let bos = folder.special_token("bos_token")?;
    let begins = || json.begins_with(bos.as_deref()?).then_some(true);
    let bos = if config.vocabulary == VOCABULARY_WITHOUT_BOS {
        Some(false)
    } else {
        is_added("add_bos_token").or_else(begins)
    };
    keys.extend(bos.map(|adds| ("tokenizer.ggml.add_bos_token".into(), Value::Bool(adds))));
    keys.extend(is_added("add_eos_token").map(|adds| ("tokenizer.ggml.add_eos_token".into(), Value::Bool(adds))));
    Ok(keys)
}

/// Returns the token of each id, and what each is; ids without a token are named and unused.
fn vocabulary(json: &TokenizerJson, size: usize) -> Result<(Vec<String>, Vec<i32>)> {
    let mut tokens: Vec<String> = (0..size).map(|id| format!("[PAD{id}]")).collect();
    let mut types = vec![UNUSED; size];
    let learnt = json.model.vocab.iter().map(|(token, id)| (*id, token, NORMAL));
    let added = json.added_tokens.iter().map(|token| {
        let looks_special = token.content.starts_with("<|") && token.content.ends_with("|>");
        (token.id, &token.content, if token.special || looks_special { CONTROL } else { USER_DEFINED })
    });
    for (id, token, kind) in learnt.chain(added) {
        if id >= size {
            let what = format!("a tokenizer with the id {id} for a vocabulary of {size} tokens");
            return Err(ModelError::Unsupported { what });
        }
        tokens[id].clone_from(token);
        types[id] = kind;
    }
    Ok((tokens, types))
}
