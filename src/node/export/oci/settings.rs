//! The settings of `export.oci`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reference::Reference;
use crate::node::SettingProblem;
use crate::node::export::files::path_problems;
use crate::node::settings::{accepted, canonical as checked, environment_name};

/// Settings of `export.oci`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Settings {
    /// Registry, repository and the tag that users ask for, such as `ghcr.io/our-company/expert:8b`; without a tag `latest`
    /// is meant. It is moved to the immutable tag, which is this one with 12 digits of the artifact's digest.
    pub(super) reference: String,
    /// Who logs in, where the registry asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<String>,
    /// Where that one's password or token is, as `env:NAME`. It is sent to the registry, and to the server of tokens that
    /// the registry names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<String>,
    /// What kind of artifact it is, as a media type.
    #[serde(default = "default_artifact_type")]
    pub(super) artifact_type: String,
    /// Names of the files by input, such as `{ gguf = "expert-Q4_K_M.gguf" }`: of a file its path, of a folder where its
    /// files lie. Without it a GGUF is `NODE.gguf`, and the files of a folder keep their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) paths: BTreeMap<String, String>,
    /// Annotations of the manifest, such as `{ "org.opencontainers.image.licenses" = "Apache-2.0" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

fn default_artifact_type() -> String {
    "application/vnd.tunesmith.model.v1".into()
}

/// Returns the settings in canonical form, or everything that is wrong with them.
pub(super) fn canonical(settings: &Value) -> Result<Value, Vec<SettingProblem>> {
    let value = checked::<Settings>(settings)?;
    let settings: Settings = serde_json::from_value(value.clone()).map_err(|error| {
        vec![SettingProblem::new(&[], "settings::wrong_value", error.to_string(), "write its settings in another way")]
    })?;
    let mut problems = path_problems(&settings.paths);
    let mut wrong = |key: &str, code: &'static str, message: String, help: &str| {
        problems.push(SettingProblem::new(&[key], code, message, help));
    };
    // A placeholder is another text when it runs.
    if !settings.reference.contains('{')
        && let Err(why) = settings.reference.parse::<Reference>()
    {
        let message = format!("`{}` names no place in a registry: {why}", settings.reference);
        wrong("reference", "settings::wrong_value", message, "write it as `HOST/NAME:TAG`");
    }
    if !is_media_type(&settings.artifact_type) {
        let message = format!("`{}` is no media type", settings.artifact_type);
        wrong("artifact-type", "settings::wrong_value", message, "write it as `application/vnd.OWNER.KIND`");
    }
    if settings.password.as_deref().is_some_and(|password| environment_name(password).is_none()) {
        // It may be a real one, so it stands in no message.
        let help = "write `password = \"env:REGISTRY_PASSWORD\"` and set that variable; change one that was committed";
        let message = "the password is no reference to an environment variable".to_owned();
        wrong("password", "settings::literal_secret", message, help);
    }
    if settings.username.is_some() != settings.password.is_some() {
        let (there, absent) =
            if settings.username.is_some() { ("username", "password") } else { ("password", "username") };
        let message = format!("`{there}` needs `{absent}`");
        wrong(there, "settings::wrong_value", message, "a registry is logged in to with both, or with neither");
    }
    accepted(value, problems)
}

fn is_media_type(text: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/').is_some_and(|(kind, sub)| is_part(kind) && is_part(sub))
}
