//! The answer of a build that found everything as it was. It holds while all that the build looked at is the same: then
//! the next one need not even read the manifest's meaning.
//!
//! What was looked at is every file by its stamps, every folder that a glob walked, what was absent, and the index by
//! its generation. What a build depends on beside that is the question, which its asker hashes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::database::{Generation, StatRow};
use super::files::write_memo;
use super::stat::{folder_stamp, stamp};
use super::{Digest, Result, Store, warm};

/// From so many files on, two threads look at them.
const MANY: usize = 500;

/// What the commands of this process looked at.
#[derive(Debug, Default)]
pub(super) struct Watched {
    files: BTreeMap<String, StatRow>,
    folders: BTreeMap<String, StatRow>,
    absent: BTreeSet<String>,
    /// Whether something was looked at that may change without its stamps changing, or that is elsewhere.
    unsure: bool,
}

/// An answer as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Settled {
    question: Digest,
    generation: Generation,
    files: Vec<(String, StatRow)>,
    folders: Vec<(String, StatRow)>,
    absent: Vec<String>,
    /// The nodes, in topological order, all of them fresh.
    pub nodes: Vec<String>,
}

impl Settled {
    /// Returns the answer to `question` that the store at `root` has, if it still holds.
    pub fn read(root: &Path, question: &Digest) -> Option<Self> {
        let settled: Self = warm::decode(&fs_err::read(root.join("settled")).ok()?)?;
        let generation = Generation::at(&root.join("index.sqlite"));
        let holds = settled.question == *question && generation == Some(settled.generation) && settled.is_unchanged();
        holds.then_some(settled)
    }

    fn is_unchanged(&self) -> bool {
        let same_files = |files: &[(String, StatRow)]| {
            files.iter().all(|(path, row)| stamp(Path::new(path)).is_ok_and(|now| now == *row))
        };
        let half = if self.files.len() < MANY { 0 } else { self.files.len() / 2 };
        let (some, others) = self.files.split_at(half);
        let (some, others) = std::thread::scope(|scope| {
            let some = (!some.is_empty()).then(|| scope.spawn(|| same_files(some)));
            let others = same_files(others);
            (some.is_none_or(|some| some.join().unwrap_or(false)), others)
        });
        let same_folder =
            |(path, row): &(String, StatRow)| folder_stamp(Path::new(path)).is_ok_and(|now| now == Some(*row));
        let is_absent = |path: &String| Path::new(path).symlink_metadata().is_err();
        some && others && self.folders.iter().all(same_folder) && self.absent.iter().all(is_absent)
    }
}

impl Store {
    /// Notes that the names in a folder were looked at.
    pub fn watch_folder(&self, path: &Path) {
        let row = folder_stamp(path).ok().flatten().filter(StatRow::is_settled);
        let mut watched = self.watched();
        match row {
            Some(row) => drop(watched.folders.insert(path.to_string_lossy().into_owned(), row)),
            None => watched.unsure = true,
        }
    }

    /// Notes that nothing was at `path`.
    pub fn watch_absent(&self, path: &Path) {
        self.watched().absent.insert(path.to_string_lossy().into_owned());
    }

    /// Notes a file whose stamps, without a digest, vouch for it.
    pub(super) fn watch_file(&self, path: &str, row: StatRow) {
        let mut watched = self.watched();
        if row.is_settled() {
            watched.files.insert(path.to_owned(), row);
        } else {
            watched.unsure = true;
        }
    }

    /// Notes that something was looked at that cannot be watched.
    pub fn watch_nothing(&self) {
        self.watched().unsure = true;
    }

    /// Keeps the answer that all of `nodes` are fresh, where all that this process looked at can be watched.
    ///
    /// # Errors
    /// Errors of the index, and of writing.
    pub fn settle(&self, question: Digest, nodes: Vec<String>) -> Result<()> {
        let Some(generation) = self.database.settled_generation()? else { return Ok(()) };
        let watched = std::mem::take(&mut *self.watched());
        if watched.unsure {
            return Ok(());
        }
        let settled = Settled {
            question,
            generation,
            files: watched.files.into_iter().collect(),
            folders: watched.folders.into_iter().collect(),
            absent: watched.absent.into_iter().collect(),
            nodes,
        };
        Ok(write_memo(&self.root.join("settled"), &warm::encode(&settled)?)?)
    }
}
