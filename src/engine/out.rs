//! `out`: a node's output as a file of the work tree, copied or reflinked, never overwritten when a person edited it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{EngineError, Known, Resolver};
use crate::graph::Node;
use crate::store::{Artifact, Digest, Store, StoreError};

/// What was done about an `out`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutWrite {
    /// It was written.
    Written,
    /// It is there as it should be.
    Right,
    /// Somebody edited it, so it was left alone.
    Edited,
}

/// What is remembered of an `out` that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    /// The artifact that it shows.
    artifact: Digest,
    /// The file's own digest: a record set is exported in another form than it is stored in.
    content: Digest,
}

/// An `out` of a node.
pub struct OutState<'a> {
    /// The store, the root and the profile.
    pub resolver: &'a Resolver<'a>,
    /// The node.
    pub node: &'a Node,
    /// The path as the manifest has it.
    pub path: &'a str,
}

impl OutState<'_> {
    /// Returns whether the file shows `known`, without writing.
    pub fn is_right(&self, known: &Known) -> Result<bool, EngineError> {
        let Some(artifact) = self.artifact(known) else { return Ok(true) };
        let written: Option<Written> = self.resolver.store.state(&self.state_name())?;
        let target = self.target();
        Ok(match written {
            Some(written) => {
                written.artifact == artifact.digest()
                    && tree_digest(self.resolver.store, &target)? == Some(written.content)
            }
            None => false,
        })
    }

    /// Writes the file when it does not show `known`.
    ///
    /// # Errors
    /// Errors of writing; a path that leads out of the project by a symbolic link.
    pub fn write(&self, known: &Known, overwrite: bool) -> Result<OutWrite, EngineError> {
        let Some(artifact) = self.artifact(known) else { return Ok(OutWrite::Right) };
        let store = self.resolver.store;
        let target = self.target();
        self.stays_inside(&target)?;
        let _lock = store.lock(&Digest::of(target.as_os_str().as_encoded_bytes()))?;
        let written: Option<Written> = store.state(&self.state_name())?;
        let found = tree_digest(store, &target)?;
        if let (Some(written), Some(found)) = (&written, found)
            && written.artifact == artifact.digest()
            && written.content == found
        {
            return Ok(OutWrite::Right);
        }
        let (scratch, content) = self.export(artifact)?;
        let is_ours = match (&found, &written) {
            (None, _) => true,
            (Some(found), _) if *found == content => true,
            (Some(found), Some(written)) => written.content == *found,
            (Some(_), None) => false,
        };
        if !is_ours && !overwrite {
            return Ok(OutWrite::Edited);
        }
        let was_right = found == Some(content);
        if !was_right {
            replace(&scratch.path().join("out"), &target)?;
        }
        store.put_state(&self.state_name(), &Written { artifact: artifact.digest(), content })?;
        Ok(if was_right { OutWrite::Right } else { OutWrite::Written })
    }

    fn artifact<'k>(&self, known: &'k Known) -> Option<&'k Artifact> {
        known.outputs.get(&self.node.outputs.first()?.name)
    }

    fn target(&self) -> PathBuf {
        self.resolver.root.join(self.path)
    }

    fn state_name(&self) -> String {
        format!("out/{}", self.path)
    }

    /// Refuses a path whose folders lead out of the project by a symbolic link.
    fn stays_inside(&self, target: &Path) -> Result<(), EngineError> {
        let folder = target.parent().unwrap_or(self.resolver.root);
        // Before a folder is made: a link may stand anywhere on the way.
        let there = folder.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok()).unwrap_or(folder);
        let (root, real) = (fs_err::canonicalize(self.resolver.root)?, fs_err::canonicalize(there)?);
        if real.starts_with(&root) {
            return Ok(fs_err::create_dir_all(folder)?);
        }
        Err(EngineError::OutOutside { node: self.node.name.clone(), path: self.path.to_owned(), leads_to: real })
    }

    /// Writes the artifact as users read it into a scratch folder beside the target; returns its digest.
    fn export(&self, artifact: &Artifact) -> Result<(tempfile::TempDir, Digest), EngineError> {
        let store = self.resolver.store;
        // Beside the target, so that the last step is a rename on one file system.
        let folder = self.target().parent().map_or_else(|| self.resolver.root.to_owned(), Path::to_owned);
        let scratch = tempfile::Builder::new().prefix(".tunesmith-").tempdir_in(folder)?;
        let path = scratch.path().join("out");
        write_artifact(store, artifact, &path)?;
        let content = tree_digest(store, &path)?.ok_or(StoreError::NotAFile { path })?;
        Ok((scratch, content))
    }
}

/// Writes an artifact to a path of the user's choice, whole or not at all. A file that is there is replaced.
///
/// # Errors
/// Errors of reading the store and of writing; a folder that is there is left alone.
pub fn materialise(store: &Store, artifact: &Artifact, target: &Path) -> Result<(), EngineError> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let scratch = tempfile::Builder::new().prefix(".tunesmith-").tempdir_in(folder)?;
    let path = scratch.path().join("out");
    write_artifact(store, artifact, &path)?;
    Ok(fs_err::rename(path, target)?)
}

/// Writes an artifact at `path` as users read it: files as they are, record sets as JSON lines.
fn write_artifact(store: &Store, artifact: &Artifact, path: &Path) -> Result<(), EngineError> {
    match artifact {
        Artifact::File(file) => copy(&store.path(file)?, path)?,
        Artifact::Folder { files } => {
            fs_err::create_dir_all(path)?;
            for (name, file) in files {
                let target = path.join(name);
                if let Some(folder) = target.parent() {
                    fs_err::create_dir_all(folder)?;
                }
                copy(&store.path(file)?, &target)?;
            }
        }
        Artifact::Records(records) => {
            let mut writer = std::io::BufWriter::new(fs_err::File::create(path)?);
            crate::record::export_jsonl(store, records, &mut writer)?;
            std::io::Write::flush(&mut writer)?;
        }
    }
    Ok(())
}

/// Copies a stored file: a reflink where there are reflinks, never a hard link to the store, and writable.
fn copy(from: &Path, to: &Path) -> Result<(), EngineError> {
    use std::os::unix::fs::PermissionsExt as _;
    reflink_copy::reflink_or_copy(from, to)?;
    Ok(fs_err::set_permissions(to, std::fs::Permissions::from_mode(0o644))?)
}

/// Puts `from` in the place of `target`: a reader sees the old or the new one, never a part.
fn replace(from: &Path, target: &Path) -> Result<(), EngineError> {
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    if is_folder(target) {
        fs_err::remove_dir_all(target)?;
    } else if is_folder(from) && target.symlink_metadata().is_ok() {
        fs_err::remove_file(target)?;
    }
    Ok(fs_err::rename(from, target)?)
}

/// Returns the digest of a file, or of a folder's files with their names; `None` when there is nothing.
fn tree_digest(store: &Store, path: &Path) -> Result<Option<Digest>, EngineError> {
    let Ok(metadata) = path.symlink_metadata() else {
        store.watch_absent(path);
        return Ok(None);
    };
    if !metadata.is_dir() {
        // A link that somebody put there counts as an edit: its own target is never written through.
        let is_file = metadata.is_file();
        if !is_file {
            store.watch_nothing();
            return Ok(Some(Digest::of(b"not a file")));
        }
        return Ok(Some(store.file_digest(path)?));
    }
    let mut parts = Vec::new();
    for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
        let entry = entry.map_err(std::io::Error::from)?;
        if entry.file_type().is_dir() {
            store.watch_folder(entry.path());
        }
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(path).unwrap_or(entry.path()).to_string_lossy().into_owned();
            parts.push(format!("{name}\0{}\n", store.file_digest(entry.path())?));
        }
    }
    Ok(Some(Digest::of(parts.concat().as_bytes())))
}
