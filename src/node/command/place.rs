//! The command's folder before it runs: inputs under their node's name, declared files under their own.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::error::CommandError;
use crate::node::{JobInput, Run};
use crate::record::export_jsonl;
use crate::store::{Artifact, FileRef};

/// Makes the folder with everything in it that the program may read. All are copies, which it may change.
pub(super) fn inputs(run: &Run<'_>) -> Result<PathBuf, CommandError> {
    let folder = run.scratch().join("work");
    fs_err::create_dir(&folder)?;
    for input in run.inputs() {
        place(run, input, &folder.join(name(run, input)))?;
    }
    for file in run.files("files") {
        copy(&file.path, &folder.join(&file.name))?;
    }
    Ok(folder)
}

/// Returns the name of an input: its node's, and the output's too where the command reads several of that node.
fn name(run: &Run<'_>, input: &JobInput) -> String {
    let alone = run.inputs().filter(|other| other.node == input.node).count() == 1;
    let name = if alone { input.node.clone() } else { format!("{}.{}", input.node, input.output) };
    match input.artifact {
        Artifact::Records(_) => format!("{name}.jsonl"),
        Artifact::File(_) | Artifact::Folder { .. } => name,
    }
}

fn place(run: &Run<'_>, input: &JobInput, target: &Path) -> Result<(), CommandError> {
    match &input.artifact {
        Artifact::File(file) => copy_object(run, file, target),
        Artifact::Records(records) => {
            let mut writer = BufWriter::new(fs_err::File::create(target)?);
            Ok(export_jsonl(run.store, records, &mut writer)?)
        }
        Artifact::Folder { files } => {
            fs_err::create_dir(target)?;
            for (name, file) in files {
                let target = target.join(name);
                if let Some(parent) = target.parent() {
                    fs_err::create_dir_all(parent)?;
                }
                copy_object(run, file, &target)?;
            }
            Ok(())
        }
    }
}

fn copy_object(run: &Run<'_>, file: &FileRef, target: &Path) -> Result<(), CommandError> {
    copy(&run.store.path(file)?, target)
}

/// Copies a file; objects in the store are read-only, what the program gets is its own.
fn copy(from: &Path, to: &Path) -> Result<(), CommandError> {
    reflink_copy::reflink_or_copy(from, to)?;
    let mut permissions = fs_err::metadata(from)?.permissions();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        permissions.set_mode(permissions.mode() | 0o600);
    }
    Ok(fs_err::set_permissions(to, permissions)?)
}

/// Lists what lies in a folder, for messages.
pub(super) fn listing(folder: &Path) -> String {
    let names = fs_err::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    if names.is_empty() { "no files".into() } else { names.join(", ") }
}
