//! What `from` names as files with the names that they get elsewhere: a repository, a registry.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use miette::Diagnostic;

use super::sha256;
use crate::node::{JobInput, NodeError, Run, SettingProblem};
use crate::store::{Artifact, FileRef, StoreError};

/// A file with its name elsewhere.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    /// Its path there, with `/`.
    pub(super) name: String,
    /// Where it is here.
    pub(super) path: PathBuf,
    /// Bytes.
    pub(super) size: u64,
    /// In lower-case hexadecimal.
    pub(super) sha256: String,
}

/// What can be wrong with the files to send.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum FilesError {
    /// Nothing to send.
    #[error("`from` names no file")]
    #[diagnostic(code(export::no_files), help("name nodes that make files, such as `from = [\"gguf\"]`"))]
    None,
    /// A file whose name cannot be known.
    #[error("the file of `{input}` has no name of its own")]
    #[diagnostic(code(export::no_name), help("say it: `paths = {{ {input} = \"NAME\" }}`"))]
    NoName { input: String },
    /// `paths` says how an input is named that there is not.
    #[error("`paths` names `{input}`, which `from` does not")]
    #[diagnostic(code(export::unknown_path), help("write it as it stands in `from`; there: {known}"))]
    UnknownPath { input: String, known: String },
    /// Two files with one name.
    #[error("two files are named `{name}`: those of `{first}` and of `{second}`")]
    #[diagnostic(
        code(export::same_path),
        help("give one of them another place: `paths = {{ {second} = \"FOLDER\" }}`")
    )]
    SamePath { name: String, first: String, second: String },
}

/// Returns the files of a run's inputs, sorted by name. `paths` says, by input, how a file is named or in which folder the
/// files of a folder lie; without it a folder's files keep their names, and a GGUF is named by its node.
pub(super) fn named_files(run: &Run<'_>, paths: &BTreeMap<String, String>) -> Result<Vec<NamedFile>, NodeError> {
    let known: Vec<String> = run.inputs().map(|input| input.node.clone()).collect();
    let is_known = |name: &String| run.inputs().any(|input| is_input(input, name));
    if let Some(input) = paths.keys().find(|name| !is_known(name)) {
        return Err(FilesError::UnknownPath { input: input.clone(), known: known.join(", ") }.into());
    }
    let mut named: BTreeMap<String, (String, FileRef)> = BTreeMap::new();
    for input in run.inputs() {
        let given = paths.iter().find(|(name, _)| is_input(input, name)).map(|(_, path)| path.as_str());
        for (name, file) in files(run, input, given)? {
            if let Some((first, other)) = named.get(&name)
                && other.digest != file.digest
            {
                let (first, second) = (first.clone(), input.node.clone());
                return Err(FilesError::SamePath { name, first, second }.into());
            }
            named.insert(name, (input.node.clone(), file));
        }
    }
    if named.is_empty() {
        return Err(FilesError::None.into());
    }
    let file = |(name, (_, file)): (String, (String, FileRef))| {
        Ok(NamedFile { name, path: run.store.path(&file)?, size: file.size, sha256: sha256(run, &file)? })
    };
    named.into_iter().map(file).collect()
}

/// Returns whether this is how `from` names the input.
fn is_input(input: &JobInput, name: &str) -> bool {
    name == input.node || name.strip_prefix(&input.node).and_then(|rest| rest.strip_prefix(':')) == Some(&input.output)
}

fn files(run: &Run<'_>, input: &JobInput, given: Option<&str>) -> Result<Vec<(String, FileRef)>, NodeError> {
    match &input.artifact {
        Artifact::File(file) => {
            let name = match given {
                Some(name) => name.to_owned(),
                None if input.output == "modelfile" => "Modelfile".to_owned(),
                None if is_gguf(run, file)? => format!("{}.gguf", input.node),
                None => return Err(FilesError::NoName { input: input.node.clone() }.into()),
            };
            Ok(vec![(name, *file)])
        }
        Artifact::Folder { files } => {
            let placed = |name: &String| match given {
                Some(folder) => format!("{folder}/{name}"),
                None => name.clone(),
            };
            Ok(files.iter().map(|(name, file)| (placed(name), *file)).collect())
        }
        Artifact::Records(_) => Err(run.bad_job(format!("input `{}` is no file", input.node))),
    }
}

fn is_gguf(run: &Run<'_>, file: &FileRef) -> Result<bool, NodeError> {
    let mut magic = Vec::new();
    let opened = fs_err::File::open(run.store.path(file)?).map_err(StoreError::from)?;
    opened.take(4).read_to_end(&mut magic).map_err(StoreError::from)?;
    Ok(magic == b"GGUF")
}

/// Returns what is wrong with the setting `paths`.
pub(super) fn path_problems(paths: &BTreeMap<String, String>) -> Vec<SettingProblem> {
    let is_wrong = |path: &str| {
        let parts: Vec<&str> = path.split('/').collect();
        parts.iter().any(|part| matches!(*part, "" | "." | ".." | ".git"))
            || path.contains(['\\', '\0'])
            || path.chars().any(char::is_control)
    };
    let wrong = paths.iter().filter(|(_, path)| is_wrong(path));
    let problem = |(input, path): (&String, &String)| {
        let message = format!("`{path}` is no place for files");
        let help = "write a path with `/` from the top, such as `expert.gguf` or `gguf/expert.gguf`";
        SettingProblem::new(&["paths", input], "settings::wrong_value", message, help)
    };
    wrong.map(problem).collect()
}
