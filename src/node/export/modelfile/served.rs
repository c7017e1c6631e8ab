//! How Ollama is to serve a model: its chat template in Go, and what ends an answer.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::go::Turns;
use crate::model::ModelError;
use crate::model::gguf::Header;
use crate::model::template::ChatTemplate;
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::{Base, WeightFiles};

/// What a user is told where no Go template can be made.
pub(in crate::node::export) const NO_TEMPLATE: &str =
    "the chat template is more than turns in a row: Ollama will use the one in the GGUF, or its own guess";

/// How a model is served.
pub(in crate::node::export) struct Served {
    /// The Go template; nothing where the chat template is more than turns in a row.
    pub(in crate::node::export) template: Option<String>,
    /// The texts that end an answer.
    pub(in crate::node::export) stops: Vec<String>,
}

impl Served {
    /// Reads it from the model's GGUF; `parameters` may have more stops.
    pub(in crate::node::export) fn of(path: &Path, parameters: &BTreeMap<String, Value>) -> Result<Self, ModelError> {
        let base = Base::open(&WeightFiles::Gguf(path.to_owned()))?;
        let template = match base.template() {
            Ok(template) => Some(template),
            Err(ModelError::NoTemplate) => None,
            Err(error) => return Err(error),
        };
        let turns = template.as_ref().and_then(Turns::of);
        let go = turns.as_ref().and_then(|turns| go(turns.clone(), &Header::read(path).ok()?));
        let stops = stops(template.as_ref(), turns.as_ref(), &base.tokenizer()?, parameters);
        Ok(Self { template: go, stops })
    }
}

/// Returns the Go template, without the token that the runtime puts in front by itself.
fn go(turns: Turns, header: &Header) -> Option<String> {
    let added = match header.get("tokenizer.ggml.add_bos_token") {
        Some(crate::model::gguf::Value::Bool(added)) => *added,
        // What llama.cpp does where the file does not say: SentencePiece models and Llama 3 get one.
        _ => {
            header.text("tokenizer.ggml.model") == Some("llama")
                || header.text("tokenizer.ggml.pre") == Some("llama-bpe")
        }
    };
    let beginning = || {
        let id = header.get("tokenizer.ggml.bos_token_id")?.as_u64()?;
        header.get("tokenizer.ggml.tokens")?.as_array()?.get(id as usize)?.as_str()
    };
    match beginning().filter(|_| added) {
        Some(beginning) => turns.without_beginning(beginning).go(),
        None => turns.go(),
    }
}

/// Returns what ends an answer: the token after each of them, the model's end token, and what the user adds.
fn stops(
    template: Option<&ChatTemplate>,
    turns: Option<&Turns>,
    tokenizer: &Tokenizer,
    parameters: &BTreeMap<String, Value>,
) -> Vec<String> {
    let after = turns.map(|turns| turns.end.trim().to_owned());
    let end = template.and_then(|template| template.eos().map(str::to_owned));
    let own: Vec<String> = match parameters.get("stop") {
        Some(Value::Array(stops)) => stops.iter().filter_map(|stop| stop.as_str().map(str::to_owned)).collect(),
        Some(Value::String(stop)) => vec![stop.clone()],
        _ => Vec::new(),
    };
    let tokens = [after, end].into_iter().flatten().filter(|text| tokenizer.id(text).is_some());
    let mut stops: Vec<String> = Vec::new();
    for stop in tokens.chain(own) {
        if !stops.contains(&stop) {
            stops.push(stop);
        }
    }
    stops
}
