//! How byte-level tokenizers split text before merging, by the names that a GGUF has for it.

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior::Isolated;

use super::super::{ModelError, Result};
use super::Tokenizer;

/// Values of `tokenizer.ggml.pre` that are known.
pub(super) const NAMES: [&str; 6] = ["smollm", "llama-bpe", "qwen2", "tekken", "gpt-2", "default"];
/// The same, for messages.
pub(super) const KNOWN: &str = "smollm, llama-bpe, qwen2, tekken, gpt-2, default";

/// Llama 3's split (`tokenizer.json` of Meta's models; llama.cpp's `llama-bpe`).
const LLAMA_3_SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2's split: single digits.
const QWEN_2_SPLIT: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// What llama.cpp does for `tekken`: Mistral's own split, with capitals and small letters told apart in ASCII alone.
const TEKKEN_SPLIT: &str = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// What llama.cpp does for `default`: four splits, one after the other.
const DEFAULT_SPLITS: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
];

/// Returns the GGUF's name of how a tokenizer splits text before merging.
///
/// It is found by comparing definitions: a wrong name would silently cost quality.
///
/// # Errors
/// [`ModelError::UnnamedSplit`] for a split that has no name here.
#[cfg(feature = "llama")]
pub(in crate::model) fn split_name(tokenizer: &Tokenizer) -> Result<&'static str> {
    let definition = |split: &PreTokenizerWrapper| {
        let mut value = serde_json::to_value(split).unwrap_or_default();
        without_offsets(&mut value);
        value
    };
    let found = tokenizer.pre_tokenizer().map(definition);
    for name in NAMES {
        if Some(definition(&pre_tokenizer(name)?.0)) == found {
            return Ok(name);
        }
    }
    Err(ModelError::UnnamedSplit { known: KNOWN })
}

/// Drops what says how offsets are reported: it changes no token.
#[cfg(feature = "llama")]
fn without_offsets(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.remove("trim_offsets");
            fields.values_mut().for_each(without_offsets);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_offsets),
        _ => {}
    }
}

/// Returns how text is split, and whether a whole word that is a token skips the merges.
pub(super) fn pre_tokenizer(pre: &str) -> Result<(PreTokenizerWrapper, bool)> {
    let bytes = |split: bool| PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, split));
    let split = |pattern: &str| -> Result<PreTokenizerWrapper> {
        let split = Split::new(SplitPattern::Regex(pattern.to_owned()), Isolated, false);
        Ok(PreTokenizerWrapper::Split(split.map_err(ModelError::Tokenizer)?))
    };
    let sequence = |parts| PreTokenizerWrapper::Sequence(Sequence::new(parts));
    match pre {
        "gpt-2" => Ok((bytes(true), false)),
        "smollm" => Ok((sequence(vec![PreTokenizerWrapper::Digits(Digits::new(true)), bytes(true)]), false)),
        "llama-bpe" => Ok((sequence(vec![split(LLAMA_3_SPLIT)?, bytes(false)]), true)),
        "tekken" => Ok((sequence(vec![split(TEKKEN_SPLIT)?, bytes(false)]), true)),
        "qwen2" => Ok((sequence(vec![split(QWEN_2_SPLIT)?, bytes(false)]), false)),
        "default" => {
            let mut parts = DEFAULT_SPLITS.into_iter().map(split).collect::<Result<Vec<_>>>()?;
            parts.push(bytes(false));
            Ok((sequence(parts), false))
        }
        other => Err(Tokenizer::unknown(other)),
    }
}
