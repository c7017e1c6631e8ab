//! The answer of a build that found everything as it was. It holds while all that the build looked at is the same: then
//! the next one need not even read the manifest's meaning. Where only some of that changed, its places are told, so that
//! the next build looks at what they reach.
//!
//! What was looked at is every file by its stamps, every folder that a glob walked, what was absent, and the index by
//! its generation. What a build depends on beside that is the question, which its asker hashes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::database::Generation;
use super::files::write_memo;
use super::pending::StatRow;
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
    /// Files and folders that were written a moment ago: a further write might leave their stamps as they are.
    young: BTreeSet<String>,
    /// Whether something was looked at that may change without its stamps changing, or that is elsewhere.
    unsure: bool,
}

/// An answer as it is kept. Places are counted through: files, then folders, then what was absent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Settled {
    question: Digest,
    generation: Generation,
    files: Vec<(String, StatRow)>,
    folders: Vec<(String, StatRow)>,
    absent: Vec<String>,
    /// The nodes, in topological order, all of them fresh.
    pub nodes: Vec<String>,
    notes_digest: Digest,
    /// What the asker wants to know when some places change.
    #[serde(skip)]
    notes: Vec<u8>,
    /// The places that are not as they were.
    #[serde(skip)]
    changed: Vec<usize>,
}

impl Settled {
    /// Returns what the store at `root` has of an answer to `question`; nothing when the index was written to since.
    pub fn read(root: &Path, question: &Digest) -> Option<Self> {
        let bytes = fs_err::read(root.join("settled")).ok()?;
        let (length, rest) = bytes.split_first_chunk()?;
        let (answer, notes) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let mut settled: Self = warm::decode(answer)?;
        if settled.question != *question || Generation::at(&root.join("index.sqlite")) != Some(settled.generation) {
            return None;
        }
        settled.changed = settled.look();
        settled.notes = notes.to_vec();
        Some(settled)
    }

    /// Returns whether all is as it was.
    pub fn holds(&self) -> bool {
        self.changed.is_empty()
    }

    /// Returns the places that are not as they were.
    pub fn changed(&self) -> &[usize] {
        &self.changed
    }

    /// Returns the asker's notes; nothing when they are damaged.
    pub fn notes(&self) -> Option<&[u8]> {
        (Digest::of(&self.notes) == self.notes_digest).then_some(&*self.notes)
    }

    /// Returns the places that are not as they were.
    fn look(&self) -> Vec<usize> {
        let changed_files = |from: usize, files: &[(String, StatRow)]| {
            let same = |(path, row): &(String, StatRow)| stamp(Path::new(path)).is_ok_and(|now| now == *row);
            let changed = files.iter().enumerate().filter(|(_, file)| !same(file));
            changed.map(|(index, _)| from + index).collect::<Vec<usize>>()
        };
        let half = if self.files.len() < MANY { 0 } else { self.files.len() / 2 };
        let (some, others) = self.files.split_at(half);
        let mut changed = std::thread::scope(|scope| {
            let some = (!some.is_empty()).then(|| scope.spawn(|| changed_files(0, some)));
            let others = changed_files(half, others);
            // A thread that ended early looked at nothing: then nothing is vouched for.
            let mut some = some.map_or_else(Vec::new, |some| some.join().unwrap_or_else(|_| (0..half).collect()));
            some.extend(others);
            some
        });
        let same_folder =
            |(path, row): &(String, StatRow)| folder_stamp(Path::new(path)).is_ok_and(|now| now == Some(*row));
        let is_absent = |path: &String| Path::new(path).symlink_metadata().is_err();
        let folders = self.folders.iter().map(same_folder);
        let rest = folders.chain(self.absent.iter().map(is_absent)).enumerate();
        changed.extend(rest.filter(|(_, same)| !same).map(|(index, _)| self.files.len() + index));
        changed
    }

    /// Returns the paths of all places, in their order.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        let stamped = self.files.iter().chain(&self.folders).map(|(path, _)| path);
        stamped.chain(&self.absent).map(String::as_str)
    }
}

impl Store {
    /// Notes that the names in a folder were looked at.
    pub fn watch_folder(&self, path: &Path) {
        let row = folder_stamp(path).ok().flatten();
        let mut watched = self.watched();
        match row {
            Some(row) if row.is_settled() => drop(watched.folders.insert(path.to_string_lossy().into_owned(), row)),
            Some(_) => drop(watched.young.insert(path.to_string_lossy().into_owned())),
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
            watched.young.insert(path.to_owned());
        }
    }

    /// Notes that something was looked at that cannot be watched.
    pub fn watch_nothing(&self) {
        self.watched().unsure = true;
    }

    /// Keeps the answer that all of `nodes` are fresh, where all that this process looked at can be watched. `notes`
    /// makes what the asker wants to know when some places change.
    ///
    /// # Errors
    /// Errors of the index, and of writing.
    pub fn settle(&self, question: Digest, nodes: Vec<String>, notes: impl FnOnce(&Settled) -> Vec<u8>) -> Result<()> {
        let Some(generation) = self.database.settled_generation()? else { return Ok(()) };
        let watched = std::mem::take(&mut *self.watched());
        if watched.unsure || !watched.young.is_empty() {
            return Ok(());
        }
        let mut settled = Settled {
            question,
            generation,
            files: watched.files.into_iter().collect(),
            folders: watched.folders.into_iter().collect(),
            absent: watched.absent.into_iter().collect(),
            nodes,
            notes_digest: Digest::of(&[]),
            notes: Vec::new(),
            changed: Vec::new(),
        };
        settled.notes = notes(&settled);
        settled.notes_digest = Digest::of(&settled.notes);
        self.write_settled(&settled)
    }

    /// Keeps an answer again after what its changed places reach was brought up to date: what this process saw of them
    /// takes their place. What was written a moment ago stays changed, so that the next command looks at it again.
    ///
    /// Where this process looked at more than the answer did, such as a new file, the answer is left to end.
    ///
    /// # Errors
    /// Errors of the index, and of writing.
    pub fn settle_again(&self, mut settled: Settled) -> Result<()> {
        let Some(generation) = self.database.settled_generation()? else { return Ok(()) };
        let mut watched = std::mem::take(&mut *self.watched());
        let absent: BTreeSet<String> = settled.absent.iter().cloned().collect();
        if watched.unsure || !watched.absent.is_subset(&absent) {
            return Ok(());
        }
        settled.generation = generation;
        for (rows, seen) in [(&mut settled.files, &mut watched.files), (&mut settled.folders, &mut watched.folders)] {
            for (path, row) in rows {
                if let Some(now) = seen.remove(path) {
                    *row = now;
                }
                watched.young.remove(path);
            }
        }
        let is_covered = watched.files.is_empty() && watched.folders.is_empty() && watched.young.is_empty();
        if is_covered { self.write_settled(&settled) } else { Ok(()) }
    }

    fn write_settled(&self, settled: &Settled) -> Result<()> {
        let answer = warm::encode(settled)?;
        let bytes = [&(answer.len() as u64).to_le_bytes(), answer.as_slice(), &settled.notes].concat();
        Ok(write_memo(&self.root.join("settled"), &bytes)?)
    }
}
