//! What a base model is: checked before anything is trained on it, and told in fields.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};

use super::error::ModelError;
use crate::model::gguf::{FileType, Header};

/// A header of safetensors is JSON of this many bytes at most; the format's own limit.
const LARGEST_HEADER: u64 = 100_000_000;

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
    let mut tensors = Tensors::default();
    for (name, path) in files.iter().filter(|(name, _)| name.ends_with(".safetensors")) {
        tensors.add(base, name, path)?;
    }
    if tensors.parameters == 0 {
        return Err(ModelError::IncompleteFolder { base: base.into(), file: "*.safetensors" });
    }
    let architecture = config["model_type"].as_str().unwrap_or("unknown");
    let context = config["max_position_embeddings"].as_u64().unwrap_or(0);
    let size = files.values().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum();
    let mut facts = Facts {
        fields: fields(architecture, tensors.parameters, &tensors.number, context, size),
        warnings: Vec::new(),
    };
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

#[derive(Default)]
struct Tensors {
    parameters: u64,
    /// The type of the largest tensor's numbers.
    number: String,
    largest: u64,
}

impl Tensors {
    /// Reads one file's header: eight bytes of length, then JSON.
    fn add(&mut self, base: &str, name: &str, path: &Path) -> Result<(), ModelError> {
        let bad = |what: String| ModelError::BadSafetensors { base: base.into(), file: name.into(), what };
        let mut file = fs_err::File::open(path)?;
        let size = file.metadata()?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| bad("it is shorter than its header".into()))?;
        let length = u64::from_le_bytes(length);
        if length > LARGEST_HEADER.min(size.saturating_sub(8)) {
            return Err(bad(format!("its header claims {length} bytes")));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header)?;
        let header: BTreeMap<String, Value> =
            serde_json::from_slice(&header).map_err(|error| bad(error.to_string()))?;
        for (tensor, info) in header.iter().filter(|(tensor, _)| *tensor != "__metadata__") {
            let end = info["data_offsets"][1].as_u64().ok_or_else(|| bad(format!("tensor `{tensor}` has no place")))?;
            if end > size - 8 - length {
                return Err(bad(format!("tensor `{tensor}` lies outside the file")));
            }
            let shape = info["shape"].as_array().map(Vec::as_slice).unwrap_or_default();
            let elements = shape.iter().filter_map(Value::as_u64).fold(1, u64::saturating_mul);
            self.parameters = self.parameters.saturating_add(elements);
            if elements > self.largest {
                self.largest = elements;
                info["dtype"].as_str().unwrap_or("unknown").clone_into(&mut self.number);
            }
        }
        Ok(())
    }
}
