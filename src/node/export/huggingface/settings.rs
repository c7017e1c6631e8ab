//! The settings of `export.huggingface`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::net::Url;
use crate::node::SettingProblem;
use crate::node::export::files::path_problems;
use crate::node::settings::{accepted, canonical as checked, environment_name, literal_secret};

/// Settings of `export.huggingface`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Settings {
    /// The repository, such as `our-company/expert`. It is made where there is none.
    pub(super) repo: String,
    /// The branch. It is made where there is none.
    #[serde(default = "default_revision")]
    pub(super) revision: String,
    /// Whether only those may read the repository whom you let. One that is there is not changed: with `true`, nothing is
    /// sent to a public one. Without it, a new one is what your account makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) private: Option<bool>,
    /// Where the token is, as `env:NAME`. It is sent to the hub alone, and needs the right to write.
    #[serde(default = "default_token")]
    pub(super) token: String,
    /// The hub, such as `https://hub.example.org`; by default what `HF_ENDPOINT` says, or `https://huggingface.co`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<String>,
    /// Names in the repository by input, such as `{ gguf = "expert-Q4_K_M.gguf" }`: of a file its path, of a folder where its
    /// files lie. Without it a GGUF is `NODE.gguf`, and the files of a folder lie at the top.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) paths: BTreeMap<String, String>,
    /// The message of the commit.
    #[serde(default = "default_message")]
    pub(super) message: String,
}

fn default_revision() -> String {
    "main".into()
}

fn default_token() -> String {
    "env:HF_TOKEN".into()
}

fn default_message() -> String {
    "Deploy with tunesmith".into()
}

/// Returns the settings in canonical form, or everything that is wrong with them.
pub(super) fn canonical(settings: &Value) -> Result<Value, Vec<SettingProblem>> {
    let value = checked::<Settings>(settings)?;
    let settings: Settings = serde_json::from_value(value.clone()).map_err(|error| {
        vec![SettingProblem::new(&[], "settings::wrong_value", error.to_string(), "write its settings in another way")]
    })?;
    let mut problems = path_problems(&settings.paths);
    let mut wrong = |key: &str, message: String, help: &str| {
        problems.push(SettingProblem::new(&[key], "settings::wrong_value", message, help));
    };
    // A placeholder is another text when it runs.
    let is_open = |text: &str| text.contains('{');
    if !is_open(&settings.repo) && !is_repository(&settings.repo) {
        let help = "write it as `OWNER/NAME` of letters, digits, `-`, `_` and `.`, such as `our-company/expert`";
        wrong("repo", format!("`{}` can be no repository's name", settings.repo), help);
    }
    if !is_open(&settings.revision) && !is_branch(&settings.revision) {
        let help = "name a branch, such as `main`; a tag or a commit cannot be changed";
        wrong("revision", format!("`{}` can be no branch's name", settings.revision), help);
    }
    if settings.message.trim().is_empty() {
        wrong("message", "a commit needs a message".into(), "write one, such as `Deploy {gguf.quantization}`");
    }
    if let Some(endpoint) = &settings.endpoint
        && let Err(error) = Url::parse(endpoint)
    {
        wrong("endpoint", error.to_string(), "write it as `https://HOST`");
    }
    if environment_name(&settings.token).is_none() {
        problems.push(literal_secret("env:HF_TOKEN"));
    }
    accepted(value, problems)
}

/// Returns whether this is an owner and a name as the hub takes them.
pub(super) fn is_repository(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.len() <= 96
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && !part.starts_with(['-', '.'])
            && !part.ends_with(['-', '.'])
            && !part.contains("..")
            && !part.contains("--")
    };
    text.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name)) && !text.ends_with(".git")
}

/// Returns whether git takes this as a branch's name, and it is one: the hub's pull requests are `refs/pr/N`.
pub(super) fn is_branch(text: &str) -> bool {
    let is_commit = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    !text.is_empty()
        && !is_commit
        && !text.starts_with(['-', '/', '.'])
        && !text.starts_with("refs/")
        && !text.ends_with(['/', '.'])
        && !text.ends_with(".lock")
        && !text.contains("..")
        && !text.contains("//")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./+".contains(&byte))
}
