//! `objects/`: larger files under their digest, read-only, placed by a rename.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::stat::stamp;
use super::{Digest, FileRef, Result, Store, StoreError};

impl Store {
    /// Stores a file of the scratch folder or of the work tree; the file itself stays where it is.
    ///
    /// The copy is a reflink where the file system has them. The digest is taken from the copy, so that a file that
    /// changes meanwhile cannot poison the store.
    pub fn put_file(&self, path: &Path) -> Result<FileRef> {
        let temporary = self.landing()?;
        let copy = temporary.path().join("object");
        reflink_copy::reflink_or_copy(path, &copy)?;
        self.adopt(&copy)
    }

    /// Stores bytes as a file object, for outputs that readers open by path.
    pub fn put_file_bytes(&self, bytes: &[u8]) -> Result<FileRef> {
        let temporary = self.landing()?;
        let copy = temporary.path().join("object");
        fs_err::write(&copy, bytes)?;
        self.adopt(&copy)
    }

    /// Stores what `write` writes as a file object. Nothing of it stays in memory, and it is not read again for its digest.
    pub fn put_file_written(&self, write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> Result<FileRef> {
        let temporary = self.landing()?;
        let path = temporary.path().join("object");
        let file = fs_err::File::create(&path)?;
        let mut out = Hashed { out: io::BufWriter::new(file), hasher: blake3::Hasher::new(), size: 0 };
        write(&mut out)?;
        out.out.flush()?;
        let digest = Digest::from_bytes(*out.hasher.finalize().as_bytes());
        self.land(&path, out.out.get_ref(), digest, out.size)
    }

    /// Makes a scratch folder where a new object waits for its digest.
    pub(super) fn landing(&self) -> Result<tempfile::TempDir> {
        Ok(tempfile::Builder::new().prefix("put-").tempdir_in(self.root.join("scratch"))?)
    }

    /// Moves a file that lies on the store's own file system into the store.
    pub fn adopt(&self, path: &Path) -> Result<FileRef> {
        let file = fs_err::File::open(path)?;
        let size = file.metadata()?.len();
        self.land(path, &file, Digest::of_file(path)?, size)
    }

    /// Moves a file of a known digest into the store.
    fn land(&self, path: &Path, file: &fs_err::File, digest: Digest, size: u64) -> Result<FileRef> {
        let target = self.file_path(&digest);
        // What lies there may be damaged: only bytes with the right digest stand for these.
        if !has_size(&target, size) || self.object_digest(&target)? != Some(digest) {
            file.sync_all()?;
            place(path, &target)?;
        }
        self.remember_stat(&target, digest)?;
        Ok(FileRef { digest, size })
    }

    /// Returns a read-only path to a stored file, fetched from the shared folder when only that has it.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or [`StoreError::Damaged`] when its bytes changed on disk: it is then dropped.
    pub fn path(&self, file: &FileRef) -> Result<PathBuf> {
        let path = self.file_path(&file.digest);
        if !has_size(&path, file.size) && !self.fetch_file(file, &path)? {
            let missing = || StoreError::Missing { digest: file.digest };
            return self.lender().ok_or_else(missing)?.path(file);
        }
        match self.object_digest(&path)? {
            Some(digest) if digest == file.digest => Ok(path),
            Some(_) => {
                self.drop_if_damaged(&file.digest)?;
                Err(StoreError::Damaged { digest: file.digest })
            }
            None => Err(StoreError::Missing { digest: file.digest }),
        }
    }

    /// Takes a file away that its maker alone knows: an older state of a run. The shared folder has none of these.
    pub fn drop_file(&self, file: &FileRef) -> Result<()> {
        remove_if_there(&self.file_path(&file.digest))
    }

    /// Returns read-only paths to stored files, by the names that they have in their folder.
    ///
    /// # Errors
    /// Those of [`Store::path`].
    pub fn paths(&self, files: &BTreeMap<String, FileRef>) -> Result<BTreeMap<String, PathBuf>> {
        files.iter().map(|(name, file)| Ok((name.clone(), self.path(file)?))).collect()
    }

    /// Returns whether a file object is here or in the shared folder, by its size.
    pub fn has_file(&self, file: &FileRef) -> bool {
        let path = self.file_path(&file.digest);
        if has_size(&path, file.size) {
            match stamp(&path) {
                Ok(row) => self.watch_file(&path.to_string_lossy(), row),
                Err(_) => self.watch_nothing(),
            }
            return true;
        }
        self.watch_nothing();
        self.remote.as_ref().is_some_and(|remote| has_size(&remote.object_path(&file.digest), file.size))
            || self.lender().is_some_and(|lender| lender.has_file(file))
    }

    /// Returns where a file object lies when it is here.
    pub(super) fn file_path(&self, digest: &Digest) -> PathBuf {
        object_path(&self.root, digest)
    }

    /// Returns the bytes of a file object, checked, or `None` when it is not here.
    pub(super) fn read_file_object(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let path = self.file_path(digest);
        let Some(bytes) = not_found_is_none(fs_err::read(&path).map_err(StoreError::from))? else { return Ok(None) };
        if Digest::of(&bytes) != *digest {
            self.drop_if_damaged(digest)?;
            return Err(StoreError::Damaged { digest: *digest });
        }
        Ok(Some(bytes))
    }

    /// Returns the digest of what lies in an object's place, `None` when nothing does.
    fn object_digest(&self, path: &Path) -> Result<Option<Digest>> {
        loop {
            match not_found_is_none(self.file_digest(path)) {
                // Nobody writes into an object: it was taken away or replaced whole, and a new look settles it.
                Err(StoreError::Changed { .. }) => {}
                settled => return settled,
            }
        }
    }

    /// Takes a file object away unless its bytes have its digest.
    ///
    /// Readers that find the same damage take turns here: the second one meets no file, or the one that was made again
    /// since, which stays.
    fn drop_if_damaged(&self, digest: &Digest) -> Result<()> {
        let path = self.file_path(digest);
        let _turn = self.dropping.lock().unwrap_or_else(PoisonError::into_inner);
        match not_found_is_none(Digest::of_file(&path).map_err(StoreError::from))? {
            Some(found) if found != *digest => remove_if_there(&path),
            _ => Ok(()),
        }
    }
}

/// Returns where an object lies below a store's root.
pub(super) fn object_path(root: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    root.join("objects").join(&name[..2]).join(&name[2..])
}

/// Returns whether `path` is a plain file of `size` bytes.
pub(super) fn has_size(path: &Path, size: u64) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

/// Turns "there is no such file" into `None`.
fn not_found_is_none<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file; one that somebody else removed first is no error.
pub(super) fn remove_if_there(path: &Path) -> Result<()> {
    not_found_is_none(fs_err::remove_file(path).map_err(StoreError::from))?;
    Ok(())
}

/// Takes the digest of what goes through it.
struct Hashed {
    out: io::BufWriter<fs_err::File>,
    hasher: blake3::Hasher,
    size: u64,
}

impl io::Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.hasher.update_rayon(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Renames `path` to `target`, read-only and durable. Another process that placed the same object first is no error.
pub(super) fn place(path: &Path, target: &Path) -> Result<()> {
    let folder = target.parent().unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let mut permissions = fs_err::metadata(path)?.permissions();
    permissions.set_readonly(true);
    fs_err::set_permissions(path, permissions)?;
    fs_err::rename(path, target)?;
    sync_folder(folder);
    Ok(())
}

/// Makes a rename in `folder` durable. Some file systems cannot sync a folder; the rename is then as durable as they are.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = fs_err::File::open(folder) {
        folder.sync_all().ok();
    }
}

/// Writes `bytes` so that a reader sees the old file or the new one, never a part, whatever happens to the machine.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, true)
}

/// As [`write_atomically`], for what is only a memo and whose content shows whether it is whole.
pub(super) fn write_memo(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, false)
}

fn replace(path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any other file of this user: a temporary file would be for nobody else.
    let permissions = std::fs::Permissions::from_mode(0o666);
    let mut temporary = tempfile::Builder::new().prefix(".tunesmith-").permissions(permissions).tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    if durable {
        temporary.as_file().sync_all()?;
    }
    temporary.persist(path).map_err(|error| error.error)?;
    if durable {
        sync_folder(folder);
    }
    Ok(())
}
