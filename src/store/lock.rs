//! Locks between processes: one file a key or `out` path, held by `flock`.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::{Digest, Result, Store};

/// A held lock; dropped, it is free. The kernel frees it when the process dies.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "held for its effect")] File);

impl FileLock {
    /// Returns a lock that is held by `file`.
    pub(super) fn new(file: File) -> Self {
        Self(file)
    }

    /// Waits for the lock on the file at `path`, made when absent.
    pub(super) fn wait(path: &Path) -> Result<Self> {
        let file = open(path)?;
        file.lock()?;
        Ok(Self(file))
    }
}

impl Store {
    /// Waits for the lock on `name`, such as a key: whoever held it may have done the work meanwhile.
    pub fn lock(&self, name: &Digest) -> Result<FileLock> {
        FileLock::wait(&self.lock_path(name))
    }

    /// Takes the lock on `name`; `None` when somebody holds it.
    pub fn try_lock(&self, name: &Digest) -> Result<Option<FileLock>> {
        let file = open(&self.lock_path(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(FileLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Frees a lock as soon as other processes see all that was put before: the next group.
    pub fn release(&self, lock: FileLock) -> Result<()> {
        self.database.release(lock)
    }

    fn lock_path(&self, name: &Digest) -> PathBuf {
        self.root.join("locks").join(name.to_string())
    }
}

fn open(path: &Path) -> Result<File> {
    Ok(fs_err::OpenOptions::new().create(true).append(true).open(path)?.into_parts().0)
}
