//! The content-addressed store: `cache/` beside the manifest, and a shared folder as second store.
//!
//! ```text
//! cache/
//!   format            the store's format version
//!   settled           the answer of the last build that found everything as it was
//!   warm              what the last build looked up in the index, for the next one to read at once
//!   index.sqlite      packed small objects, as LZ4 · action records · stat memo · memo of record-wise work · node states
//!   objects/ab/…      larger files, named by digest, read-only
//!   locks/            one file a key or `out` path that is being worked on
//!   runs/             one event log a build
//!   scratch/          folders of running nodes
//! ```
//!
//! The store sees keys and bytes; it does not know what a node is. Small objects and action records are written in
//! groups, at the latest 200 ms after they were given: objects first and records in the same transaction or a later
//! one, so that a crash can lose the newest records but never leave one without its bytes.
//!
//! Architecture invariant: nothing is read back without its digest being checked, except files that the stat memo
//! vouches for.

mod action;
mod artifact;
mod compression;
mod database;
mod digest;
mod error;
mod files;
mod gc;
mod key;
mod lock;
mod memo;
mod pending;
mod remote;
mod settled;
mod space;
mod stat;
mod warm;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use database::Database;
use remote::Remote;
use settled::Watched;
use warm::Warm;

pub use action::{ActionRecord, Known, Provenance};
pub use artifact::{Artifact, FileRef, RecordsRef};
pub use digest::{Digest, ParseDigestError, hexadecimal};
pub use error::StoreError;
pub use files::write_atomically;
pub use gc::{Alone, Collected, Roots, StoreStat, Verified};
pub use key::{Explained, Key, KeyChange, KeySink};
pub use lock::FileLock;
pub use memo::MemoEntry;
pub use settled::Settled;
pub use space::free_space;

/// Results of the store's calls.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The version of everything on disk below `cache/`.
const FORMAT: &str = "tunesmith store 2\n";

/// An open store. Cheap to share; every call may come from any thread, and several processes may hold one open.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    database: Database,
    remote: Option<Remote>,
    /// Artifacts that name bytes which turned out missing or damaged since the store was opened.
    broken: Mutex<BTreeSet<Digest>>,
    /// Held while a damaged file is taken away.
    dropping: Mutex<()>,
    warm: Mutex<Warm>,
    /// Whether what the last build looked up was left unread: then it is left as it is.
    cold: bool,
    watched: Mutex<Watched>,
    keeps_no_memos: bool,
    /// What lacks here is read from there.
    lender: Option<Box<Store>>,
}

/// A store that is about to be opened.
#[derive(Debug)]
pub struct Opening {
    root: PathBuf,
    warm: Option<JoinHandle<warm::Read>>,
    cold: bool,
}

impl Store {
    /// Opens the store at `root`, making it when absent, with an optional shared folder as second store.
    ///
    /// # Errors
    /// [`StoreError::Format`] when another version of tunesmith made it; errors of the file system and of SQLite.
    pub fn open(root: &Path, remote: Option<&Path>) -> Result<Self> {
        Self::prepare(root).open(remote)
    }

    /// Starts to read what opening the store at `root` needs. Nothing is made or written.
    pub fn prepare(root: &Path) -> Opening {
        let path = warm_path(root);
        let warm = std::thread::Builder::new().name("store-read".into()).spawn(move || Warm::read(&path)).ok();
        Opening { root: root.to_owned(), warm, cold: false }
    }

    /// Opens the store for a command that looks up so little that reading what the last build looked up would take longer.
    pub fn cold(root: &Path) -> Opening {
        Opening { root: root.to_owned(), warm: None, cold: true }
    }
}

impl Opening {
    /// Opens the store, making it when absent; as [`Store::open`].
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub fn open(self, remote: Option<&Path>) -> Result<Store> {
        let root = &self.root;
        make_folders(root).map_err(|cause| match cause.kind() {
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
                StoreError::ReadOnly { root: root.clone(), cause }
            }
            _ => cause.into(),
        })?;
        check_format(root)?;
        // One after the other: SQLite does not wait while another process turns a new index to its write-ahead log.
        let turn = FileLock::wait(&root.join("locks/opening"))?;
        let database = Database::open(&root.join("index.sqlite"))?;
        drop(turn);
        let remote = remote.map(Remote::open).transpose()?;
        let read = self.warm.and_then(|reading| reading.join().ok().flatten());
        let warm = Mutex::new(Warm::of(read, database.generation()));
        Ok(Store {
            root: root.to_owned(),
            database,
            remote,
            broken: Mutex::default(),
            dropping: Mutex::default(),
            watched: Mutex::default(),
            warm,
            cold: self.cold,
            keeps_no_memos: false,
            lender: None,
        })
    }
}

/// Makes what a store's folder has in it, and sees whether more could be written there.
fn make_folders(root: &Path) -> std::io::Result<()> {
    if !root.exists() {
        fs_err::create_dir_all(root)?;
        // A folder of its own is nothing that git should have.
        fs_err::write(root.join(".gitignore"), "*\n")?;
    }
    for folder in ["objects", "locks", "runs", "scratch"] {
        fs_err::create_dir_all(root.join(folder))?;
    }
    tempfile::tempfile_in(root.join("scratch")).map(drop)
}

impl Store {
    /// Returns the folder that the store lives in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the shared folder, if there is one.
    pub fn remote_root(&self) -> Option<&Path> {
        self.remote.as_ref().map(Remote::root)
    }

    /// Reads from another store the bytes that this one lacks. Nothing is put there: what runs with this store gives is
    /// known to nobody else.
    pub fn borrowing(mut self, lender: Self) -> Self {
        self.lender = Some(Box::new(lender));
        self
    }

    /// Returns the store that bytes are borrowed from, if there is one.
    pub fn lender(&self) -> Option<&Self> {
        self.lender.as_deref()
    }

    /// Stores `bytes` as a packed small object. For record chunks, tree nodes, explained keys; not for large files.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        self.database.put_object(digest, bytes)?;
        Ok(digest)
    }

    /// Returns the bytes with this digest, from the pack, from `objects/`, or from the shared folder.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when no store has it, [`StoreError::Damaged`] when its bytes have another digest: the
    /// object is then dropped, so that its producer runs again.
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>> {
        if let Some(stored) = self.database.object(digest)? {
            if let Some(bytes) = compression::read(&stored).filter(|bytes| Digest::of(bytes) == *digest) {
                return Ok(bytes);
            }
            self.database.drop_object(digest, &stored)?;
            *self.warm() = Warm::default();
            return Err(StoreError::Damaged { digest: *digest });
        }
        if let Some(bytes) = self.read_file_object(digest)? {
            return Ok(bytes);
        }
        match (self.fetch_object(digest)?, &self.lender) {
            (Some(bytes), _) => Ok(bytes),
            (None, Some(lender)) => lender.get(digest),
            (None, None) => Err(StoreError::Missing { digest: *digest }),
        }
    }

    /// Returns whether a store has the packed object, by its name alone.
    pub fn has(&self, digest: &Digest) -> Result<bool> {
        if self.database.has_object(digest)? {
            return Ok(true);
        }
        if let Some(lender) = &self.lender
            && lender.has(digest)?
        {
            return Ok(true);
        }
        self.watch_nothing();
        Ok(self.file_path(digest).exists()
            || self.remote.as_ref().is_some_and(|remote| remote.object_path(digest).exists()))
    }

    /// Returns whether a store has what makes a hit: every file by size, a record set by its root. A packed object
    /// goes only with the root that needs it, so the root speaks for its chunks.
    pub fn has_artifact(&self, artifact: &Artifact) -> Result<bool> {
        if self.broken().contains(&artifact.digest()) {
            return Ok(false);
        }
        match artifact {
            Artifact::File(file) => Ok(self.has_file(file)),
            Artifact::Folder { files } => Ok(files.values().all(|file| self.has_file(file))),
            Artifact::Records(records) => self.has(&records.root),
        }
    }

    /// Reads and checks every file of an artifact; a record set's chunks are checked as they are read.
    pub fn files_are_whole(&self, artifact: &Artifact) -> bool {
        match artifact {
            Artifact::File(file) => self.path(file).is_ok(),
            // Each one is read: what is damaged is dropped by that.
            Artifact::Folder { files } => files.values().filter(|file| self.path(file).is_err()).count() == 0,
            Artifact::Records(_) => true,
        }
    }

    /// Notes that a reader found bytes of an artifact missing or damaged: until its producer publishes it again, nothing
    /// that names it is a hit.
    pub fn distrust(&self, artifact: &Artifact) {
        self.broken().insert(artifact.digest());
    }

    fn trust<'a>(&self, artifacts: impl Iterator<Item = &'a Artifact>) {
        let mut broken = self.broken();
        if !broken.is_empty() {
            artifacts.for_each(|artifact| {
                broken.remove(&artifact.digest());
            });
        }
    }

    fn broken(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the bytes of a warm hit are there: packed ones go only when the index changes, files by anybody.
    fn is_still_here(&self, artifact: &Artifact) -> bool {
        let is_here = match artifact {
            Artifact::Records(_) => true,
            Artifact::File(file) => self.has_file(file),
            Artifact::Folder { files } => files.values().all(|file| self.has_file(file)),
        };
        is_here && !self.broken().contains(&artifact.digest())
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn warm(&self) -> MutexGuard<'_, Warm> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes everything that waits for the next group commit, durably.
    pub fn flush(&self) -> Result<()> {
        self.database.flush()
    }

    /// Lets the next command start from what was looked up in this one. Another process that writes meanwhile makes that
    /// useless, so then nothing is written.
    pub fn keep_warm(&self) -> Result<()> {
        if self.cold {
            return Ok(());
        }
        match self.database.settled_generation()? {
            Some(generation) => Ok(self.warm().write(&warm_path(&self.root), generation)?),
            None => Ok(()),
        }
    }
}

fn warm_path(root: &Path) -> PathBuf {
    root.join("warm")
}

/// Writes the format file of a new store and refuses a store of another version.
fn check_format(root: &Path) -> Result<()> {
    let path = root.join("format");
    match fs_err::read_to_string(&path) {
        Ok(found) if found == FORMAT => Ok(()),
        Ok(found) => Err(StoreError::Format {
            root: root.to_owned(),
            found: found.trim().chars().take(40).collect(),
            expected: FORMAT.trim(),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            write_atomically(&path, FORMAT.as_bytes())?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
