//! Lines on their way from the order of the file to that of their ids: on disk, with their places in memory, so that the
//! memory of a reading is that of the ids, however long the records are.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::record::Line;

/// Bytes that are read at a time where lines follow each other as they were put.
const WINDOW: usize = 64 << 10;

/// A file of lines that is gone with the run.
pub(super) struct Spool {
    file: File,
    end: AtomicU64,
}

/// Where a line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: Box<str>,
    start: u64,
    length: u32,
}

impl Place {
    /// Returns how many bytes the line has.
    pub(super) fn length(&self) -> u64 {
        u64::from(self.length)
    }

    /// Returns the place under another id.
    pub(super) fn named(self, id: String) -> Self {
        Self { id: id.into(), ..self }
    }
}

impl Spool {
    /// Opens an empty one in a folder.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(folder)?, end: AtomicU64::new(0) })
    }

    /// Puts the lines of a run, one behind the other; other threads may put theirs at the same time.
    pub(super) fn put(&self, lines: &[Line<'_>]) -> io::Result<Vec<Place>> {
        let mut text = String::with_capacity(lines.iter().map(|line| line.text().len()).sum());
        text.extend(lines.iter().map(Line::text));
        let mut start = self.end.fetch_add(text.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(text.as_bytes(), start)?;
        let place = |line: &Line<'_>| {
            let place = Place { id: line.id().into(), start, length: line.text().len() as u32 };
            start += u64::from(place.length);
            place
        };
        Ok(lines.iter().map(place).collect())
    }

    /// Starts to read.
    pub(super) const fn reader(&self) -> SpoolReader<'_> {
        SpoolReader { spool: self, start: 0, bytes: Vec::new(), next: 0 }
    }
}

/// Reads lines at their places, fast where those follow each other.
pub(super) struct SpoolReader<'s> {
    spool: &'s Spool,
    /// Where `bytes` start in the file.
    start: u64,
    bytes: Vec<u8>,
    /// The end of the line before.
    next: u64,
}

impl SpoolReader<'_> {
    /// Returns the line at a place.
    pub(super) fn line(&mut self, place: &Place) -> io::Result<Line<'_>> {
        let length = place.length as usize;
        let is_here = place.start >= self.start && place.start + length as u64 <= self.start + self.bytes.len() as u64;
        if !is_here {
            let rest = (self.spool.end.load(Ordering::Relaxed) - place.start) as usize;
            let window = if place.start == self.next { WINDOW.max(length).min(rest) } else { length };
            self.bytes.resize(window, 0);
            self.start = place.start;
            self.spool.file.read_exact_at(&mut self.bytes, place.start)?;
        }
        self.next = place.start + length as u64;
        let at = (place.start - self.start) as usize;
        let line = std::str::from_utf8(&self.bytes[at..at + length]).ok().and_then(Line::parse);
        line.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what was put aside is no line"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Document, Record};

    #[test]
    fn lines_come_back_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path()).unwrap();
        let line = |n: usize| {
            let content = "x".repeat(n * 37 % 5_000);
            Line::of(&Record::Document(Document { id: format!("{n:04}"), content, ..Document::default() })).unwrap()
        };
        let lines: Vec<Line<'_>> = (0..200).map(line).collect();
        let mut places = spool.put(&lines[100..]).unwrap();
        places.extend(spool.put(&lines[..100]).unwrap());
        places.sort_by(|a, b| a.id.cmp(&b.id));
        let mut reader = spool.reader();
        for (n, place) in places.iter().enumerate().chain(places.iter().enumerate().rev()) {
            assert_eq!(reader.line(place).unwrap(), lines[n]);
        }
    }
}
