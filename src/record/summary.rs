//! A value for each record of a set, kept by chunk: what a decision over all records is taken by.
//!
//! Whoever makes a record may give its value along with its line ([`super::Mapped::push_summarized`]): the chunk that the
//! line comes to then need not be read again.

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::chunk::Chunk;
use super::error::{RecordError, Result};
use super::line::Line;
use super::set::RecordSet;
use super::tree::ChunkRef;
use crate::store::{Digest, MemoEntry, Store};

/// The value of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    scope: Digest,
    value: Vec<u8>,
}

impl Summary {
    /// Encodes a value; nothing where that cannot be, which only costs that it is made again.
    pub(super) fn of<T: Serialize>(scope: Digest, value: &T) -> Option<Self> {
        postcard::to_stdvec(value).ok().map(|value| Self { scope, value })
    }
}

/// The values of a chunk's records while the chunk is made.
#[derive(Debug, Default)]
pub(super) struct Summaries {
    scope: Option<Digest>,
    count: u64,
    /// One behind the other.
    values: Vec<u8>,
}

impl Summaries {
    /// Takes the value of the next record, if its line has one.
    pub(super) fn add(&mut self, line: &Line<'_>) {
        if let Some(Summary { scope, value }) = line.summary()
            && self.scope.get_or_insert(*scope) == scope
        {
            self.count += 1;
            self.values.extend_from_slice(value);
        }
    }

    /// Keeps the values of a chunk, unless one of its records came without.
    pub(super) fn keep(self, store: &Store, chunk: &ChunkRef) -> Result<()> {
        let Some(scope) = self.scope.filter(|_| self.count == chunk.count) else { return Ok(()) };
        // A list is its length, and its items one behind the other.
        let Ok(mut value) = postcard::to_stdvec(&self.count) else { return Ok(()) };
        value.extend(self.values);
        keep(store, scope, chunk, value)
    }
}

/// Returns a value for each record, by chunk and in order. `scope` is the digest of all that shapes a value beside the
/// record: only chunks that are new under it are read.
///
/// # Errors
/// Those of `f`; errors of the store.
pub fn summarize<T, E, F>(
    store: &Store,
    scope: Digest,
    set: &RecordSet<'_>,
    f: F,
) -> std::result::Result<Vec<Vec<T>>, E>
where
    T: Serialize + DeserializeOwned + Send,
    E: From<RecordError> + Send,
    F: Fn(&Line<'_>) -> std::result::Result<T, E> + Sync,
{
    let of_chunk = |chunk: &ChunkRef| {
        let known = store.memo(&scope, &chunk.digest).map_err(RecordError::from)?;
        // A memo of another form is no error, only no help.
        if let Some(known) = known.and_then(|bytes| postcard::from_bytes::<Vec<T>>(&bytes).ok())
            && known.len() as u64 == chunk.count
        {
            return Ok(known);
        }
        let text = Chunk::read(store, chunk)?;
        let values = text.lines()?.iter().map(&f).collect::<std::result::Result<Vec<T>, E>>()?;
        if let Ok(value) = postcard::to_stdvec(&values) {
            keep(store, scope, chunk, value)?;
        }
        Ok(values)
    };
    set.chunks().par_iter().map(of_chunk).collect()
}

fn keep(store: &Store, scope: Digest, chunk: &ChunkRef, value: Vec<u8>) -> Result<()> {
    let (first, last) = (chunk.first.clone(), chunk.last.clone());
    Ok(store.put_memo(scope, MemoEntry { input: chunk.digest, first, last, value })?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::record::{Document, Mapped, Record, map_records, write};

    #[test]
    fn chunks_whose_lines_came_with_values_are_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), None).unwrap();
        let document = |n: usize| {
            let (id, content) = (format!("{n:05}"), "word ".repeat(n % 400));
            Record::Document(Document { id, content, ..Document::default() })
        };
        let input = write(&store, (0..2_000).map(document)).unwrap();
        let length = |record: &Record| match record {
            Record::Document(document) => document.content.len(),
            _ => 0,
        };
        let scope = Digest::of(b"length");
        let map = |gives: bool| {
            let name = Digest::of(&[u8::from(gives)]);
            map_records::<1, RecordError, _>(&store, name, &input, |line| {
                let (record, mut mapped) = (line.record()?, Mapped::default());
                if gives {
                    mapped.push_summarized(0, &record, scope, &length(&record))?;
                } else {
                    mapped.push(0, &record)?;
                }
                Ok(mapped)
            })
        };
        let read = AtomicU64::new(0);
        let summaries = |scope: Digest, set| {
            let set = RecordSet::open(&store, &set).unwrap();
            let of = |line: &Line<'_>| {
                read.fetch_add(1, Ordering::Relaxed);
                Ok::<_, RecordError>(length(&line.record()?))
            };
            summarize(&store, scope, &set, of).unwrap()
        };
        let [without] = map(false).unwrap().outputs;
        let found = summaries(Digest::of(b"another scope"), without);
        assert_eq!((found.iter().map(Vec::len).sum::<usize>(), read.swap(0, Ordering::Relaxed)), (2_000, 2_000));
        let [with] = map(true).unwrap().outputs;
        assert_eq!(with, without, "values are no part of a set");
        assert_eq!(summaries(scope, with), found);
        assert_eq!(read.into_inner(), 0);
    }
}
