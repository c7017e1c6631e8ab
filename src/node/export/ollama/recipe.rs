//! What a model on the server is made of: files by their SHA-256, template, system prompt, parameters. Its digest names
//! the immutable tag, so two recipes never share one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::error::OllamaError;
use super::settings::Settings;
use crate::model::gguf::Header;
use crate::node::export::sha256;
use crate::node::{NodeError, Run};
use crate::store::{Artifact, hexadecimal};

/// Digits of the digest in a tag: 48 bits.
const DIGITS: usize = 12;

/// A file for the server.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its name there.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// In lower-case hexadecimal.
    pub(super) sha256: String,
}

impl Part {
    /// Returns the digest as servers write it.
    pub(super) fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }
}

/// What a model is made of.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) models: Vec<Part>,
    pub(super) adapters: Vec<Part>,
    pub(super) base: Option<String>,
    pub(super) template: Option<String>,
    pub(super) system: String,
    /// With `stop`.
    pub(super) parameters: BTreeMap<String, Value>,
}

impl Recipe {
    /// Reads the recipe from a run's inputs and settings.
    pub(super) fn of(run: &Run<'_>, settings: &Settings) -> Result<Self, NodeError> {
        let mut recipe = Self::files(run, settings)?;
        if let [model] = recipe.models.as_slice() {
            let (template, stops) = template(run, &model.path.clone(), settings)?;
            recipe.template = settings.template.clone().or(template);
            if !stops.is_empty() {
                recipe.parameters.insert("stop".into(), json!(stops));
            }
        }
        Ok(recipe)
    }

    /// Returns the recipe without what the model's own template says.
    pub(super) fn files(run: &Run<'_>, settings: &Settings) -> Result<Self, NodeError> {
        let (mut models, mut adapters) = (Vec::new(), Vec::new());
        for input in run.inputs() {
            let Artifact::File(file) = &input.artifact else {
                return Err(run.bad_job(format!("input `{}` is no file", input.node)));
            };
            let path = run.store.path(file)?;
            let is_adapter = Header::read(&path)?.text("general.type") == Some("adapter");
            let (parts, name) = if is_adapter { (&mut adapters, "adapter") } else { (&mut models, "model") };
            let name = if parts.is_empty() { format!("{name}.gguf") } else { format!("{name}-{}.gguf", parts.len()) };
            parts.push(Part { name, path, sha256: sha256(run, file)? });
        }
        let fits = match &settings.base {
            None => models.len() == 1,
            Some(_) => models.is_empty() && adapters.len() == 1,
        };
        if !fits {
            return Err(OllamaError::Inputs { models: models.len(), adapters: adapters.len() }.into());
        }
        let (base, template, system) = (settings.base.clone(), settings.template.clone(), settings.system.clone());
        Ok(Self { models, adapters, base, template, system, parameters: settings.parameters.clone() })
    }

    /// Returns what the server is told, without a name.
    pub(super) fn body(&self) -> Value {
        let files = |parts: &[Part]| -> Map<String, Value> {
            parts.iter().map(|part| (part.name.clone(), json!(part.digest()))).collect()
        };
        let mut body = Map::new();
        let mut put = |key: &str, value: Value, is_there: bool| {
            if is_there {
                body.insert(key.to_owned(), value);
            }
        };
        put("files", files(&self.models).into(), !self.models.is_empty());
        put("adapters", files(&self.adapters).into(), !self.adapters.is_empty());
        put("from", json!(self.base), self.base.is_some());
        put("template", json!(self.template), self.template.is_some());
        put("system", json!(self.system), !self.system.is_empty());
        put("parameters", json!(self.parameters), !self.parameters.is_empty());
        body.into()
    }

    /// Returns the digits that name the recipe.
    pub(super) fn digits(&self) -> String {
        // Keys are sorted, so the text is one for one recipe.
        let text = self.body().to_string();
        hexadecimal(&Sha256::digest(text.as_bytes()))[..DIGITS].to_owned()
    }

    /// Returns all files.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.models.iter().chain(&self.adapters)
    }
}

/// Returns the Go template and the stops of a model.
#[cfg(feature = "train")]
fn template(
    run: &Run<'_>,
    path: &std::path::Path,
    settings: &Settings,
) -> Result<(Option<String>, Vec<String>), NodeError> {
    let served = crate::node::export::modelfile::Served::of(path, &settings.parameters)?;
    if served.template.is_none() && settings.template.is_none() {
        run.warn(crate::node::export::modelfile::NO_TEMPLATE);
    }
    Ok((served.template, served.stops))
}

#[cfg(not(feature = "train"))]
fn template(_: &Run<'_>, _: &std::path::Path, _: &Settings) -> Result<(Option<String>, Vec<String>), NodeError> {
    Err(crate::node::export::NoModelHalf { wanted: "ollama" }.into())
}
