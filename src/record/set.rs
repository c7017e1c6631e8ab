//! Reading a record set, and writing one from nothing.

use rayon::slice::ParallelSliceMut as _;

use super::chunk::{Chunk, SetWriter};
use super::error::Result;
use super::line::Line;
use super::tree::{self, ChunkRef};
use super::types::Record;
use crate::store::{Digest, RecordsRef, Store};

/// An open record set.
#[derive(Debug)]
pub struct RecordSet<'s> {
    store: &'s Store,
    reference: RecordsRef,
    chunks: Vec<ChunkRef>,
    nodes: Vec<Digest>,
}

impl<'s> RecordSet<'s> {
    /// Opens a set: its tree is read, its chunks are not.
    ///
    /// # Errors
    /// Errors of the store, and [`super::RecordError::Format`].
    pub fn open(store: &'s Store, reference: &RecordsRef) -> Result<Self> {
        let (chunks, nodes) = tree::flatten(store, &reference.root)?;
        Ok(Self { store, reference: *reference, chunks, nodes })
    }

    /// Returns what names the set.
    pub fn reference(&self) -> RecordsRef {
        self.reference
    }

    /// Returns the number of records.
    pub fn count(&self) -> u64 {
        self.reference.count
    }

    /// Returns the bytes of all records in their stored form.
    pub fn bytes(&self) -> u64 {
        self.reference.bytes
    }

    /// Returns the chunks in order of their ids.
    pub fn chunks(&self) -> &[ChunkRef] {
        &self.chunks
    }

    /// Returns the digests of everything that the set consists of: nodes, the root first, then chunks. What gc keeps
    /// and what is pushed to a shared folder.
    pub fn objects(&self) -> Vec<Digest> {
        self.nodes.iter().copied().chain(self.chunks.iter().map(|chunk| chunk.digest)).collect()
    }

    /// Returns whether every object of the set is in a store.
    pub fn is_complete(&self) -> Result<bool> {
        for chunk in &self.chunks {
            if !self.store.has(&chunk.digest)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the record with this id.
    pub fn get(&self, id: &str) -> Result<Option<Record>> {
        let index = self.chunks.partition_point(|chunk| chunk.last.as_str() < id);
        let Some(entry) = self.chunks.get(index) else { return Ok(None) };
        if entry.first.as_str() > id {
            return Ok(None);
        }
        let chunk = Chunk::read(self.store, entry)?;
        let lines = chunk.lines()?;
        match lines.binary_search_by(|line| line.id().cmp(id)) {
            Ok(at) => lines[at].record().map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Returns the lines in order of their ids, one chunk in memory at a time.
    pub fn lines(&self) -> impl Iterator<Item = Result<Line<'static>>> + '_ {
        self.chunks.iter().flat_map(|entry| {
            let lines = Chunk::read(self.store, entry)
                .and_then(|chunk| Ok(chunk.lines()?.into_iter().map(Line::into_owned).collect::<Vec<_>>()));
            match lines {
                Ok(lines) => lines.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            }
        })
    }

    /// Returns the records in order of their ids, one chunk in memory at a time.
    pub fn records(&self) -> impl Iterator<Item = Result<Record>> + '_ {
        self.lines().map(|line| line?.record())
    }
}

/// Writes a set from records in any order.
///
/// # Errors
/// [`super::RecordError::Duplicate`] when two have the same id, and errors of the store.
pub fn write(store: &Store, records: impl IntoIterator<Item = Record>) -> Result<RecordsRef> {
    let lines = records.into_iter().map(|record| Line::of(&record)).collect::<Result<Vec<_>>>()?;
    write_lines(store, lines)
}

/// Writes a set from lines in any order.
///
/// # Errors
/// As [`write()`].
pub fn write_lines(store: &Store, mut lines: Vec<Line<'_>>) -> Result<RecordsRef> {
    lines.par_sort_by(|a, b| a.id().cmp(b.id()));
    let mut writer = SetWriter::new(store);
    for line in &lines {
        writer.push(line)?;
    }
    writer.finish()
}
