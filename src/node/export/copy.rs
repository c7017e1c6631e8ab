//! `export.copy`: an artifact at a path outside of the project, such as the folder that a server reads its models from.
//!
//! `out` writes inside of the project and belongs to every build; a copy reaches other people's places, so it is an
//! effect. A file is replaced by a rename. What this node did not write is left alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::node::ledger::Ledger;
use crate::node::settings::canonical;
use crate::node::{
    Content, Count, Determinism, Family, Kind, KindInfo, NodeError, Outcome, Run, SettingProblem, Weight,
};
use crate::store::{Artifact, Digest, FileRef, StoreError};

/// The kind `copy`.
pub(super) struct ExportCopy;

/// Settings of `export.copy`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// Where to: an absolute path, or one from the manifest's folder. Its folder must be there.
    to: PathBuf,
    /// Whether a file may be replaced that this node did not write.
    #[serde(default)]
    overwrite: bool,
}

static INFO: KindInfo = KindInfo {
    family: Family::Export,
    name: "copy",
    version: 1,
    summary: "a file or a folder at a path outside of the project",
    inputs: &[Content::Gguf, Content::Adapter, Content::Files, Content::Weights],
    outputs: &[],
    fields: &["path", "digest"],
    determinism: Determinism::Varies,
    weight: Weight::Light,
    weights: false,
    model_settings: &[],
    pinned: false,
    effect: true,
};

/// What a run wrote where, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    to: PathBuf,
    /// Digests of the files, by their names; one file has no name.
    files: BTreeMap<String, Digest>,
}

/// What can go wrong with a copy.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum CopyError {
    /// Not exactly one artifact.
    #[error("a copy is of one output, `from` names {count}")]
    #[diagnostic(code(copy::one_input), help("write one node of this type for each"))]
    OneInput { count: usize },
    /// No folder to write in.
    #[error("there is no folder `{}`", folder.display())]
    #[diagnostic(code(copy::no_folder), help("make it, or mount it: a mistyped path must not make one"))]
    NoFolder { folder: PathBuf },
    /// Somebody's file.
    #[error("`{}` is there already, and this node did not write it", path.display())]
    #[diagnostic(
        code(copy::not_ours),
        help("take it away, name another path, or set `overwrite = true`; nothing was written")
    )]
    NotOurs { path: PathBuf },
    /// The file system.
    #[error("`{}` cannot be written, so it is as it was", path.display())]
    #[diagnostic(code(copy::io), help("check that the disk has room and that its folder can be written"))]
    Io {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

impl Kind for ExportCopy {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let value = canonical::<Settings>(settings)?;
        if Path::new(value["to"].as_str().unwrap_or_default()).file_name().is_some() {
            return Ok(value);
        }
        let help = "write the path of the file itself, such as `to = \"/srv/models/expert.gguf\"`";
        Err(vec![SettingProblem::new(&["to"], "settings::wrong_value", "`to` ends with no name", help)])
    }

    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let inputs: Vec<_> = run.inputs().collect();
        let [input] = inputs[..] else { return Err(CopyError::OneInput { count: inputs.len() }.into()) };
        let files = match &input.artifact {
            Artifact::File(file) => BTreeMap::from([(String::new(), *file)]),
            Artifact::Folder { files } => files.clone(),
            Artifact::Records(_) => return Err(run.bad_job(format!("input `{}` is no file", input.node))),
        };
        let copied = copy(run, &settings, &files)?;
        let to = settings.to.display().to_string();
        if copied == 0 {
            run.note(format!("`{to}` is the same already"));
        }
        Ok(Outcome {
            outputs: BTreeMap::new(),
            fields: BTreeMap::from([
                ("path".to_owned(), json!(to)),
                ("digest".to_owned(), json!(input.artifact.digest())),
            ]),
            report: vec![Count { what: "files written".into(), count: copied }],
        })
    }
}

/// Copies what is not there yet, and returns how many files that were.
fn copy(run: &Run<'_>, settings: &Settings, files: &BTreeMap<String, FileRef>) -> Result<u64, NodeError> {
    let mut ledger = Ledger::<Written>::open(run)?;
    let to = run.outside()?.folder.join(&settings.to);
    let folder = to.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        return Err(CopyError::NoFolder { folder: folder.to_owned() }.into());
    }
    let ours = |name: &str, found: &Digest| {
        ledger.last().is_some_and(|last| last.to == settings.to && last.files.get(name) == Some(found))
    };
    let mut wanted = Vec::new();
    for (name, file) in files {
        let path = if name.is_empty() { to.clone() } else { to.join(name) };
        match digest(&path)? {
            Some(found) if found == file.digest => {}
            Some(found) if !settings.overwrite && !ours(name, &found) => return Err(CopyError::NotOurs { path }.into()),
            _ => wanted.push((path, file)),
        }
    }
    let digests = files.iter().map(|(name, file)| (name.clone(), file.digest)).collect();
    for (path, file) in &wanted {
        run.check_cancelled()?;
        let source = run.store.path(file)?;
        place(&source, path).map_err(|cause| CopyError::Io { path: path.clone(), cause })?;
        run.note(format!("wrote `{}`", path.display()));
    }
    let written = Written { to: settings.to.clone(), files: digests };
    if ledger.last() != Some(&written) {
        ledger.push(written)?;
    }
    Ok(wanted.len() as u64)
}

/// Returns the digest of what lies at a path; nothing where nothing does.
fn digest(path: &Path) -> Result<Option<Digest>, NodeError> {
    match Digest::of_file(path) {
        Ok(digest) => Ok(Some(digest)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::from(error).into()),
    }
}

/// Puts a copy at a path by a rename: a reader finds the old file or the new one.
fn place(source: &Path, path: &Path) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs_err::create_dir_all(folder)?;
    // As any other file of this user: a temporary file would be for nobody else.
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    let mut temporary = tempfile::Builder::new().prefix(".tunesmith-").permissions(permissions).tempfile_in(folder)?;
    std::io::copy(&mut fs_err::File::open(source)?, temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    if let Ok(folder) = fs_err::File::open(folder) {
        folder.sync_all().ok();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::InputRole;
    use crate::node::bench::Bench;

    fn deploy(bench: &Bench, settings: &Value, artifact: Artifact) -> Result<Outcome, NodeError> {
        let settings = ExportCopy.canonical(settings).unwrap();
        let input = bench.input(InputRole::From, "gguf", "gguf", Some(artifact), json!({}));
        bench.run(&ExportCopy, &settings, vec![input], &[])
    }

    #[test]
    fn a_file_is_written_once_and_replaced_when_it_is_ours() {
        let bench = Bench::new();
        let file = |text: &str| Artifact::File(bench.store.put_file_bytes(text.as_bytes()).unwrap());
        let settings = json!({"to": "models/expert.gguf"});
        let error = deploy(&bench, &settings, file("one")).unwrap_err();
        assert_eq!(error.code.as_deref(), Some("copy::no_folder"));
        fs_err::create_dir(bench.folder().join("models")).unwrap();
        let path = bench.folder().join("models/expert.gguf");
        let text = || fs_err::read_to_string(&path).unwrap();
        for (content, written) in [("one", 1), ("one", 0), ("two", 1)] {
            let outcome = deploy(&bench, &settings, file(content)).unwrap();
            assert_eq!(outcome.report[0].count, written);
            assert_eq!(text(), content);
        }
        fs_err::write(&path, "theirs").unwrap();
        let error = deploy(&bench, &settings, file("three")).unwrap_err();
        assert_eq!((error.code.as_deref(), text().as_str()), (Some("copy::not_ours"), "theirs"));
        deploy(&bench, &json!({"to": "models/expert.gguf", "overwrite": true}), file("three")).unwrap();
        assert_eq!(text(), "three");
    }

    #[test]
    fn a_folder_is_copied_by_its_files() {
        let bench = Bench::new();
        let file = |text: &str| bench.store.put_file_bytes(text.as_bytes()).unwrap();
        let files = BTreeMap::from([("a.json".to_owned(), file("a")), ("sub/b.bin".to_owned(), file("b"))]);
        let outcome = deploy(&bench, &json!({"to": "adapter"}), Artifact::Folder { files }).unwrap();
        assert_eq!(outcome.report[0].count, 2);
        assert_eq!(fs_err::read_to_string(bench.folder().join("adapter/sub/b.bin")).unwrap(), "b");
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        let problem = ExportCopy.canonical(&json!({"to": "/srv/.."})).unwrap_err().remove(0);
        assert_eq!(problem.message, "`to` ends with no name");
    }
}
