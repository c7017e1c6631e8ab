//! The command's folder after it ran: what it left under the declared paths becomes the node's outputs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::error::CommandError;
use super::place::listing;
use super::settings::{Output, OutputForm, Settings};
use crate::node::{NodeError, Run};
use crate::record::{Form, Line, import, write_lines};
use crate::store::Artifact;

/// Stores the outputs.
pub(super) fn outputs(
    run: &Run<'_>,
    settings: &Settings,
    folder: &Path,
) -> Result<BTreeMap<String, Artifact>, NodeError> {
    let mut outputs = BTreeMap::new();
    for (name, output) in &settings.outputs {
        run.check_cancelled()?;
        let found = Found::at(name, output, folder)?;
        outputs.insert(name.clone(), found.store(run)?);
    }
    Ok(outputs)
}

/// An output where it lies.
struct Found<'a> {
    name: &'a str,
    output: &'a Output,
    /// Without symbolic links.
    path: PathBuf,
}

impl<'a> Found<'a> {
    /// Finds an output. A symbolic link may lead elsewhere in the folder, but not out of it.
    fn at(name: &'a str, output: &'a Output, folder: &Path) -> Result<Self, CommandError> {
        let wanted = folder.join(&output.path);
        let path = match fs_err::canonicalize(&wanted) {
            Ok(path) => path,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let found = listing(folder);
                return Err(CommandError::NoOutput { output: name.to_owned(), path: output.path.clone(), found });
            }
            Err(error) => return Err(error.into()),
        };
        let found = Self { name, output, path };
        if !found.path.starts_with(fs_err::canonicalize(folder)?) {
            return Err(found.bad(&output.path, "is a link out of the command's folder"));
        }
        Ok(found)
    }

    fn store(&self, run: &Run<'_>) -> Result<Artifact, CommandError> {
        let kind = fs_err::metadata(&self.path)?.file_type();
        match (self.output.form, self.output.form.lines()) {
            (OutputForm::Folder, _) if kind.is_dir() => self.folder(run),
            (OutputForm::Folder, _) => Err(self.bad(&self.output.path, "is no folder, but should be one")),
            _ if !kind.is_file() => Err(self.bad(&self.output.path, "is no plain file")),
            (_, Some(form)) => self.records(run, form),
            (_, None) => Ok(Artifact::File(run.store.put_file(&self.path)?)),
        }
    }

    /// Stores a folder of plain files.
    fn folder(&self, run: &Run<'_>) -> Result<Artifact, CommandError> {
        let mut files = BTreeMap::new();
        for entry in walkdir::WalkDir::new(&self.path).sort_by_file_name() {
            let entry = entry.map_err(std::io::Error::from)?;
            let below = entry.path().strip_prefix(&self.path).unwrap_or(entry.path());
            let shown = self.output.path.join(below);
            if entry.file_type().is_dir() {
                continue;
            }
            if !entry.file_type().is_file() {
                return Err(self.bad(&shown, "is no plain file"));
            }
            let Some(name) = below.to_str() else {
                return Err(self.bad(&shown, "has a name that is not UTF-8"));
            };
            files.insert(name.replace(std::path::MAIN_SEPARATOR, "/"), run.store.put_file(entry.path())?);
        }
        Ok(Artifact::Folder { files })
    }

    /// Stores JSON lines as records.
    fn records(&self, run: &Run<'_>, form: Form) -> Result<Artifact, CommandError> {
        let mut records = Vec::new();
        for (at, line) in BufReader::new(fs_err::File::open(&self.path)?).split(b'\n').enumerate() {
            let line = line?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let record = import(form, line.trim_ascii(), None).map_err(|cause| CommandError::BadLine {
                output: self.name.to_owned(),
                path: self.output.path.clone(),
                line: at as u64 + 1,
                expected: form.expected(),
                cause,
            })?;
            records.push(Line::of(&record)?.into_owned());
        }
        Ok(Artifact::Records(write_lines(run.store, records)?))
    }

    fn bad(&self, path: &Path, what: &'static str) -> CommandError {
        CommandError::BadOutput { output: self.name.to_owned(), path: path.to_owned(), what }
    }
}
