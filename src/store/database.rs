//! `index.sqlite`: every small thing of the store in one crash-safe file, written in groups.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior};
use serde::{Deserialize, Serialize};

use super::compression;
use super::pending::{Pending, StatRow};
use super::{Digest, FileLock, MemoEntry, Result};

/// The longest time that a finished light result waits for its group.
const GROUP_DELAY: Duration = Duration::from_millis(200);
/// Bytes for which a group does not wait longer.
const GROUP_BYTES: usize = 16 << 20;
/// The most bytes that wait: whoever puts more writes a group first. Between the two, work goes on while a group is written.
const MOST_BYTES: usize = 3 * GROUP_BYTES;
/// The most locks that wait for a group: each is an open file.
const GROUP_LOCKS: usize = 256;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS object (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS action (key BLOB PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS stat (
        path TEXT PRIMARY KEY, dev INTEGER, ino INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER,
        digest BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS memo (
        scope BLOB NOT NULL, input BLOB NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (scope, input)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS meta (id BLOB NOT NULL, writes INTEGER NOT NULL);
    INSERT INTO meta SELECT randomblob(16), 0 WHERE NOT EXISTS (SELECT 1 FROM meta);
";

/// A state of the index: which index it is, and how often it was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generation {
    id: [u8; 16],
    writes: i64,
}

/// The open index with what waits for the next group.
#[derive(Debug)]
pub(super) struct Database {
    shared: Arc<Shared>,
    flusher: Option<std::thread::JoinHandle<()>>,
    opened_at: Generation,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// For those who read while a group is written; opened by the first of them.
    reader: OnceLock<Mutex<Connection>>,
    /// The state that this process has last seen or made; `None` after another one wrote.
    generation: Mutex<Option<Generation>>,
    pending: Mutex<Pending>,
    wake: Condvar,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_mins(1))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -32_000)?;
        connection.execute_batch(SCHEMA)?;
        connection.set_prepared_statement_cache_capacity(64);
        let generation = Generation::read(&connection)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            reader: OnceLock::new(),
            generation: Mutex::new(Some(generation)),
            pending: Mutex::new(Pending::default()),
            wake: Condvar::new(),
        });
        let background = Arc::clone(&shared);
        let flusher =
            std::thread::Builder::new().name("store-commit".into()).spawn(move || background.commit_groups())?;
        Ok(Self { shared, flusher: Some(flusher), opened_at: generation })
    }

    /// Returns the state of the index when it was opened.
    pub(super) fn generation(&self) -> Generation {
        self.opened_at
    }

    /// Returns the state of the index when nobody else wrote to it since it was opened.
    pub(super) fn settled_generation(&self) -> Result<Option<Generation>> {
        self.flush()?;
        let now = Generation::read(&self.connection())?;
        Ok(Some(now).filter(|now| *self.shared.generation() == Some(*now)))
    }

    pub(super) fn flush(&self) -> Result<()> {
        self.shared.commit()
    }

    /// Frees a lock after the next group was written.
    pub(super) fn release(&self, lock: FileLock) -> Result<()> {
        let full = {
            let mut pending = self.pending();
            if pending.is_empty() {
                return Ok(());
            }
            pending.locks.push(lock);
            pending.locks.len() >= GROUP_LOCKS
        };
        if full { self.flush() } else { Ok(()) }
    }

    pub(super) fn put_object(&self, digest: Digest, bytes: &[u8]) -> Result<()> {
        if self.has_object(&digest)? {
            return Ok(());
        }
        let stored = compression::stored(bytes);
        self.put(|pending| {
            pending.bytes += stored.len();
            pending.entries.objects.insert(digest, stored.into());
        })
    }

    /// Returns the stored form of an object.
    pub(super) fn object(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        if let Some(bytes) = self.pending().entries.objects.get(digest) {
            return Ok(Some(bytes.to_vec()));
        }
        self.row("SELECT bytes FROM object WHERE digest = ?", digest)
    }

    pub(super) fn has_object(&self, digest: &Digest) -> Result<bool> {
        if self.pending().entries.objects.contains_key(digest) {
            return Ok(true);
        }
        Ok(self.row::<i64>("SELECT 1 FROM object WHERE digest = ?", digest)?.is_some())
    }

    /// Drops an object whose stored form was found `damaged`; one that was made again since stays.
    pub(super) fn drop_object(&self, digest: &Digest, damaged: &[u8]) -> Result<()> {
        self.shared.write(&mut self.connection(), |transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM object WHERE digest = ? AND bytes = ?")?;
            statement.execute((digest.as_bytes(), damaged)).map(drop)
        })
    }

    pub(super) fn put_action(&self, key: Digest, record: String) -> Result<()> {
        self.put(|pending| {
            pending.bytes += record.len();
            pending.entries.actions.insert(key, record);
        })
    }

    pub(super) fn action(&self, key: &Digest) -> Result<Option<String>> {
        if let Some(record) = self.pending().entries.actions.get(key) {
            return Ok(Some(record.clone()));
        }
        self.row("SELECT record FROM action WHERE key = ?", key)
    }

    pub(super) fn drop_action(&self, key: &Digest) -> Result<()> {
        self.flush()?;
        self.shared.write(&mut self.connection(), |transaction| {
            transaction.prepare_cached("DELETE FROM action WHERE key = ?")?.execute([key.as_bytes()]).map(drop)
        })
    }

    pub(super) fn put_state(&self, name: &str, value: String) -> Result<()> {
        self.put(|pending| {
            pending.entries.states.insert(name.to_owned(), value);
        })
    }

    pub(super) fn state(&self, name: &str) -> Result<Option<String>> {
        if let Some(value) = self.pending().entries.states.get(name) {
            return Ok(Some(value.clone()));
        }
        let connection = self.shared.reader()?;
        let mut statement = connection.prepare_cached("SELECT value FROM state WHERE name = ?")?;
        Ok(statement.query_row([name], |row| row.get(0)).optional()?)
    }

    /// Returns the values of all states whose names start with `prefix`, in order of the names.
    pub(super) fn states(&self, prefix: &str) -> Result<Vec<String>> {
        self.with_connection(|connection| {
            let mut statement =
                connection.prepare("SELECT value FROM state WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name")?;
            statement.query_map([prefix], |row| row.get(0))?.collect()
        })
    }

    pub(super) fn put_stat(&self, path: &str, row: StatRow) -> Result<()> {
        self.put(|pending| {
            pending.entries.stats.insert(path.to_owned(), row);
        })
    }

    pub(super) fn stat(&self, path: &str) -> Result<Option<StatRow>> {
        if let Some(row) = self.pending().entries.stats.get(path) {
            return Ok(Some(*row));
        }
        let connection = self.shared.reader()?;
        let mut statement =
            connection.prepare_cached("SELECT dev, ino, size, mtime, ctime, digest FROM stat WHERE path = ?")?;
        let row = statement.query_row([path], |row| {
            Ok(StatRow {
                dev: row.get(0)?,
                ino: row.get(1)?,
                size: row.get(2)?,
                mtime: row.get(3)?,
                ctime: row.get(4)?,
                digest: Digest::from_bytes(row.get(5)?),
            })
        });
        Ok(row.optional()?)
    }

    pub(super) fn put_memo(&self, scope: Digest, entry: MemoEntry) -> Result<()> {
        self.put(|pending| {
            pending.bytes += entry.value.len();
            pending.entries.memos.insert((scope, entry.input), Arc::new(entry));
        })
    }

    pub(super) fn memo(&self, scope: &Digest, input: &Digest) -> Result<Option<Vec<u8>>> {
        if let Some(entry) = self.pending().entries.memos.get(&(*scope, *input)) {
            return Ok(Some(entry.value.clone()));
        }
        let connection = self.shared.reader()?;
        let mut statement = connection.prepare_cached("SELECT value FROM memo WHERE scope = ? AND input = ?")?;
        Ok(statement.query_row([scope.as_bytes(), input.as_bytes()], |row| row.get(0)).optional()?)
    }

    /// Runs `f` in a transaction, after everything that waits was written. For gc.
    pub(super) fn write<T>(&self, f: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        self.flush()?;
        self.shared.write(&mut self.connection(), f)
    }

    /// Runs `f` on the connection, after everything that waits was written. For statistics and checks.
    pub(super) fn with_connection<T>(&self, f: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.flush()?;
        Ok(f(&mut self.connection())?)
    }

    fn put(&self, change: impl FnOnce(&mut Pending)) -> Result<()> {
        let full = {
            let mut pending = self.pending();
            change(&mut pending);
            pending.bytes >= MOST_BYTES
        };
        self.shared.wake.notify_one();
        if full { self.flush() } else { Ok(()) }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn row<T: rusqlite::types::FromSql>(&self, sql: &str, digest: &Digest) -> Result<Option<T>> {
        let connection = self.shared.reader()?;
        let mut statement = connection.prepare_cached(sql)?;
        Ok(statement.query_row([digest.as_bytes()], |row| row.get(0)).optional()?)
    }
}

impl Generation {
    /// Returns the state of the index at `path` without opening it for more; `None` when that cannot be told.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).ok()?;
        connection.busy_timeout(Duration::from_mins(1)).ok()?;
        Self::read(&connection).ok()
    }

    fn read(connection: &Connection) -> Result<Self> {
        let row = |row: &rusqlite::Row<'_>| Ok(Self { id: row.get(0)?, writes: row.get(1)? });
        Ok(connection.query_row("SELECT id, writes FROM meta", [], row)?)
    }
}

impl Shared {
    fn generation(&self) -> MutexGuard<'_, Option<Generation>> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a connection to read what was committed: the one that writes, or, while a group is being written, one of its
    /// own. What was put before is there or still pending, since a group leaves [`Pending`] after its commit.
    fn reader(&self) -> Result<MutexGuard<'_, Connection>> {
        match self.connection.try_lock() {
            Ok(connection) => return Ok(connection),
            Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        }
        let reader = if let Some(reader) = self.reader.get() {
            reader
        } else {
            let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            connection.busy_timeout(Duration::from_mins(1))?;
            self.reader.get_or_init(|| Mutex::new(connection))
        };
        Ok(reader.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs `change` in a transaction that counts as one write of this process.
    fn write<T>(
        &self,
        connection: &mut Connection,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = change(&transaction)?;
        transaction.execute("UPDATE meta SET writes = writes + 1", [])?;
        let now = Generation::read(&transaction)?;
        transaction.commit()?;
        let mut generation = self.generation();
        let is_next = generation.is_some_and(|before| before.id == now.id && before.writes + 1 == now.writes);
        *generation = Some(now).filter(|_| is_next);
        Ok(result)
    }

    /// Writes a group whenever something has waited for [`GROUP_DELAY`], until the database is closed.
    fn commit_groups(&self) {
        loop {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            while pending.is_empty() && !pending.closed {
                pending = self.wake.wait(pending).unwrap_or_else(PoisonError::into_inner);
            }
            if pending.closed {
                return;
            }
            // Whoever closes the database writes what waits, and need not wait for this thread's delay.
            let is_open = |pending: &mut Pending| !pending.closed && pending.bytes < GROUP_BYTES;
            let delay = self.wake.wait_timeout_while(pending, GROUP_DELAY, is_open);
            drop(delay.unwrap_or_else(PoisonError::into_inner));
            // An error here is not lost: what could not be written stays pending, and the next flush reports it.
            self.commit().ok();
        }
    }

    /// Writes what waits in one transaction. It leaves [`Pending`] only after the commit, so that a reader sees each entry
    /// either there or in the file.
    fn commit(&self) -> Result<()> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let group = {
            let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            if pending.is_empty() {
                return Ok(());
            }
            pending.group()
        };
        self.write(&mut connection, |transaction| group.write(transaction))?;
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).written(group);
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.wake.notify_one();
        // A failed last write loses only what a crash would lose: the newest light results, built again next time.
        self.shared.commit().ok();
        if let Some(flusher) = self.flusher.take() {
            flusher.join().ok();
        }
    }
}
