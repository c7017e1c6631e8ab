//! Making room, counting and checking: `tunesmith cache {gc,stat,verify}`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use super::compression;
use super::files::remove_if_there;
use super::{Artifact, Digest, FileLock, Result, Store, StoreError};

/// The lock that says whether anybody uses the store.
const IN_USE: &str = "in-use";

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StoreStat {
    /// Action records.
    pub actions: u64,
    /// Packed small objects.
    pub packed: u64,
    /// Their bytes in the index, where most are compressed.
    pub packed_bytes: u64,
    /// File objects.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Memoised chunks of record-wise work.
    pub memos: u64,
}

/// What a collection removed, or would remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Collected {
    /// Action records.
    pub actions: u64,
    /// Objects, packed and files.
    pub objects: u64,
    /// Bytes of those objects.
    pub bytes: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    /// Objects whose bytes were read and are right.
    pub right: u64,
    /// Objects that were damaged and dropped: their producers run again.
    pub damaged: Vec<Digest>,
    /// Action records that cannot be read and were dropped.
    pub unreadable_actions: u64,
}

/// What a collection keeps.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// Action records to keep, with everything that they name.
    pub keys: BTreeSet<Digest>,
    /// Objects to keep beside: the snapshots of the locks, and the packed objects of all record sets that are kept.
    pub objects: BTreeSet<Digest>,
}

/// The right to collect: no other process uses the store while it is held.
#[derive(Debug)]
pub struct Alone {
    _lock: FileLock,
}

impl Store {
    /// Says that this process reads and writes the store, so that no collection runs meanwhile.
    pub fn in_use(&self) -> Result<FileLock> {
        let file = self.usage_file()?;
        file.lock_shared()?;
        Ok(FileLock::new(file))
    }

    /// Keeps every other process out of the store, for a collection. Roots are gathered under it, so that nothing that
    /// a build publishes meanwhile can be missed.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while a build runs.
    pub fn alone(&self) -> Result<Alone> {
        let file = self.usage_file()?;
        match file.try_lock() {
            Ok(()) => Ok(Alone { _lock: FileLock::new(file) }),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse),
            Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Removes what `roots` do not keep; with `dry_run` only counts it.
    ///
    /// # Errors
    /// Errors of the file system and of SQLite.
    pub fn collect(&self, _alone: &Alone, roots: &Roots, dry_run: bool) -> Result<Collected> {
        let mut live = roots.objects.clone();
        for key in &roots.keys {
            if let Some(record) = self.action(key)? {
                live.extend(record.outputs.values().flat_map(file_digests));
            }
        }
        let mut collected = self.collect_rows(&roots.keys, &live, dry_run)?;
        for (digest, path, size) in self.file_objects()? {
            if !live.contains(&digest) {
                collected.objects += 1;
                collected.bytes += size;
                if !dry_run {
                    remove_if_there(&path)?;
                }
            }
        }
        if !dry_run {
            self.clear_scratch()?;
        }
        Ok(collected)
    }

    /// Removes what killed runs left, and the files of locks that were free long ago; nobody runs now.
    fn clear_scratch(&self) -> Result<()> {
        for entry in fs_err::read_dir(self.root.join("locks"))? {
            let entry = entry?;
            // Whoever waits for the store has this one open.
            if entry.file_name() != IN_USE {
                remove_if_there(&entry.path())?;
            }
        }
        for entry in fs_err::read_dir(self.root.join("scratch"))? {
            let path = entry?.path();
            if path.is_dir() {
                fs_err::remove_dir_all(path)?;
            }
        }
        Ok(())
    }

    fn collect_rows(&self, keys: &BTreeSet<Digest>, live: &BTreeSet<Digest>, dry_run: bool) -> Result<Collected> {
        let collected = self.database.write(|transaction| {
            transaction.execute_batch(
                "CREATE TEMP TABLE live (digest BLOB PRIMARY KEY) WITHOUT ROWID;
                 CREATE TEMP TABLE kept (key BLOB PRIMARY KEY) WITHOUT ROWID;",
            )?;
            {
                let mut insert = transaction.prepare("INSERT INTO live VALUES (?)")?;
                for digest in live {
                    insert.execute([digest.as_bytes()])?;
                }
                let mut insert = transaction.prepare("INSERT INTO kept VALUES (?)")?;
                for key in keys {
                    insert.execute([key.as_bytes()])?;
                }
            }
            let (objects, bytes) = transaction.query_row(
                "SELECT count(*), coalesce(sum(length(bytes)), 0) FROM object WHERE digest NOT IN live",
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
            )?;
            let actions: i64 =
                transaction.query_row("SELECT count(*) FROM action WHERE key NOT IN kept", [], |row| row.get(0))?;
            if !dry_run {
                // The memo names objects in forms that only its users know, so it goes as a whole.
                transaction.execute_batch(
                    "DELETE FROM object WHERE digest NOT IN live;
                     DELETE FROM action WHERE key NOT IN kept;
                     DELETE FROM memo;",
                )?;
            }
            transaction.execute_batch("DROP TABLE live; DROP TABLE kept;")?;
            Ok(Collected { actions: actions as u64, objects: objects as u64, bytes: bytes as u64 })
        })?;
        if !dry_run {
            self.database.with_connection(|connection| connection.execute_batch("VACUUM"))?;
        }
        Ok(collected)
    }

    /// Counts what the store holds.
    pub fn stat(&self) -> Result<StoreStat> {
        let mut stat = self.database.with_connection(|connection| {
            connection.query_row(
                "SELECT (SELECT count(*) FROM action), (SELECT count(*) FROM object),
                        (SELECT coalesce(sum(length(bytes)), 0) FROM object), (SELECT count(*) FROM memo)",
                [],
                |row| {
                    let number = |index| row.get::<_, i64>(index).map(|number| number as u64);
                    Ok(StoreStat {
                        actions: number(0)?,
                        packed: number(1)?,
                        packed_bytes: number(2)?,
                        memos: number(3)?,
                        ..StoreStat::default()
                    })
                },
            )
        })?;
        for (_, _, size) in self.file_objects()? {
            stat.files += 1;
            stat.file_bytes += size;
        }
        Ok(stat)
    }

    /// Reads every object and drops those whose bytes have another digest.
    pub fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        let (right, damaged) = self.database.with_connection(|connection| {
            let mut right = 0;
            let mut damaged = Vec::new();
            let mut statement = connection.prepare("SELECT digest, bytes FROM object")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let digest = Digest::from_bytes(row.get(0)?);
                let stored = row.get_ref(1)?.as_blob().unwrap_or_default();
                if compression::read(stored).is_some_and(|bytes| Digest::of(&bytes) == digest) {
                    right += 1;
                } else {
                    damaged.push((digest, stored.to_vec()));
                }
            }
            Ok((right, damaged))
        })?;
        verified.right = right;
        for (digest, stored) in damaged {
            self.database.drop_object(&digest, &stored)?;
            verified.damaged.push(digest);
        }
        for (digest, path, _) in self.file_objects()? {
            if Digest::of_file(&path)? == digest {
                verified.right += 1;
            } else {
                remove_if_there(&path)?;
                verified.damaged.push(digest);
            }
        }
        verified.unreadable_actions = self.drop_unreadable_actions()?;
        Ok(verified)
    }

    fn drop_unreadable_actions(&self) -> Result<u64> {
        let keys: Vec<Digest> = self.database.with_connection(|connection| {
            let mut statement = connection.prepare("SELECT key FROM action")?;
            let keys = statement.query_map([], |row| Ok(Digest::from_bytes(row.get(0)?)))?;
            keys.collect()
        })?;
        let mut dropped = 0;
        for key in keys {
            if self.is_unreadable_action(&key)? {
                self.drop_action(&key)?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// Returns the file objects: digest, path, bytes.
    fn file_objects(&self) -> Result<Vec<(Digest, PathBuf, u64)>> {
        let mut objects = Vec::new();
        for folder in fs_err::read_dir(self.root.join("objects"))? {
            let folder = folder?;
            for entry in fs_err::read_dir(folder.path())? {
                let entry = entry?;
                let name = format!("{}{}", folder.file_name().to_string_lossy(), entry.file_name().to_string_lossy());
                if let Ok(digest) = name.parse() {
                    objects.push((digest, entry.path(), entry.metadata()?.len()));
                }
            }
        }
        Ok(objects)
    }

    fn usage_file(&self) -> Result<std::fs::File> {
        let path = self.root.join("locks").join(IN_USE);
        Ok(fs_err::OpenOptions::new().create(true).append(true).open(path)?.into_parts().0)
    }
}

/// Returns the digests of an artifact that name it as a whole: files, and the root of a record set.
fn file_digests(artifact: &Artifact) -> Vec<Digest> {
    match artifact {
        Artifact::File(file) => vec![file.digest],
        Artifact::Folder { files } => files.values().map(|file| file.digest).collect(),
        Artifact::Records(records) => vec![records.root],
    }
}
