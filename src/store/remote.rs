//! The shared folder: immutable files and renames only, so that it works on NFS and for users of other rights.

use std::io;
use std::path::{Path, PathBuf};

use super::files::{has_size, object_path};
use super::{Artifact, Digest, FileRef, Result, Store, StoreError};

/// A shared folder as second store.
#[derive(Debug)]
pub(super) struct Remote {
    root: PathBuf,
}

impl Remote {
    pub(super) fn open(root: &Path) -> Result<Self> {
        for folder in ["objects", "actions"] {
            fs_err::create_dir_all(root.join(folder))?;
        }
        super::check_format(root)?;
        Ok(Self { root: root.to_owned() })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn object_path(&self, digest: &Digest) -> PathBuf {
        object_path(&self.root, digest)
    }

    fn action_path(&self, key: &Digest) -> PathBuf {
        let name = key.to_string();
        self.root.join("actions").join(&name[..2]).join(&name[2..])
    }

    /// Returns the text of an action record.
    pub(super) fn action(&self, key: &Digest) -> Result<Option<String>> {
        absent_is_none(fs_err::read_to_string(self.action_path(key)))
    }

    /// Publishes an action record; the first one stays.
    pub(super) fn put_action(&self, key: &Digest, record: &str) -> Result<()> {
        let path = self.action_path(key);
        if path.exists() { Ok(()) } else { self.write(&path, record.as_bytes()) }
    }

    /// Writes a new file under a temporary name beside its place and renames it.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        fs_err::create_dir_all(folder)?;
        super::files::write_atomically(path, bytes)?;
        share(path)
    }
}

/// Lets everybody of the team read the file and nobody write it, whatever this user's umask says.
#[cfg(unix)]
fn share(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o444))?)
}

fn absent_is_none<T>(result: io::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Store {
    /// Copies an object of the shared folder into the pack and returns its bytes, checked.
    pub(super) fn fetch_object(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let Some(remote) = &self.remote else { return Ok(None) };
        let Some(bytes) = absent_is_none(fs_err::read(remote.object_path(digest)))? else { return Ok(None) };
        if Digest::of(&bytes) != *digest {
            return Err(StoreError::Damaged { digest: *digest });
        }
        self.database.put_object(*digest, &bytes)?;
        Ok(Some(bytes))
    }

    /// Copies a file of the shared folder to `path`, checked; `false` when it has none.
    pub(super) fn fetch_file(&self, file: &FileRef, path: &Path) -> Result<bool> {
        let Some(remote) = &self.remote else { return Ok(false) };
        let source = remote.object_path(&file.digest);
        if !has_size(&source, file.size) {
            return Ok(false);
        }
        let fetched = self.put_file(&source)?;
        if fetched.digest != file.digest {
            fs_err::remove_file(self.file_path(&fetched.digest))?;
            return Err(StoreError::Damaged { digest: file.digest });
        }
        debug_assert!(has_size(path, file.size));
        Ok(true)
    }

    /// Copies an artifact with all its objects to the shared folder; what is there already is not written again.
    pub fn push(&self, artifact: &Artifact, objects: &[Digest]) -> Result<()> {
        let Some(remote) = &self.remote else { return Ok(()) };
        for digest in objects {
            let path = remote.object_path(digest);
            if !path.exists() {
                remote.write(&path, &self.get(digest)?)?;
            }
        }
        let files: Vec<FileRef> = match artifact {
            Artifact::File(file) => vec![*file],
            Artifact::Folder { files } => files.values().copied().collect(),
            Artifact::Records(_) => Vec::new(),
        };
        for file in files {
            let path = remote.object_path(&file.digest);
            if has_size(&path, file.size) {
                continue;
            }
            let folder = path.parent().unwrap_or(&remote.root);
            fs_err::create_dir_all(folder)?;
            let temporary = tempfile::Builder::new().prefix(".tunesmith-").tempfile_in(folder)?.into_temp_path();
            fs_err::remove_file(&temporary)?;
            reflink_copy::reflink_or_copy(self.path(&file)?, &temporary)?;
            share(&temporary)?;
            temporary.persist(&path).map_err(|error| error.error)?;
        }
        Ok(())
    }
}
