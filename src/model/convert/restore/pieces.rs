//! SentencePiece's `tokenizer.model`: pieces with scores and kinds, in protocol buffers' wire form
//! (`sentencepiece_model.proto`).

use serde_json::{Map, Value as Json, json};

use super::Keys;
use super::tokenizer::UNUSED;
use crate::model::Result;
use crate::model::convert::vocabulary::{ADDED_SCORE, CONTROL, UNKNOWN, USER_DEFINED};
use crate::model::gguf::Value;

/// One token of the file.
struct Token<'a> {
    text: &'a str,
    score: f32,
    kind: i32,
}

impl Token<'_> {
    /// Returns whether the converter took it from the tokenizer's settings, not from SentencePiece's file.
    fn is_added(&self) -> bool {
        matches!(self.kind, CONTROL | USER_DEFINED | UNKNOWN) && self.score.to_bits() == ADDED_SCORE.to_bits()
    }
}

fn tokens(keys: &Keys) -> Result<Vec<Token<'_>>> {
    let texts = keys.texts("tokenizer.ggml.tokens")?;
    let scores = keys.array("tokenizer.ggml.scores")?;
    let kinds = keys.array("tokenizer.ggml.token_type")?;
    // The vocabulary's reader has refused lists of other lengths.
    let tokens = texts.into_iter().zip(scores.iter().zip(kinds)).map(|(text, (score, kind))| Token {
        text,
        score: super::float(Some(score)).unwrap_or(0.0),
        kind: if let Value::I32(kind) = kind { *kind } else { UNUSED },
    });
    Ok(tokens.collect())
}

/// Returns what was added to SentencePiece's own pieces, as `tokenizer_config.json` lists it.
pub(super) fn added(keys: &Keys) -> Result<Map<String, Json>> {
    let tokens = tokens(keys)?;
    let added = tokens.iter().enumerate().filter(|(_, token)| token.is_added());
    let entry = |(id, token): (usize, &Token<'_>)| {
        let entry = json!({
            "content": token.text, "lstrip": false, "normalized": false, "rstrip": false, "single_word": false,
            "special": token.kind != USER_DEFINED,
        });
        (id.to_string(), entry)
    };
    Ok(added.map(entry).collect())
}

/// Returns `tokenizer.model`.
pub(super) fn model(keys: &Keys) -> Result<Vec<u8>> {
    let tokens = tokens(keys)?;
    let is_own = |token: &Token<'_>| token.kind != UNUSED && !token.is_added();
    let count = tokens.iter().rposition(is_own).map_or(0, |last| last + 1);
    let unknown = keys.special("unknown").unwrap_or(0);
    let mut file = Vec::new();
    for (token, id) in tokens[..count].iter().zip(0..) {
        let kind = if id == unknown { UNKNOWN } else { token.kind };
        let mut piece = Vec::new();
        bytes(&mut piece, 1, token.text.as_bytes());
        piece.push(2 << 3 | 5);
        piece.extend(token.score.to_le_bytes());
        number(&mut piece, 3, kind as u64);
        bytes(&mut file, 1, &piece);
    }
    let id = |name: &str| keys.special(name).filter(|id| *id < count as u64).map_or(-1_i64 as u64, |id| id);
    let mut trainer = Vec::new();
    // Pairs are merged by their scores.
    for (field, value) in [(3, 2), (4, count as u64), (35, 1), (40, unknown), (41, id("bos")), (42, id("eos"))] {
        number(&mut trainer, field, value);
    }
    number(&mut trainer, 43, id("padding"));
    bytes(&mut file, 2, &trainer);
    let mut normalizer = Vec::new();
    bytes(&mut normalizer, 1, b"identity");
    let adds_space = keys.flag("tokenizer.ggml.add_space_prefix") != Some(false);
    for (field, flag) in [(3, adds_space), (4, false), (5, true)] {
        number(&mut normalizer, field, u64::from(flag));
    }
    bytes(&mut file, 3, &normalizer);
    Ok(file)
}

/// Writes a field that is a number.
fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

/// Writes a field that has bytes.
fn bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
