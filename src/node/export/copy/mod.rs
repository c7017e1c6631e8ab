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
    Content, Count, Determinism, Family, JobInput, Kind, KindInfo, NodeError, Outcome, Rehearsal, Run, SettingProblem,
    Weight,
};
use crate::store::{Artifact, Digest, FileRef, StoreError, free_space};

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
    /// A disk that is too full.
    #[error("`{}` has room for {free} bytes, and the copy has {needed}", folder.display())]
    #[diagnostic(code(copy::no_room), help("make room there, or name another path; nothing was written"))]
    NoRoom { folder: PathBuf, needed: u64, free: u64 },
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
        let copied = copy(run, &settings, &files_of(run, input)?)?;
        if copied == 0 {
            run.note(format!("`{}` is the same already", settings.to.display()));
        }
        Ok(outcome(&settings, &json!(input.artifact.digest()), "files written", copied))
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Follows
    }

    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        look(run, &run.settings()?)
    }
}

fn outcome(settings: &Settings, digest: &Value, what: &str, count: u64) -> Outcome {
    Outcome {
        outputs: BTreeMap::new(),
        fields: BTreeMap::from([
            ("path".to_owned(), json!(settings.to.display().to_string())),
            ("digest".to_owned(), digest.clone()),
        ]),
        report: vec![Count { what: what.into(), count }],
    }
}

/// Returns the files of an input by their names; one file has no name.
fn files_of(run: &Run<'_>, input: &JobInput) -> Result<BTreeMap<String, FileRef>, NodeError> {
    match &input.artifact {
        Artifact::File(file) => Ok(BTreeMap::from([(String::new(), *file)])),
        Artifact::Folder { files } => Ok(files.clone()),
        Artifact::Records(_) => Err(run.bad_job(format!("input `{}` is no file", input.node))),
    }
}

/// Copies what is not there yet, and returns how many files that were.
fn copy(run: &Run<'_>, settings: &Settings, files: &BTreeMap<String, FileRef>) -> Result<u64, NodeError> {
    let mut ledger = Ledger::<Written>::open(run)?;
    let to = Place::of(run, settings)?;
    let wanted = to.wanted(settings, files, ledger.last())?;
    let digests = files.iter().map(|(name, file)| (name.clone(), file.digest)).collect();
    for (path, file) in &wanted {
        run.check_cancelled()?;
        let source = run.store.path(file)?;
        put(&source, path).map_err(|cause| CopyError::Io { path: path.clone(), cause })?;
        run.note(format!("wrote `{}`", path.display()));
    }
    let written = Written { to: settings.to.clone(), files: digests };
    if ledger.last() != Some(&written) {
        ledger.push(written)?;
    }
    Ok(wanted.len() as u64)
}

/// Looks whether the copy could be made, and leaves nothing there.
fn look(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let last = Ledger::<Written>::seen(run)?;
    let to = Place::of(run, settings)?;
    let io = |cause| CopyError::Io { path: to.path.clone(), cause };
    tempfile::tempfile_in(&to.folder).map_err(io)?;
    let (digest, count) = match run.inputs().next() {
        Some(input) => {
            let files = files_of(run, input)?;
            (json!(input.artifact.digest()), to.wanted(settings, &files, last.as_ref())?.len())
        }
        None => (json!(""), 0),
    };
    Ok(outcome(settings, &digest, "files would be written", count as u64))
}

/// Where a copy goes.
struct Place {
    path: PathBuf,
    /// Its folder, which is there.
    folder: PathBuf,
}

impl Place {
    fn of(run: &Run<'_>, settings: &Settings) -> Result<Self, NodeError> {
        let path = run.outside()?.folder.join(&settings.to);
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        if folder.is_dir() { Ok(Self { path, folder }) } else { Err(CopyError::NoFolder { folder }.into()) }
    }

    /// Returns what is not there yet, and where it goes. What somebody else wrote and a disk that is too full are errors.
    fn wanted<'f>(
        &self,
        settings: &Settings,
        files: &'f BTreeMap<String, FileRef>,
        last: Option<&Written>,
    ) -> Result<Vec<(PathBuf, &'f FileRef)>, NodeError> {
        let ours = |name: &str, found: &Digest| {
            last.is_some_and(|last| last.to == settings.to && last.files.get(name) == Some(found))
        };
        let mut wanted = Vec::new();
        for (name, file) in files {
            let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
            match digest(&path)? {
                Some(found) if found == file.digest => {}
                Some(found) if !settings.overwrite && !ours(name, &found) => {
                    return Err(CopyError::NotOurs { path }.into());
                }
                _ => wanted.push((path, file)),
            }
        }
        self.has_room(wanted.iter().map(|(_, file)| file.size).sum())?;
        Ok(wanted)
    }

    /// Refuses what does not fit: a file that is replaced stays until its new one is whole.
    fn has_room(&self, needed: u64) -> Result<(), CopyError> {
        match free_space(&self.folder) {
            Ok(free) if free < needed => Err(CopyError::NoRoom { folder: self.folder.clone(), needed, free }),
            // What a file system does not say, the copy itself finds out.
            _ => Ok(()),
        }
    }
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
fn put(source: &Path, path: &Path) -> std::io::Result<()> {
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
mod tests;
