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
        self.line(id)?.map(|line| line.record()).transpose()
    }

    /// Returns the line of the record with this id.
    pub fn line(&self, id: &str) -> Result<Option<Line<'static>>> {
        let index = self.chunks.partition_point(|chunk| chunk.last.as_str() < id);
        let Some(entry) = self.chunks.get(index) else { return Ok(None) };
        if entry.first.as_str() > id {
            return Ok(None);
        }
        let chunk = Chunk::read(self.store, entry)?;
        let mut lines = chunk.lines()?;
        Ok(match lines.binary_search_by(|line| line.id().cmp(id)) {
            Ok(at) => Some(lines.swap_remove(at).into_owned()),
            Err(_) => None,
        })
    }

    /// Returns the lines whose ids start with `prefix`, in order. Only chunks that may hold one are read.
    pub fn with_prefix(&self, prefix: &str) -> Result<Vec<Line<'static>>> {
        let start = self.chunks.partition_point(|chunk| chunk.last.as_str() < prefix);
        let mut found = Vec::new();
        for entry in &self.chunks[start..] {
            if entry.first.as_str() > prefix && !entry.first.starts_with(prefix) {
                break;
            }
            let chunk = Chunk::read(self.store, entry)?;
            let lines = chunk.lines()?;
            let from = lines.partition_point(|line| line.id() < prefix);
            let hits = lines[from..].iter().take_while(|line| line.id().starts_with(prefix));
            found.extend(hits.cloned().map(Line::into_owned));
        }
        Ok(found)
    }

    /// Returns which of some ids, given in ascending order, the set holds. Each chunk is read at most once, and none
    /// that can hold none of them.
    pub fn holds<'i>(&self, ids: impl IntoIterator<Item = &'i str>) -> Result<Vec<bool>> {
        let mut held = Vec::new();
        let mut read: Option<(usize, Vec<String>)> = None;
        for id in ids {
            let index = self.chunks.partition_point(|chunk| chunk.last.as_str() < id);
            let Some(entry) = self.chunks.get(index).filter(|entry| entry.first.as_str() <= id) else {
                held.push(false);
                continue;
            };
            if read.as_ref().is_none_or(|(at, _)| *at != index) {
                let chunk = Chunk::read(self.store, entry)?;
                let lines = chunk.lines()?;
                read = Some((index, lines.iter().map(|line| line.id().to_owned()).collect()));
            }
            let is_held =
                |(_, lines): &(usize, Vec<String>)| lines.binary_search_by(|line| line.as_str().cmp(id)).is_ok();
            held.push(read.as_ref().is_some_and(is_held));
        }
        Ok(held)
    }

    /// Returns ids that stand near `id` in the set's order, those of whole chunks: where a misspelt id was meant.
    pub fn neighbours(&self, id: &str) -> Result<Vec<String>> {
        let index = self.chunks.partition_point(|chunk| chunk.last.as_str() < id);
        let mut ids = Vec::new();
        for entry in self.chunks.iter().skip(index.saturating_sub(1)).take(3) {
            let chunk = Chunk::read(self.store, entry)?;
            ids.extend(chunk.lines()?.iter().map(|line| line.id().to_owned()));
        }
        Ok(ids)
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
    writer.extend(&lines)?;
    writer.finish()
}
