//! The shared folder: immutable files and renames only, so that it works on NFS and for users of other rights.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
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
        if !root.is_dir() {
            fs_err::create_dir_all(root)?;
            fs_err::set_permissions(root, Permissions::from_mode(0o775))?;
        }
        let remote = Self { root: root.to_owned() };
        for folder in ["objects", "actions"] {
            remote.make_folder(&root.join(folder))?;
        }
        let format = root.join("format");
        if !format.exists() {
            remote.write(&format, super::FORMAT.as_bytes())?;
        }
        super::check_format(root)?;
        Ok(remote)
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

    /// Publishes an action record.
    pub(super) fn put_action(&self, key: &Digest, record: &str) -> Result<()> {
        self.write(&self.action_path(key), record.as_bytes())
    }

    /// Returns whether the shared folder itself has an artifact: files by size, a record set by its root.
    pub(super) fn holds(&self, artifact: &Artifact) -> bool {
        let has_file = |file: &FileRef| has_size(&self.object_path(&file.digest), file.size);
        match artifact {
            Artifact::File(file) => has_file(file),
            Artifact::Folder { files } => files.values().all(has_file),
            Artifact::Records(records) => self.object_path(&records.root).exists(),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.place(path, |temporary| Ok(fs_err::write(temporary, bytes)?))
    }

    /// Fills a file under a temporary name beside `path` and renames it, so that a reader sees all of it or nothing.
    /// Everybody of the team may read it and nobody write it, whatever this user's umask says.
    fn place(&self, path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        self.make_folder(folder)?;
        let temporary = tempfile::Builder::new().prefix(".tunesmith-").tempfile_in(folder)?.into_temp_path();
        fill(&temporary)?;
        fs_err::set_permissions(&temporary, Permissions::from_mode(0o444))?;
        fs_err::File::open(&temporary)?.sync_all()?;
        temporary.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Makes a folder with the rights of the root: who may write that may write here, whatever this user's umask says.
    fn make_folder(&self, folder: &Path) -> Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(parent) = folder.parent().filter(|parent| parent.starts_with(&self.root)) {
            self.make_folder(parent)?;
        }
        match fs_err::create_dir(folder) {
            Ok(()) => {
                let mode = fs_err::metadata(&self.root)?.permissions().mode() & 0o7777;
                Ok(fs_err::set_permissions(folder, Permissions::from_mode(mode))?)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What this user may not read is not there for him: the node runs here.
fn absent_is_none<T>(result: io::Result<T>) -> Result<Option<T>> {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory | PermissionDenied) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Store {
    /// Copies an object of the shared folder into the pack and returns its bytes, checked.
    pub(super) fn fetch_object(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let Some(remote) = &self.remote else { return Ok(None) };
        let path = remote.object_path(digest);
        let Some(bytes) = absent_is_none(fs_err::read(&path))? else { return Ok(None) };
        if Digest::of(&bytes) != *digest {
            drop_damaged(&path);
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
        let temporary = self.landing()?;
        let copy = temporary.path().join("object");
        if absent_is_none(reflink_copy::reflink_or_copy(&source, &copy))?.is_none() {
            return Ok(false);
        }
        if Digest::of_file(&copy)? != file.digest {
            drop_damaged(&source);
            return Err(StoreError::Damaged { digest: file.digest });
        }
        self.adopt(&copy)?;
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
            let source = self.path(&file)?;
            remote.place(&path, |temporary| {
                // A reflink is made only where nothing is.
                fs_err::remove_file(temporary)?;
                reflink_copy::reflink_or_copy(&source, temporary)?;
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Takes a damaged object out of the shared folder, so that the next one who makes it puts it there again. Who may not
/// do that builds without it.
fn drop_damaged(path: &Path) {
    fs_err::remove_file(path).ok();
}
