//! A folder's tokenizer as a GGUF has it: byte-level merges from `tokenizer.json`, or SentencePiece's pieces with their
//! scores from `tokenizer.model`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::metadata::text;
use super::pre_tokenizer;
use super::sentence_piece::{self, Kind};
use super::special::SpecialTokens;
use crate::model::config::{Architecture, ModelConfig};
use crate::model::gguf::Value;
use crate::model::weights::Folder;
use crate::model::{ModelError, Result};

/// Kinds of token in a GGUF.
const NORMAL: i32 = 1;
pub(super) const UNKNOWN: i32 = 2;
pub(super) const CONTROL: i32 = 3;
pub(super) const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// Scores of pieces that SentencePiece's own file does not have: absent ones, and those that were added.
const ABSENT_SCORE: f32 = -10_000.0;
pub(super) const ADDED_SCORE: f32 = -1_000.0;

/// A vocabulary of this size belongs to models that were trained without a beginning-of-text token, whatever their
/// tokenizer says.
const VOCABULARY_WITHOUT_BOS: usize = 49_152;

/// The parts of `tokenizer.json` that a GGUF has.
#[derive(Deserialize)]
struct TokenizerJson {
    model: BpeJson,
    #[serde(default)]
    added_tokens: Vec<AddedJson>,
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
    #[serde(default)]
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

impl AddedJson {
    /// Returns the token's kind and its text: spaces of one that stands for text are written as such.
    fn written(&self) -> (i32, String) {
        if self.special || looks_special(&self.content) {
            (CONTROL, self.content.clone())
        } else {
            (USER_DEFINED, self.content.replace('▁', " "))
        }
    }
}

/// Some publishers forget to mark what opens and closes a conversation's parts.
fn looks_special(token: &str) -> bool {
    let between = |open: &str, close: &str| token.starts_with(open) && token.ends_with(close);
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&token)
        || between("<|", "|>")
        || between("<｜", "｜>")
        || between("<unused", ">")
}

/// Returns all keys of the tokenizer but the chat template.
pub(super) fn vocabulary(folder: &Folder, config: &ModelConfig) -> Result<Vec<(String, Value)>> {
    let mut keys = if let Some(model) = folder.sentence_piece()? {
        sentence_pieces(folder, config, &model)?
    } else {
        byte_level(folder, config)?
    };
    if config.architecture == Architecture::Llama {
        let settings: Json = folder.json("tokenizer_config.json")?;
        if let Some(adds) = settings.get("add_prefix_space").and_then(Json::as_bool) {
            keys.push(("tokenizer.ggml.add_space_prefix".into(), Value::Bool(adds)));
        }
        if config.vocabulary == VOCABULARY_WITHOUT_BOS {
            keys.retain(|(key, _)| key != "tokenizer.ggml.add_bos_token");
            keys.push(("tokenizer.ggml.add_bos_token".into(), Value::Bool(false)));
        }
    }
    Ok(keys)
}

fn byte_level(folder: &Folder, config: &ModelConfig) -> Result<Vec<(String, Value)>> {
    let json: TokenizerJson = folder.json("tokenizer.json")?;
    let kind = json.model.kind.as_deref().unwrap_or("BPE");
    if kind != "BPE" || json.model.byte_fallback {
        let what = if kind == "BPE" {
            "a SentencePiece tokenizer without its scores, which `tokenizer.model` has"
        } else {
            "a tokenizer that is no byte-level BPE"
        };
        return Err(ModelError::Unsupported { what: what.into() });
    }
    let (tokens, types) = tokens(&json, config.vocabulary)?;
    let merges = json.model.merges.iter().map(MergeJson::written);
    let mut keys = vec![
        text("tokenizer.ggml.model", "gpt2"),
        text("tokenizer.ggml.pre", pre_tokenizer::name(&folder.tokenizer()?)?),
    ];
    keys.push(("tokenizer.ggml.tokens".into(), Value::strings(tokens)));
    keys.push(("tokenizer.ggml.token_type".into(), Value::integers(types)));
    keys.push(("tokenizer.ggml.merges".into(), Value::strings(merges)));
    keys.extend(SpecialTokens::of(folder)?.keys(usize::MAX));
    Ok(keys)
}

/// Returns the token of each id, and what each is; ids without a token are named and unused.
fn tokens(json: &TokenizerJson, size: usize) -> Result<(Vec<String>, Vec<i32>)> {
    let mut tokens: Vec<String> = (0..size).map(|id| format!("[PAD{id}]")).collect();
    let mut types = vec![UNUSED; size];
    let learnt = json.model.vocab.iter().map(|(token, id)| (*id, (NORMAL, token.clone())));
    let added = json.added_tokens.iter().map(|token| (token.id, token.written()));
    for (id, (kind, token)) in learnt.chain(added) {
        if id >= size {
            return Err(too_large(id, size));
        }
        tokens[id] = token;
        types[id] = kind;
    }
    Ok((tokens, types))
}

fn too_large(id: usize, size: usize) -> ModelError {
    ModelError::Unsupported { what: format!("a tokenizer with the id {id} for a vocabulary of {size} tokens") }
}

fn sentence_pieces(folder: &Folder, config: &ModelConfig, model: &[u8]) -> Result<Vec<(String, Value)>> {
    let pieces = sentence_piece::read(model)?;
    let size = config.vocabulary;
    if pieces.len() > size {
        return Err(too_large(pieces.len() - 1, size));
    }
    let mut tokens: Vec<String> = (0..size).map(|id| format!("[PAD{id}]")).collect();
    let mut scores = vec![ABSENT_SCORE; size];
    let mut types = vec![UNUSED; size];
    for (id, piece) in pieces.into_iter().enumerate() {
        types[id] = match piece.kind {
            // What the file calls user-defined is normal to the converter, unless it is told of again below.
            Kind::Normal | Kind::UserDefined => NORMAL,
            Kind::Unknown => UNKNOWN,
            Kind::Control => CONTROL,
            Kind::Unused => UNUSED,
            Kind::Byte => BYTE,
        };
        tokens[id] = piece.text;
        scores[id] = piece.score;
    }
    for (id, kind, token) in added_pieces(folder)? {
        // The converter leaves out what is beyond the vocabulary.
        if id < size {
            tokens[id] = token;
            types[id] = kind;
            scores[id] = ADDED_SCORE;
        }
    }
    let mut keys = vec![text("tokenizer.ggml.model", "llama"), text("tokenizer.ggml.pre", "default")];
    keys.push(("tokenizer.ggml.tokens".into(), Value::strings(tokens)));
    keys.push(("tokenizer.ggml.scores".into(), Value::floats(scores)));
    keys.push(("tokenizer.ggml.token_type".into(), Value::integers(types)));
    keys.extend(SpecialTokens::of(folder)?.keys(size));
    Ok(keys)
}

/// What of `tokenizer_config.json` is read here.
#[derive(Deserialize)]
struct SettingsJson {
    #[serde(default)]
    added_tokens_decoder: BTreeMap<String, AddedJson>,
}

/// Returns what was added to SentencePiece's own vocabulary: ids, kinds and texts.
fn added_pieces(folder: &Folder) -> Result<Vec<(usize, i32, String)>> {
    let mut added = Vec::new();
    if folder.has("added_tokens.json") {
        let listed: BTreeMap<String, usize> = folder.json("added_tokens.json")?;
        added.extend(listed.into_iter().map(|(token, id)| (id, USER_DEFINED, token)));
    }
    let settings: SettingsJson = folder.json("tokenizer_config.json")?;
    for (id, token) in settings.added_tokens_decoder {
        if let Ok(id) = id.parse() {
            let (kind, text) = token.written();
            added.push((id, kind, text));
        }
    }
    Ok(added)
}
