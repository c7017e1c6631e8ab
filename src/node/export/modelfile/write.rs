//! The run of `export.modelfile`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use super::Settings;
use super::error::ModelfileError;
use super::served::{NO_TEMPLATE, Served};
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
    let Served { template, stops } = Served::of(&path, &settings.parameters)?;
    let mut text = format!("FROM ./{}\n", settings.gguf);
    if let Some(template) = &template {
        writeln!(text, "TEMPLATE {}", quoted("the template", template)?).ok();
    } else {
        run.warn(NO_TEMPLATE);
    }
    if !settings.system.is_empty() {
        writeln!(text, "SYSTEM {}", quoted("the system prompt", &settings.system)?).ok();
    }
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
