//! Locks between processes: one file a key or `out` path, held by `flock`.

use std::fs::File;

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
        let path = self.root.join("locks").join(name.to_string());
        let file = fs_err::OpenOptions::new().create(true).append(true).open(path)?.into_parts().0;
        file.lock()?;
        Ok(FileLock(file))
    }
}
