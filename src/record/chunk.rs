//! Chunks: the blobs that hold the lines of a record set.

use super::error::{RecordError, Result};
use super::line::Line;
use super::tree::{self, ChunkRef};
use crate::store::{Digest, RecordsRef, Store};

/// One read chunk.
#[derive(Debug)]
pub struct Chunk {
    digest: Digest,
    text: String,
}

impl Chunk {
    /// Reads a chunk from the store.
    ///
    /// # Errors
    /// Errors of the store; [`RecordError::Format`] when it is no text.
    pub fn read(store: &Store, chunk: &ChunkRef) -> Result<Self> {
        let text = String::from_utf8(store.get(&chunk.digest)?).map_err(|_| not_a_chunk(chunk.digest))?;
        Ok(Self { digest: chunk.digest, text })
    }

    /// Returns all lines as one text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the lines in order of their ids.
    ///
    /// # Errors
    /// [`RecordError::Format`] when the blob is not made of lines.
    pub fn lines(&self) -> Result<Vec<Line<'_>>> {
        let lines = self.text.split_inclusive('\n').map(Line::parse);
        lines.collect::<Option<_>>().ok_or_else(|| not_a_chunk(self.digest))
    }
}

fn not_a_chunk(digest: Digest) -> RecordError {
    RecordError::Format { digest, expected: "a chunk of records, format 1" }
}

/// Writes a set from lines that come in order of their ids.
#[derive(Debug)]
pub struct SetWriter<'s> {
    store: &'s Store,
    chunks: Vec<ChunkRef>,
    text: String,
    count: u64,
    first: String,
    last: Option<String>,
}

impl<'s> SetWriter<'s> {
    /// Starts an empty set.
    pub fn new(store: &'s Store) -> Self {
        Self { store, chunks: Vec::new(), text: String::new(), count: 0, first: String::new(), last: None }
    }

    /// Adds a line.
    ///
    /// # Errors
    /// [`RecordError::Duplicate`] and [`RecordError::Order`] when its id is not after the last one.
    pub fn push(&mut self, line: &Line<'_>) -> Result<()> {
        self.follow(line.id())?;
        if self.text.is_empty() {
            line.id().clone_into(&mut self.first);
        }
        self.text.push_str(line.text());
        self.count += 1;
        if line.ends_chunk() { self.end_chunk() } else { Ok(()) }
    }

    /// Returns whether the last chunk is complete, so that whole chunks can follow.
    pub(super) fn is_at_chunk_start(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds a chunk of another set as it is.
    pub(super) fn push_chunk(&mut self, chunk: &ChunkRef) -> Result<()> {
        debug_assert!(self.is_at_chunk_start());
        self.follow(&chunk.first)?;
        self.last = Some(chunk.last.clone());
        self.chunks.push(chunk.clone());
        Ok(())
    }

    /// Ends the set and returns it.
    pub fn finish(mut self) -> Result<RecordsRef> {
        if !self.text.is_empty() {
            self.end_chunk()?;
        }
        tree::write(self.store, &self.chunks)
    }

    fn follow(&mut self, id: &str) -> Result<()> {
        match &mut self.last {
            Some(last) if last.as_str() == id => Err(RecordError::Duplicate { id: id.to_owned() }),
            Some(last) if last.as_str() > id => Err(RecordError::Order { last: last.clone(), next: id.to_owned() }),
            Some(last) => {
                id.clone_into(last);
                Ok(())
            }
            None => {
                self.last = Some(id.to_owned());
                Ok(())
            }
        }
    }

    fn end_chunk(&mut self) -> Result<()> {
        self.chunks.push(ChunkRef {
            digest: self.store.put(self.text.as_bytes())?,
            count: self.count,
            bytes: self.text.len() as u64,
            first: std::mem::take(&mut self.first),
            last: self.last.clone().unwrap_or_default(),
        });
        self.text.clear();
        self.count = 0;
        Ok(())
    }
}
