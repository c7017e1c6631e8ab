//! Chunks: the blobs that hold the lines of a record set.

use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSlice as _;

use super::error::{RecordError, Result};
use super::line::Line;
use super::summary::Summaries;
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
        Line::all(&self.text).collect::<Option<_>>().ok_or_else(|| not_a_chunk(self.digest))
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
    /// The lines behind the last chunk.
    open: Open,
    last: Option<String>,
}

impl<'s> SetWriter<'s> {
    /// Starts an empty set.
    pub fn new(store: &'s Store) -> Self {
        Self { store, chunks: Vec::new(), open: Open::default(), last: None }
    }

    /// Adds a line.
    ///
    /// # Errors
    /// [`RecordError::Duplicate`] and [`RecordError::Order`] when its id is not after the last one.
    pub fn push(&mut self, line: &Line<'_>) -> Result<()> {
        self.follow(line.id())?;
        self.open.add(line);
        if line.ends_chunk() {
            self.chunks.extend(std::mem::take(&mut self.open).end(self.store)?);
        }
        Ok(())
    }

    /// Adds lines, whose chunks all threads make.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn extend(&mut self, lines: &[Line<'_>]) -> Result<()> {
        lines.iter().try_for_each(|line| self.follow(line.id()))?;
        let ends = lines.par_iter().enumerate().filter(|(_, line)| line.ends_chunk()).map(|(n, _)| n + 1);
        let ends: Vec<usize> = ends.collect();
        let (Some(first), Some(last)) = (ends.first(), ends.last()) else {
            self.open.add_all(lines);
            return Ok(());
        };
        let mut open = std::mem::take(&mut self.open);
        let store = self.store;
        let (open, whole) = rayon::join(
            || {
                open.add_all(&lines[..*first]);
                open.end(store)
            },
            || {
                let chunks = ends.par_windows(2).map(|ends| Open::of(&lines[ends[0]..ends[1]]).end(store));
                chunks.collect::<Result<Vec<_>>>()
            },
        );
        self.chunks.extend(open?);
        self.chunks.extend(whole?.into_iter().flatten());
        self.open = Open::of(&lines[*last..]);
        Ok(())
    }

    /// Returns whether the last chunk is complete, so that whole chunks can follow.
    pub(super) fn is_at_chunk_start(&self) -> bool {
        self.open.text.is_empty()
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
        self.chunks.extend(self.open.end(self.store)?);
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
}

/// Lines that become a chunk.
#[derive(Debug, Default)]
struct Open {
    text: String,
    count: u64,
    first: String,
    last: String,
    /// The values of its lines, while all of them have one.
    summaries: Summaries,
}

impl Open {
    fn of(lines: &[Line<'_>]) -> Self {
        let text = String::with_capacity(lines.iter().map(|line| line.text().len()).sum());
        let mut open = Self { text, ..Self::default() };
        open.add_all(lines);
        open
    }

    fn add_all(&mut self, lines: &[Line<'_>]) {
        for line in lines {
            self.add(line);
        }
    }

    fn add(&mut self, line: &Line<'_>) {
        if self.count == 0 {
            line.id().clone_into(&mut self.first);
        }
        line.id().clone_into(&mut self.last);
        self.text.push_str(line.text());
        self.count += 1;
        self.summaries.add(line);
    }

    /// Puts the chunk into the store; nothing when there are no lines.
    fn end(self, store: &Store) -> Result<Option<ChunkRef>> {
        let Self { text, count, first, last, summaries } = self;
        if count == 0 {
            return Ok(None);
        }
        let chunk = ChunkRef { digest: store.put(text.as_bytes())?, count, bytes: text.len() as u64, first, last };
        summaries.keep(store, &chunk)?;
        Ok(Some(chunk))
    }
}
