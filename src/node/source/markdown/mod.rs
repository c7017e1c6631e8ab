//! `source.markdown`: the Markdown files of a folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use miette::Diagnostic;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::node::source::document::document;
use crate::node::{
    Content, Determinism, Family, FileInput, Globs, JobFile, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run,
    SettingProblem, Weight, settings,
};
use crate::record::{Document, Record, write};
use crate::store::Artifact;

/// The kind.
#[derive(Debug)]
pub(super) struct Markdown;

static INFO: KindInfo = KindInfo {
    family: Family::Source,
    name: "markdown",
    // History: 1, the first.
    version: 1,
    summary: "the Markdown files of a folder",
    inputs: &[],
    outputs: &[OutputInfo { name: "documents", content: Content::Records }],
    fields: &["records"],
    determinism: Determinism::Exact,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: false,
};

/// Settings of `source.markdown`.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// The folder, relative to the manifest.
    path: String,
    /// Which files below it, as globs.
    #[serde(default = "all_markdown")]
    include: Vec<String>,
    /// Which files to leave out, as globs.
    #[serde(default)]
    exclude: Vec<String>,
    /// What stands before a file's path in its document's id, such as `owner/name`. Nothing: the path alone.
    #[serde(default)]
    repo: String,
    /// Whether the folder may be absent; the node then yields no documents.
    #[serde(default)]
    optional: bool,
}

fn all_markdown() -> Vec<String> {
    vec!["**/*.md".to_owned()]
}

/// What can go wrong with a folder of Markdown.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum MarkdownError {
    #[error("`{}` is not UTF-8 (byte {at})", path.display())]
    #[diagnostic(code(source::markdown::encoding), help("convert it to UTF-8, or name it in `exclude`"))]
    Encoding { path: PathBuf, at: usize },
    #[error("the file cannot be read")]
    #[diagnostic(code(source::markdown::io), help("check that you may read it, or name it in `exclude`"))]
    Io(#[from] std::io::Error),
}

impl Kind for Markdown {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let canonical = settings::canonical::<Settings>(settings)?;
        let problems: Vec<SettingProblem> =
            ["include", "exclude"].iter().flat_map(|key| settings::glob_problems(key, &canonical[*key])).collect();
        if problems.is_empty() { Ok(canonical) } else { Err(problems) }
    }

    fn outside_key(&self) -> &'static [&'static str] {
        // The files that the globs choose are in the key by their names.
        &["path", "include", "exclude", "optional"]
    }

    fn files(&self, settings: &Value) -> Vec<FileInput> {
        let Ok(settings) = Settings::deserialize(settings) else { return Vec::new() };
        vec![FileInput {
            setting: "path",
            path: PathBuf::from(settings.path),
            globs: Some(Globs { include: settings.include, exclude: settings.exclude }),
            optional: settings.optional,
        }]
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let files: Vec<&JobFile> = run.files("path").collect();
        let documents = files.into_par_iter().map(|file| read(file, &settings.repo));
        let documents = documents.collect::<Result<Vec<_>, MarkdownError>>()?;
        let records = write(run.store, documents.into_iter().map(Record::Document))?;
        Ok(Outcome {
            outputs: BTreeMap::from([("documents".into(), Artifact::Records(records))]),
            fields: BTreeMap::from([("records".into(), json!(records.count))]),
            report: Vec::new(),
        })
    }
}

fn read(file: &JobFile, repo: &str) -> Result<Document, MarkdownError> {
    let text = String::from_utf8(fs_err::read(&file.path)?)
        .map_err(|error| MarkdownError::Encoding { path: file.path.clone(), at: error.utf8_error().valid_up_to() })?;
    Ok(document(repo, &file.name, &text, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::bench::Bench;

    #[test]
    fn a_folder_becomes_documents_and_version_1_is_pinned() {
        let bench = Bench::new();
        bench.file("docs/a/_index.md", "---\ntitle: The A\n---\n\n# Other\n\nText\n");
        bench.file("docs/b.md", "# The B\n");
        let outcome = bench.run_on(&Markdown, &json!({"path": "docs", "repo": "o/r"}), &[]).unwrap();
        let documents = bench.read(&outcome, "documents").into_iter().map(|record| match record {
            Record::Document(document) => (document.id, document.title, document.content),
            other => panic!("{other:?}"),
        });
        let expected = [("o/r/a/_index.md", "The A", "\n# Other\n\nText\n"), ("o/r/b.md", "The B", "# The B\n")];
        assert_eq!(
            documents.collect::<Vec<_>>(),
            expected.map(|(id, title, text)| (id.into(), title.into(), text.into()))
        );
        assert_eq!(
            Bench::records(&outcome, "documents").root.to_string(),
            "3f0b29a39d5ec1fbfdf3230aab7d881b0c59dd655fe9f846ba93002840086c1a"
        );
    }

    #[test]
    fn a_bad_glob_is_refused_at_its_place() {
        let problems = Markdown.canonical(&json!({"path": "docs", "exclude": ["a", "b[", "{c"]})).unwrap_err();
        let places: Vec<String> = problems.iter().map(|problem| problem.path.join(".")).collect();
        assert_eq!(places, ["exclude.1", "exclude.2"]);
    }
}
