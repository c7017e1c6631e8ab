//! What transformers needs beside the weights of a model that there is only as a GGUF: `config.json`,
//! `generation_config.json` and the tokenizer's files, from the metadata.
//!
//! It is [`metadata`](super::metadata) turned round: a folder with these files becomes a GGUF with the same keys again. What
//! no file of transformers expresses is refused by name.

mod config;
mod pieces;
mod rope;
#[cfg(test)]
mod tests;
mod tokenizer;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value as Json};

use super::{ConvertError, GgufSource, Source as _};
use crate::model::gguf::{Header, Value};
use crate::model::weights::{Base, Float, WeightFiles};
use crate::model::{ModelError, Result};

/// Returns the files by name, for weights that are stored as `float`.
///
/// # Errors
/// A GGUF of another architecture, or with parts that transformers' files do not express.
pub fn restored_files(path: &Path, float: Float) -> std::result::Result<BTreeMap<String, Vec<u8>>, ConvertError> {
    let base = Base::open(&WeightFiles::Gguf(path.to_owned()))?;
    let keys = Keys(Header::read(path)?);
    let factors = rope_factors(path)?;
    let mut files = BTreeMap::new();
    let mut put = |name: &str, object: Map<String, Json>| {
        files.insert(name.to_owned(), format!("{:#}\n", Json::Object(object)).into_bytes());
    };
    put("config.json", config::config(&keys, base.config(), float, factors.as_deref())?);
    put("generation_config.json", config::generation(&keys));
    put("tokenizer_config.json", tokenizer::settings(&keys)?);
    files.extend(tokenizer::files(&keys, &base)?);
    Ok(files)
}

/// Returns by what Llama 3 divides its rotary frequencies, where the file says so.
fn rope_factors(path: &Path) -> std::result::Result<Option<Vec<f32>>, ConvertError> {
    let source = GgufSource::open(path)?;
    let Some(index) = source.tensors().iter().position(|tensor| tensor.name == "rope_freqs.weight") else {
        return Ok(None);
    };
    let mut factors = vec![0.0; source.tensors()[index].columns() as usize];
    source.rows(index, 0, &mut factors)?;
    Ok(Some(factors))
}

/// A file's metadata.
struct Keys(Header);

impl Keys {
    fn architecture(&self) -> &str {
        self.0.text("general.architecture").unwrap_or_default()
    }

    /// Returns a key of the architecture.
    fn own(&self, end: &str) -> Option<&Value> {
        self.0.get(&format!("{}.{end}", self.architecture()))
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key).and_then(Value::as_u64)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        match self.0.get(key) {
            Some(Value::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// Returns the id of a special token, such as `bos`.
    fn special(&self, name: &str) -> Option<u64> {
        self.number(&format!("tokenizer.ggml.{name}_token_id"))
    }

    fn array(&self, key: &'static str) -> Result<&[Value]> {
        self.0.get(key).and_then(Value::as_array).ok_or_else(|| ModelError::MissingKey { key: key.into() })
    }

    fn texts(&self, key: &'static str) -> Result<Vec<&str>> {
        Ok(self.array(key)?.iter().map(|item| item.as_str().unwrap_or_default()).collect())
    }
}

/// Returns the number that is written shortest among those that are this one in 32 bits.
fn shortest(number: f32) -> Json {
    number.to_string().parse::<f64>().map_or(Json::Null, Json::from)
}

/// Returns a float of the metadata.
fn float(value: Option<&Value>) -> Option<f32> {
    match value {
        Some(Value::F32(number)) => Some(*number),
        Some(Value::F64(number)) => Some(*number as f32),
        _ => None,
    }
}
