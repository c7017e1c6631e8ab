//! The stat memo: a file that did not change is never read again.
//!
//! An entry vouches for a file when device, inode, size, mtime and ctime are those of the time it was hashed. A file
//! that was written within the clock's granularity of being hashed could change again without its stamps changing
//! ("racily clean", <https://git-scm.com/docs/racy-git>), so such a file gets no entry.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::pending::StatRow;
use super::{Digest, FileRef, Result, Store, StoreError};

/// Coarser than the time stamps of the file systems in use: ext4 and xfs stamp with the kernel's tick of up to 10 ms.
const GRANULARITY: Duration = Duration::from_millis(20);

impl Store {
    /// Returns the digest of the file at `path`, read only when the stat memo does not vouch for it.
    ///
    /// # Errors
    /// [`StoreError::NotAFile`], [`StoreError::Changed`] when it was written meanwhile, and errors of reading it.
    pub fn file_digest(&self, path: &Path) -> Result<Digest> {
        Ok(self.file(path)?.digest)
    }

    /// Returns digest and size of the file at `path`, looked at once.
    ///
    /// # Errors
    /// Those of [`Self::file_digest`].
    pub fn file(&self, path: &Path) -> Result<FileRef> {
        let begun = now();
        let before = stamp(path)?;
        let size = before.size as u64;
        let name = path.to_string_lossy();
        self.watch_file(&name, before);
        if let Some(row) = self.stat_row(&name)?
            && row == (StatRow { digest: row.digest, ..before })
        {
            return Ok(FileRef { digest: row.digest, size });
        }
        let digest = Digest::of_file(path)?;
        let after = stamp(path)?;
        if before != after {
            return Err(StoreError::Changed { path: path.to_owned() });
        }
        // By the time at which reading began: a write during it may have left the stamps as they are.
        if after.is_settled_at(begun) {
            self.put_stat(&name, StatRow { digest, ..after })?;
        }
        Ok(FileRef { digest, size })
    }

    fn stat_row(&self, name: &str) -> Result<Option<StatRow>> {
        if let Some(row) = self.warm().stat(name) {
            return Ok(Some(row));
        }
        let row = self.database.stat(name)?;
        if let Some(row) = row {
            self.warm().keep_stat(name, row);
        }
        Ok(row)
    }

    fn put_stat(&self, name: &str, row: StatRow) -> Result<()> {
        self.warm().keep_stat(name, row);
        self.database.put_stat(name, row)
    }

    /// Notes the digest of a file that the store has just placed.
    pub(super) fn remember_stat(&self, path: &Path, digest: Digest) -> Result<()> {
        let row = StatRow { digest, ..stamp(path)? };
        // Objects are read-only and never written again, so the racy rule has nothing to guard here.
        self.put_stat(&path.to_string_lossy(), row)
    }
}

impl StatRow {
    /// Returns whether what has these stamps was last written so long ago that a further write would change them.
    pub(super) fn is_settled(&self) -> bool {
        self.is_settled_at(now())
    }

    /// The same of `moment`, counted from the Unix epoch: what is in the future of it is not settled.
    fn is_settled_at(&self, moment: Duration) -> bool {
        self.mtime.max(self.ctime) < moment.saturating_sub(GRANULARITY).as_nanos() as i64
    }
}

#[expect(clippy::disallowed_methods, reason = "the racy-write rule compares time stamps with now; no key sees it")]
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Returns a file's identity and stamps, with an empty digest.
pub(super) fn stamp(path: &Path) -> Result<StatRow> {
    let metadata = fs_err::metadata(path)?;
    if !metadata.is_file() {
        return Err(StoreError::NotAFile { path: path.to_owned() });
    }
    Ok(row_of(&metadata))
}

/// Returns the identity and stamps of a folder; `None` when it is none.
pub(super) fn folder_stamp(folder: &Path) -> Result<Option<StatRow>> {
    let metadata = fs_err::metadata(folder)?;
    Ok(metadata.is_dir().then(|| row_of(&metadata)))
}

fn row_of(metadata: &Metadata) -> StatRow {
    StatRow {
        dev: metadata.dev() as i64,
        ino: metadata.ino() as i64,
        size: metadata.size() as i64,
        mtime: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
        ctime: metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec(),
        digest: Digest::from_bytes([0; 32]),
    }
}
