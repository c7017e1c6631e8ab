//! What was put into the store and is not yet in its index, and the groups in which it gets there.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::{Digest, FileLock, MemoEntry};

/// What was put but is not yet in the file; reads look here first.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) entries: Entries,
    /// Freed after the next group.
    pub(super) locks: Vec<FileLock>,
    /// About how many bytes wait.
    pub(super) bytes: usize,
    pub(super) closed: bool,
}

/// Entries of the index by their keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    pub(super) objects: BTreeMap<Digest, Arc<[u8]>>,
    pub(super) actions: BTreeMap<Digest, String>,
    pub(super) states: BTreeMap<String, String>,
    pub(super) stats: BTreeMap<String, StatRow>,
    pub(super) memos: BTreeMap<(Digest, Digest), Arc<MemoEntry>>,
}

/// What is written in one transaction.
pub(super) struct Group {
    entries: Entries,
    locks: Vec<FileLock>,
}

/// A file's identity and time stamps beside its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StatRow {
    pub(super) dev: i64,
    pub(super) ino: i64,
    pub(super) size: i64,
    pub(super) mtime: i64,
    pub(super) ctime: i64,
    pub(super) digest: Digest,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        let Entries { objects, actions, states, stats, memos } = &self.entries;
        objects.is_empty() && actions.is_empty() && states.is_empty() && stats.is_empty() && memos.is_empty()
    }

    /// Returns all that waits, which stays here until it is [`Self::written`].
    pub(super) fn group(&mut self) -> Group {
        Group { entries: self.entries.clone(), locks: std::mem::take(&mut self.locks) }
    }

    /// Forgets what was written, but for what was put again with another value, and frees the group's locks.
    pub(super) fn written(&mut self, group: Group) {
        let Group { entries: written, locks } = group;
        drop(locks);
        let entries = &mut self.entries;
        entries.objects.retain(|digest, _| !written.objects.contains_key(digest));
        entries.actions.retain(|key, record| written.actions.get(key) != Some(record));
        entries.states.retain(|name, value| written.states.get(name) != Some(value));
        entries.stats.retain(|path, row| written.stats.get(path) != Some(row));
        entries.memos.retain(|key, entry| written.memos.get(key) != Some(entry));
        self.bytes = self.entries.objects.values().map(|bytes| bytes.len()).sum();
        if self.is_empty() {
            // Locks that were given meanwhile guard what this group has written.
            self.locks.clear();
        }
    }
}

impl Group {
    /// Writes all entries.
    pub(super) fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let Entries { objects, actions, states, stats, memos } = &self.entries;
        let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO object VALUES (?, ?)")?;
        for (digest, bytes) in objects {
            insert.execute(params![digest.as_bytes(), &bytes[..]])?;
        }
        let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO action VALUES (?, ?)")?;
        for (key, record) in actions {
            insert.execute(params![key.as_bytes(), record])?;
        }
        let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO state VALUES (?, ?)")?;
        for (name, value) in states {
            insert.execute(params![name, value])?;
        }
        let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO stat VALUES (?, ?, ?, ?, ?, ?, ?)")?;
        for (path, row) in stats {
            let StatRow { dev, ino, size, mtime, ctime, digest } = row;
            insert.execute(params![path, dev, ino, size, mtime, ctime, digest.as_bytes()])?;
        }
        let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO memo VALUES (?, ?, ?, ?, ?)")?;
        for ((scope, input), entry) in memos {
            insert.execute(params![scope.as_bytes(), input.as_bytes(), entry.first, entry.last, entry.value])?;
        }
        Ok(())
    }
}
