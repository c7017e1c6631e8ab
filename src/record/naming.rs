//! Which records name one of a few ids: as their own id, their thread's, that of a record they came from, or one that
//! they supersede.

use std::collections::BTreeSet;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use regex::{Regex, RegexBuilder};

use super::chunk::Chunk;
use super::error::{RecordError, Result};
use super::line::Line;
use super::set::RecordSet;
use super::tree::ChunkRef;
use crate::store::Store;

/// Bytes that the compiled search for the ids may take; with more ids than that, every record is read.
const SEARCH: usize = 256 << 20;

/// Finds the records that name one of some ids.
#[derive(Clone, Debug)]
pub struct Naming {
    ids: BTreeSet<String>,
    /// Finds an id as it stands in JSON, so that chunks without one are not read as JSON.
    search: Option<Regex>,
}

impl Naming {
    /// Makes the search for these ids.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`].
    pub fn of(ids: impl IntoIterator<Item = String>) -> Result<Self> {
        let ids: BTreeSet<String> = ids.into_iter().collect();
        let mut quoted = Vec::with_capacity(ids.len());
        for id in &ids {
            let text = serde_json::to_string(id).map_err(|cause| RecordError::Unwritable { id: id.clone(), cause })?;
            quoted.push(regex::escape(&text));
        }
        let search = RegexBuilder::new(&quoted.join("|")).size_limit(SEARCH).build().ok();
        Ok(Self { ids, search })
    }

    /// Returns the ids.
    pub fn ids(&self) -> &BTreeSet<String> {
        &self.ids
    }

    /// Returns whether a record names one of the ids.
    ///
    /// # Errors
    /// [`RecordError::Unreadable`].
    pub fn fits(&self, line: &Line<'_>) -> Result<bool> {
        Ok(self.may_stand_in(line.text()) && line.record()?.names().any(|name| self.ids.contains(name)))
    }

    /// Returns the records of one chunk that name one of the ids.
    ///
    /// # Errors
    /// Errors of the store, and [`RecordError::Unreadable`].
    pub fn in_chunk(&self, store: &Store, chunk: &ChunkRef) -> Result<Vec<Line<'static>>> {
        let chunk = Chunk::read(store, chunk)?;
        if !self.may_stand_in(chunk.text()) {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for line in chunk.lines()? {
            if self.fits(&line)? {
                found.push(line.into_owned());
            }
        }
        Ok(found)
    }

    /// Returns the records of a set that name one of the ids, in order. Every chunk is read.
    ///
    /// # Errors
    /// As [`Self::in_chunk`].
    pub fn scan(&self, store: &Store, set: &RecordSet<'_>) -> Result<Vec<Line<'static>>> {
        if self.ids.is_empty() {
            return Ok(Vec::new());
        }
        let found = set.chunks().par_iter().map(|chunk| self.in_chunk(store, chunk));
        Ok(found.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Returns the records whose ids start with one of the ids and that name one of them, in order: all rows that a
    /// record-wise filter made of these records. Few chunks are read.
    ///
    /// # Errors
    /// As [`Self::in_chunk`].
    pub fn look_up(&self, set: &RecordSet<'_>) -> Result<Vec<Line<'static>>> {
        let mut found: Vec<Line<'static>> = Vec::new();
        for id in &self.ids {
            for line in set.with_prefix(id)? {
                // Ids of which one starts with another have prefixes within each other.
                let is_known = found.last().is_some_and(|last| last.id() >= line.id());
                if !is_known && self.fits(&line)? {
                    found.push(line);
                }
            }
        }
        Ok(found)
    }

    /// Returns whether one of the ids stands in a text as a whole JSON string.
    fn may_stand_in(&self, text: &str) -> bool {
        !self.ids.is_empty() && self.search.as_ref().is_none_or(|search| search.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::set::write;
    use super::super::types::{Conversation, Correction, Record, SourceRef, Thread};
    use super::*;
    use crate::store::Digest;

    fn row(id: &str, thread: &str, source: &str) -> Record {
        let sources = match source {
            "" => Vec::new(),
            id => vec![SourceRef { id: id.into(), digest: Digest::of(b""), comments: Vec::new() }],
        };
        Record::Row(Conversation { id: id.into(), thread: thread.into(), sources, ..Conversation::default() })
    }

    fn found(ids: &[&str], records: Vec<Record>) -> (Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("cache"), None).unwrap();
        let set = write(&store, records).unwrap();
        let set = RecordSet::open(&store, &set).unwrap();
        let naming = Naming::of(ids.iter().map(|id| (*id).to_owned())).unwrap();
        let ids = |lines: Vec<Line<'_>>| lines.iter().map(|line| line.id().to_owned()).collect();
        (ids(naming.scan(&store, &set).unwrap()), ids(naming.look_up(&set).unwrap()))
    }

    #[test]
    fn a_record_is_found_by_its_id_its_thread_its_sources_and_what_it_supersedes() {
        let issue = |id: &str| Record::Issue(Thread { id: id.into(), ..Thread::default() });
        let correction = Record::Correction(Correction {
            conversation: Conversation { id: "fix".into(), thread: "fix".into(), ..Conversation::default() },
            supersedes: vec!["o/r#1".into()],
            note: None,
        });
        let records = vec![
            issue("o/r#1"),
            issue("o/r#10"),
            row("o/r#1:answer", "o/r#1", "o/r#1"),
            row("o/r#10:answer", "o/r#10", "o/r#10"),
            row("17", "o/r#1", ""),
            row("18", "x", "o/r#1"),
            row("19", "mentions \"o/r#1\"", ""),
            correction,
        ];
        let (scanned, looked_up) = found(&["o/r#1"], records);
        assert_eq!(scanned, ["17", "18", "fix", "o/r#1", "o/r#1:answer"]);
        assert_eq!(looked_up, ["o/r#1", "o/r#1:answer"]);
    }

    #[test]
    fn ids_that_start_with_each_other_give_each_record_once() {
        let records = vec![row("a", "a", ""), row("a:b", "a", ""), row("a:b:c", "a:b", ""), row("b", "b", "")];
        let (scanned, looked_up) = found(&["a", "a:b"], records);
        assert_eq!(scanned, ["a", "a:b", "a:b:c"]);
        assert_eq!(looked_up, scanned);
    }

    #[test]
    fn no_ids_find_nothing() {
        assert_eq!(found(&[], vec![row("a", "a", "")]), (Vec::new(), Vec::new()));
    }
}
