//! Locks between processes: one file a key or `out` path, held by `flock`.

use std::fs::{File, TryLockError};

use super::{Digest, Result, Store};

/// A held lock; dropped, it is free. The kernel frees it when the process dies.
#[derive(Debug)]
pub struct FileLock(#[expect(dead_code, reason = "held for its effect")] File);

impl FileLock {
    /// Returns a lock that is held by `file`.
    pub(super) fn new(file: File) -> Self {
        Self(file)
    }
}

impl Store {
    /// Waits for the lock on `name`, such as a key: whoever held it may have done the work meanwhile.
    pub fn lock(&self, name: &Digest) -> Result<FileLock> {
        let file = self.lock_file(name)?;
        file.lock()?;
        Ok(FileLock(file))
    }

    /// Takes the lock on `name`; `None` when somebody holds it.
    pub fn try_lock(&self, name: &Digest) -> Result<Option<FileLock>> {
        let file = self.lock_file(name)?;
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

    fn lock_file(&self, name: &Digest) -> Result<File> {
        let path = self.root.join("locks").join(name.to_string());
        Ok(fs_err::OpenOptions::new().create(true).append(true).open(path)?.into_parts().0)
    }
}
