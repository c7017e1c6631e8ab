//! `pipeline.excluded.jsonl`: records and rows that no output has from now on.
//!
//! One line an id, sorted, so that git shows and merges it. The file is applied where a node's result is handed on: to
//! every record set of every source and filter, whatever the kind. Readers, `out` files and models see none of it, and
//! only what read such a record becomes stale, since only that finds another content in its inputs. A snapshot in the
//! store stays as it was fetched: a line that is taken out again brings its record back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};

use super::{EngineError, Known, Resolver};
use crate::record::{ChunkRef, Line, Naming, RecordError, RecordSet, edit};
use crate::store::{Artifact, Digest, MemoEntry, RecordsRef, Store, write_atomically};

/// Raised when the same list would leave other records.
const VERSION: u32 = 1;

/// The ids that are excluded.
#[derive(Clone, Debug)]
pub struct Exclusions {
    path: PathBuf,
    entries: BTreeMap<String, Option<String>>,
    naming: Naming,
    /// What memos of these ids are kept under.
    scope: Digest,
}

/// One line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Exclusions {
    /// Reads the file at `path`; an absent one excludes nothing.
    ///
    /// # Errors
    /// [`EngineError::Exclusions`] names the line that is none.
    pub fn read(path: &Path) -> Result<Self, EngineError> {
        let text = match fs_err::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let mut entries = BTreeMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let bad = |what| EngineError::Exclusions { path: path.to_owned(), line: number + 1, what };
            let entry: Entry = serde_json::from_str(line).map_err(|error| bad(error.to_string()))?;
            if entry.id.is_empty() {
                return Err(bad("its `id` is empty".into()));
            }
            entries.insert(entry.id, entry.note);
        }
        Self::of(path, entries)
    }

    fn of(path: &Path, entries: BTreeMap<String, Option<String>>) -> Result<Self, EngineError> {
        let ids: Vec<&String> = entries.keys().collect();
        let text = serde_json::to_string(&ids).map_err(std::io::Error::from)?;
        let scope = Digest::of(format!("excluded {VERSION} {text}").as_bytes());
        let naming = Naming::of(entries.keys().cloned())?;
        Ok(Self { path: path.to_owned(), entries, naming, scope })
    }

    /// Returns the same list with these ids in it.
    ///
    /// # Errors
    /// Those of making the search for them.
    pub fn with(&self, ids: &[String], note: Option<&str>) -> Result<Self, EngineError> {
        let mut entries = self.entries.clone();
        entries.extend(ids.iter().map(|id| (id.clone(), note.map(str::to_owned))));
        Self::of(&self.path, entries)
    }

    /// Returns the same list without these ids.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub fn without(&self, ids: &[String]) -> Result<Self, EngineError> {
        let mut entries = self.entries.clone();
        entries.retain(|id, _| !ids.contains(id));
        Self::of(&self.path, entries)
    }

    /// Writes the file; an empty list has none.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn write(&self) -> Result<(), EngineError> {
        let mut text = String::new();
        for (id, note) in &self.entries {
            let entry = Entry { id: id.clone(), note: note.clone() };
            text.push_str(&serde_json::to_string(&entry).map_err(std::io::Error::from)?);
            text.push('\n');
        }
        if text.is_empty() {
            return match fs_err::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            };
        }
        Ok(write_atomically(&self.path, text.as_bytes())?)
    }

    /// Returns the ids with their notes.
    pub fn entries(&self) -> &BTreeMap<String, Option<String>> {
        &self.entries
    }

    /// Returns the file's name.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns a set without what is excluded. The work is that of the chunks that were not looked at before.
    fn kept(&self, store: &Store, set: &RecordsRef) -> Result<RecordsRef, RecordError> {
        if let Some(value) = store.memo(&self.scope, &set.root)?
            && let Ok(kept) = serde_json::from_slice::<RecordsRef>(&value)
            && store.has_artifact(&Artifact::Records(kept))?
        {
            return Ok(kept);
        }
        let opened = RecordSet::open(store, set)?;
        let found = opened.chunks().par_iter().map(|chunk| self.in_chunk(store, chunk));
        let gone: BTreeSet<String> = found.collect::<Result<Vec<_>, RecordError>>()?.into_iter().flatten().collect();
        let kept = if gone.is_empty() { *set } else { edit(store, set, &gone, Vec::new())? };
        self.remember(store, set.root, &kept)?;
        Ok(kept)
    }

    /// Returns whether a set has a record that is excluded.
    pub(super) fn holds_any_of(&self, store: &Store, set: &RecordsRef) -> Result<bool, RecordError> {
        Ok(!self.entries.is_empty() && self.kept(store, set)? != *set)
    }

    /// Returns the ids of a chunk's records that are excluded.
    fn in_chunk(&self, store: &Store, chunk: &ChunkRef) -> Result<Vec<String>, RecordError> {
        if let Some(value) = store.memo(&self.scope, &chunk.digest)?
            && let Ok(ids) = serde_json::from_slice(&value)
        {
            return Ok(ids);
        }
        let lines = self.naming.in_chunk(store, chunk)?;
        let ids: Vec<String> = lines.iter().map(Line::id).map(str::to_owned).collect();
        self.remember(store, chunk.digest, &ids)?;
        Ok(ids)
    }

    fn remember<T: Serialize>(&self, store: &Store, input: Digest, value: &T) -> Result<(), RecordError> {
        let value = serde_json::to_vec(value)
            .map_err(|cause| RecordError::Unwritable { id: "memo of what is excluded".into(), cause })?;
        Ok(store.put_memo(self.scope, MemoEntry { input, first: String::new(), last: String::new(), value })?)
    }
}

impl Resolver<'_> {
    /// Returns what a node gave as its readers see it: without the records that are excluded.
    ///
    /// # Errors
    /// Errors of the store. A set with missing or damaged bytes counts as none from now on.
    pub(super) fn admitted(&self, known: Arc<Known>) -> Result<Arc<Known>, EngineError> {
        if self.exclusions.entries.is_empty() {
            return Ok(known);
        }
        let mut outputs = known.outputs.clone();
        let mut excluded = 0;
        for artifact in outputs.values_mut() {
            let Artifact::Records(set) = artifact else { continue };
            match self.exclusions.kept(self.store, set) {
                Ok(kept) => {
                    excluded += set.count - kept.count;
                    *set = kept;
                }
                Err(error) => {
                    let error = EngineError::from(error);
                    if error.is_about_bytes() {
                        self.store.distrust(artifact);
                    }
                    return Err(error);
                }
            }
        }
        if excluded == 0 {
            return Ok(known);
        }
        let mut report = known.report.clone();
        report.push((format!("excluded by {}", self.exclusions.name()), excluded));
        Ok(Arc::new(Known { outputs, report, key: known.key, fields: known.fields.clone() }))
    }

    /// As [`Self::admitted`]; nothing when bytes are missing or damaged, so that the node counts as one without a result.
    pub(super) fn admitted_hit(&self, known: Option<Arc<Known>>) -> Result<Option<Arc<Known>>, EngineError> {
        let Some(known) = known else { return Ok(None) };
        match self.admitted(known) {
            Err(error) if error.is_about_bytes() => Ok(None),
            known => known.map(Some),
        }
    }
}
