//! The tokenizer's files: `tokenizer.json` of byte-level merges, or SentencePiece's `tokenizer.model`; and its settings.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{Keys, pieces};
use crate::model::convert::special::{ALWAYS, NAMES};
use crate::model::gguf::Value;
use crate::model::weights::Base;
use crate::model::{ModelError, Result};

/// Kinds of token in a GGUF that are told of here.
pub(super) const UNUSED: i32 = 5;

/// Returns `tokenizer_config.json`.
pub(super) fn settings(keys: &Keys) -> Result<Map<String, Json>> {
    let tokens = keys.texts("tokenizer.ggml.tokens")?;
    let mut object = Map::new();
    let mut put = |key: &str, value: Json| object.insert(key.to_owned(), value);
    let is_pieces = keys.0.text("tokenizer.ggml.model") == Some("llama");
    put("tokenizer_class", if is_pieces { "LlamaTokenizer" } else { "PreTrainedTokenizerFast" }.into());
    put("clean_up_tokenization_spaces", false.into());
    if let Some(context) = keys.own("context_length").and_then(Value::as_u64) {
        put("model_max_length", context.into());
    }
    for (name, key) in &NAMES[..ALWAYS] {
        let token = keys.special(key).and_then(|id| tokens.get(usize::try_from(id).ok()?));
        if let Some(token) = token {
            put(&format!("{name}_token"), (*token).into());
        }
    }
    for name in ["bos", "eos", "sep"] {
        if let Some(adds) = keys.flag(&format!("tokenizer.ggml.add_{name}_token")) {
            put(&format!("add_{name}_token"), adds.into());
        }
    }
    if let Some(adds) = keys.flag("tokenizer.ggml.add_space_prefix") {
        put("add_prefix_space", adds.into());
    }
    if is_pieces {
        // Without it transformers puts no space behind special tokens, as llama.cpp does.
        put("legacy", true.into());
        put("added_tokens_decoder", Json::Object(pieces::added(keys)?));
    }
    if let Some(template) = keys.0.text("tokenizer.chat_template") {
        put("chat_template", template.into());
    }
    Ok(object)
}

/// Returns the tokenizer itself.
pub(super) fn files(keys: &Keys, base: &Base) -> Result<BTreeMap<String, Vec<u8>>> {
    let file = if keys.0.text("tokenizer.ggml.model") == Some("llama") {
        ("tokenizer.model".to_owned(), pieces::model(keys)?)
    } else {
        ("tokenizer.json".to_owned(), byte_level(keys, base)?.into_bytes())
    };
    Ok(BTreeMap::from([file]))
}

/// Returns `tokenizer.json`: the tokenizer that is trained with, and what it puts around a text.
fn byte_level(keys: &Keys, base: &Base) -> Result<String> {
    let unreadable = |what: &str| ModelError::Tokenizer(what.into());
    let text = base.tokenizer()?.json()?.ok_or_else(|| unreadable("it has no form in JSON"))?;
    let mut json: Json = serde_json::from_str(&text).map_err(|cause| ModelError::Tokenizer(cause.into()))?;
    let tokens = keys.texts("tokenizer.ggml.tokens")?;
    let types = keys.array("tokenizer.ggml.token_type")?;
    if let Some(vocabulary) = json.pointer_mut("/model/vocab").and_then(Json::as_object_mut) {
        // What only fills the table up is no token.
        for (token, kind) in tokens.iter().zip(types) {
            if *kind == Value::I32(UNUSED) {
                vocabulary.remove(*token);
            }
        }
    }
    json["post_processor"] = around(keys, &tokens);
    Ok(format!("{json:#}\n"))
}

/// Returns what stands around a text: the tokens of its two ends, where the file says that they are added.
fn around(keys: &Keys, tokens: &[&str]) -> Json {
    let end = |name: &str| {
        let id = keys.special(name).filter(|_| keys.flag(&format!("tokenizer.ggml.add_{name}_token")) == Some(true))?;
        let token = tokens.get(usize::try_from(id).ok()?)?;
        Some((*token, id))
    };
    let (begin, end) = (end("bos"), end("eos"));
    if begin.is_none() && end.is_none() {
        return Json::Null;
    }
    let special = |(token, _): (&str, u64), part: u8| json!({"SpecialToken": {"id": token, "type_id": part}});
    let sequence = |name: &str, part: u8| {
        let text = json!({"Sequence": {"id": name, "type_id": part}});
        begin.map(|begin| special(begin, part)).into_iter().chain([text]).chain(end.map(|end| special(end, part)))
    };
    let all = begin.into_iter().chain(end);
    let named = all.map(|(token, id)| (token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]})));
    json!({
        "type": "TemplateProcessing",
        "single": sequence("A", 0).collect::<Vec<_>>(),
        "pair": sequence("A", 0).chain(sequence("B", 1)).collect::<Vec<_>>(),
        "special_tokens": named.collect::<Map<_, _>>(),
    })
}
