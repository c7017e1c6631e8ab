//! What a base model is: checked before anything is trained on it, and told in fields.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::error::ModelError;
use crate::model::gguf::{FileType, Header};
use crate::model::safetensors::read_header;

/// What is known of a base model: fields for `{model.field}`, and remarks for people.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// The fields.
    pub fields: BTreeMap<String, Value>,
    /// What is odd about it.
    pub warnings: Vec<String>,
}

/// Reads the header of a GGUF.
///
/// # Errors
/// When it is no GGUF, not whole, or no language model.
pub(super) fn gguf(base: &str, path: &Path) -> Result<Facts, ModelError> {
    let bad = |cause| ModelError::BadGguf { base: base.into(), cause };
    let header = Header::read(path).map_err(bad)?;
    let found = header.text("general.type").unwrap_or("model");
    if found != "model" {
        return Err(ModelError::NotAModel { base: base.into(), found: found.into() });
    }
    let architecture = header.need_text("general.architecture").map_err(bad)?;
    header.need_text("tokenizer.ggml.model").map_err(bad)?;
    let context = header.need_number(&format!("{architecture}.context_length")).map_err(bad)?;
    let quantization = header
        .get("general.file_type")
        .and_then(crate::model::gguf::Value::as_u64)
        .and_then(|id| FileType::from_id(id as u32))
        .map_or("unknown", FileType::name);
    let mut facts = Facts {
        fields: fields(architecture, header.parameters(), quantization, context, header.file_size),
        warnings: Vec::new(),
    };
    if header.text("tokenizer.chat_template").is_none() {
        facts
            .warnings
            .push(format!("the base model `{base}` has no chat template: it was not made to hold conversations"));
    }
    Ok(facts)
}

/// Reads the headers of a folder's files; `file` gives each by its name.
///
/// # Errors
/// When a file that a model needs is not there or cannot be read.
pub(super) fn folder(base: &str, files: &BTreeMap<String, &Path>) -> Result<Facts, ModelError> {
    let json_of = |file: &'static str| -> Result<Value, ModelError> {
        let path = files.get(file).ok_or_else(|| ModelError::IncompleteFolder { base: base.into(), file })?;
        serde_json::from_slice(&fs_err::read(path)?).map_err(|cause| ModelError::BadJson {
            base: base.into(),
            file: file.into(),
            cause,
        })
    };
    let config = json_of("config.json")?;
    json_of("tokenizer.json")?;
    let (parameters, number) = tensors(base, files)?;
    if parameters == 0 {
        return Err(ModelError::IncompleteFolder { base: base.into(), file: "*.safetensors" });
    }
    let architecture = config["model_type"].as_str().unwrap_or("unknown");
    let context = config["max_position_embeddings"].as_u64().unwrap_or(0);
    let size = files.values().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum();
    let mut facts = Facts { fields: fields(architecture, parameters, &number, context, size), warnings: Vec::new() };
    if !files.contains_key("tokenizer_config.json") {
        facts
            .warnings
            .push(format!("the base model `{base}` has no `tokenizer_config.json`: its chat template is not known"));
    }
    Ok(facts)
}

fn fields(architecture: &str, parameters: u64, quantization: &str, context: u64, size: u64) -> BTreeMap<String, Value> {
    [
        ("architecture", json!(architecture)),
        ("parameters", json!(parameters)),
        ("quantization", json!(quantization)),
        ("context-length", json!(context)),
        ("size", json!(size)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Counts the elements of a folder's tensors, and returns in what numbers the largest is stored.
fn tensors(base: &str, files: &BTreeMap<String, &Path>) -> Result<(u64, String), ModelError> {
    let (mut parameters, mut largest) = (0_u64, (0, "unknown".to_owned()));
    for path in files.iter().filter(|(name, _)| name.ends_with(".safetensors")).map(|(_, path)| path) {
        let header = read_header(path).map_err(|cause| ModelError::BadSafetensors { base: base.into(), cause })?;
        for info in header.into_values() {
            parameters = parameters.saturating_add(info.elements());
            if info.elements() > largest.0 {
                largest = (info.elements(), info.dtype);
            }
        }
    }
    Ok((parameters, largest.1))
}
