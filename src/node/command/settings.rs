//! The settings of `command`, and what they say about files and outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::{Content, Family, FileInput, SettingProblem};
use crate::record::Form;
use crate::secret::{environment_name, is_reference};

/// The settings of `command`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Settings {
    /// The program, found by `PATH`, and its arguments. No shell reads them.
    pub(super) argv: Vec<String>,
    /// Changed by hand when the program changes in a way that no setting and no file shows.
    #[serde(default = "first_version")]
    pub(super) version: String,
    /// Local files that the program reads, scripts among them; they lie in its folder under their file names.
    #[serde(default)]
    pub(super) files: Vec<PathBuf>,
    /// What the program writes, by output name. `NODE` alone means the first by name.
    #[serde(default)]
    pub(super) outputs: BTreeMap<String, Output>,
    /// Environment variables; `env:NAME` passes one on whose value is secret.
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// The file in its folder that the program reads as standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stdin: Option<PathBuf>,
    /// For exports: whether the program changes something outside the project. It then runs only when named or with
    /// `--deploy`.
    #[serde(default)]
    effect: bool,
}

/// One output.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Output {
    /// Where the program writes it, relative to its folder.
    pub(super) path: PathBuf,
    /// What it is.
    #[serde(default, rename = "as")]
    pub(super) form: OutputForm,
}

/// What an output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OutputForm {
    /// One file.
    #[default]
    File,
    /// A folder of files.
    Folder,
    /// JSON lines of conversations.
    Rows,
    /// JSON lines of issues.
    Issues,
    /// JSON lines of pull requests.
    Pulls,
    /// JSON lines of documents.
    Documents,
}

impl OutputForm {
    /// Returns what a line holds; nothing for plain files.
    pub(super) fn lines(self) -> Option<Form> {
        match self {
            Self::File | Self::Folder => None,
            Self::Rows => Some(Form::Rows),
            Self::Issues => Some(Form::Issues),
            Self::Pulls => Some(Form::Pulls),
            Self::Documents => Some(Form::Documents),
        }
    }

    fn content(self) -> Content {
        match self {
            Self::File | Self::Folder => Content::Files,
            Self::Rows => Content::Rows,
            Self::Issues | Self::Pulls | Self::Documents => Content::Records,
        }
    }
}

/// Returns the settings in canonical form, or everything that is wrong with them.
pub(super) fn canonical(settings: &Value, family: Family) -> Result<Value, Vec<SettingProblem>> {
    let canonical = crate::node::settings::canonical::<Settings>(settings)?;
    let problems = match Settings::deserialize(&canonical) {
        Ok(settings) => settings.problems(family),
        Err(error) => vec![wrong(&[], error.to_string(), "write the settings anew")],
    };
    if problems.is_empty() { Ok(canonical) } else { Err(problems) }
}

/// Returns the local files that canonical settings name.
pub(super) fn files(settings: &Value) -> Vec<FileInput> {
    let files = Settings::deserialize(settings).map(|settings| settings.files).unwrap_or_default();
    files.into_iter().map(|path| FileInput { setting: "files", path, globs: None, optional: false }).collect()
}

/// Returns the outputs that canonical settings declare.
pub(super) fn outputs(settings: &Value) -> Vec<(String, Content)> {
    let outputs = Settings::deserialize(settings).map(|settings| settings.outputs).unwrap_or_default();
    outputs.into_iter().map(|(name, output)| (name, output.form.content())).collect()
}

/// Returns whether canonical settings say that something outside is changed.
pub(super) fn is_effect(settings: &Value) -> bool {
    settings.get("effect").and_then(Value::as_bool).unwrap_or_default()
}

impl Settings {
    fn problems(&self, family: Family) -> Vec<SettingProblem> {
        let mut problems = Vec::new();
        if self.argv.first().is_none_or(String::is_empty) {
            let help = "write it as `argv = [\"PROGRAM\", \"ARGUMENT\", …]`";
            problems.push(wrong(&["argv"], "no program is named", help));
        }
        self.check_files(&mut problems);
        self.check_outputs(family, &mut problems);
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                let message = format!("`{name}` can be no environment variable");
                problems.push(wrong(
                    &["env", name],
                    message,
                    "names have letters, digits and `_`; values no zero byte",
                ));
            } else if is_reference(value) && environment_name(value).is_none() {
                let message = format!("`{}` names no variable", value.escape_debug());
                problems.push(wrong(&["env", name], message, "write it as `env:NAME`"));
            }
        }
        if let Some(stdin) = &self.stdin
            && !stays_inside(stdin)
        {
            problems.push(outside(&["stdin"], stdin));
        }
        problems
    }

    fn check_files(&self, problems: &mut Vec<SettingProblem>) {
        let mut names = BTreeSet::new();
        for (index, path) in self.files.iter().enumerate() {
            let at = index.to_string();
            match path.file_name() {
                None => {
                    let message = format!("`{}` names no file", path.display());
                    problems.push(wrong(&["files", &at], message, "write the path of a file"));
                }
                Some(name) if !names.insert(name) => {
                    let message = format!("two files have the name `{}`", name.display());
                    problems.push(wrong(&["files", &at], message, "they would lie in the same place: rename one"));
                }
                Some(_) => {}
            }
        }
    }

    fn check_outputs(&self, family: Family, problems: &mut Vec<SettingProblem>) {
        if self.effect && family != Family::Export {
            let help = "move the node to `[export.NAME]`, or leave `effect` out";
            problems.push(wrong(&["effect"], "only an export has effects", help));
        }
        if self.outputs.is_empty() && !self.effect {
            let help = "write it as `outputs = { data = { path = \"data.jsonl\", as = \"rows\" } }`";
            problems.push(wrong(&[], "the command has no output", help));
        }
        for (name, output) in &self.outputs {
            let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            if name.is_empty() || !fits {
                let message = format!("`{name}` can be no output's name");
                problems.push(wrong(&["outputs", name], message, "use letters, digits, `-` and `_`"));
            }
            if !stays_inside(&output.path) {
                problems.push(outside(&["outputs", name, "path"], &output.path));
            }
        }
    }
}

fn first_version() -> String {
    "1".into()
}

fn outside(path: &[&str], found: &Path) -> SettingProblem {
    let message = format!("`{}` is no path inside the command's folder", found.display());
    wrong(path, message, "write it relative to that folder, without `..`")
}

fn wrong(path: &[&str], message: impl Into<String>, help: &str) -> SettingProblem {
    SettingProblem::new(path, "settings::wrong_value", message, help)
}

/// Returns whether a path has only plain parts, and at least one.
fn stays_inside(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}
