//! The run of `export.modelfile`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Settings;
use super::error::ModelfileError;
use super::go::Turns;
use crate::model::ModelError;
use crate::model::gguf::Header;
use crate::model::template::ChatTemplate;
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::{Base, WeightFiles};
use crate::node::{NodeError, Outcome, Run};
use crate::store::Artifact;

/// Writes the Modelfile for the GGUF that `from` names.
pub(super) fn modelfile(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let inputs: Vec<_> = run.inputs().collect();
    let one = match inputs[..] {
        [input] => match &input.artifact {
            Artifact::File(file) => Some(file),
            _ => None,
        },
        _ => None,
    };
    let file = one.ok_or(ModelfileError::OneGguf { count: inputs.len() })?;
    let path = run.store.path(file)?;
    let base = Base::open(&WeightFiles::Gguf(path.clone()))?;
    let template = match base.template() {
        Ok(template) => Some(template),
        Err(ModelError::NoTemplate) => None,
        Err(error) => return Err(error.into()),
    };
    let mut text = format!("FROM ./{}\n", settings.gguf);
    let turns = template.as_ref().and_then(Turns::of);
    let go = turns.as_ref().and_then(|turns| go(turns.clone(), &Header::read(&path).ok()?));
    if let Some(go) = &go {
        writeln!(text, "TEMPLATE {}", quoted("the template", go)?).ok();
    } else {
        run.warn(
            "the chat template is more than turns in a row: Ollama will use the one in the GGUF, or its own guess",
        );
    }
    if !settings.system.is_empty() {
        writeln!(text, "SYSTEM {}", quoted("the system prompt", &settings.system)?).ok();
    }
    let stops = stops(template.as_ref(), turns.as_ref(), &base.tokenizer()?, &settings.parameters);
    for stop in &stops {
        writeln!(text, "PARAMETER stop {}", quoted("a stop text", stop)?).ok();
    }
    for (name, value) in settings.parameters.iter().filter(|(name, _)| *name != "stop") {
        writeln!(text, "PARAMETER {name} {value}").ok();
    }
    let file = run.store.put_file_bytes(text.as_bytes())?;
    Ok(Outcome {
        outputs: BTreeMap::from([("modelfile".to_owned(), Artifact::File(file))]),
        fields: BTreeMap::from([("stops".to_owned(), json!(stops))]),
        report: Vec::new(),
    })
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

/// Quotes a text as Ollama's parser reads it: three quotes around it, or none for one line that needs no quotes.
fn quoted(what: &str, text: &str) -> Result<String, ModelfileError> {
    let refuse = |why| Err(ModelfileError::Unquotable { what: what.into(), why });
    if text.contains("\"\"\"") {
        return refuse("it holds three quotes in a row");
    }
    if !text.starts_with('"') && !text.ends_with('"') {
        return Ok(format!("\"\"\"{text}\"\"\""));
    }
    let plain = !text.starts_with('"') && !text.contains(['\n', '\r']) && text.trim() == text;
    if plain { Ok(text.to_owned()) } else { refuse("it begins or ends with a quote") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_what_they_can_and_refuse_the_rest() {
        let quote = |text: &str| quoted("it", text).map_err(|error| error.to_string());
        assert_eq!(quote("You are\n\"kind\" ").unwrap(), "\"\"\"You are\n\"kind\" \"\"\"");
        assert_eq!(quote("say \"hi\"").unwrap(), "say \"hi\"");
        assert!(quote("\"hi\"").unwrap_err().contains("begins or ends with a quote"));
        assert!(quote("a \"\"\" b").unwrap_err().contains("three quotes"));
    }
}
