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

    /// Puts the lines of a run, which are `text`, one behind the other; other threads may put theirs at the same time.
    pub(super) fn put(&self, text: &str, lines: &[Line<'_>]) -> io::Result<Vec<Place>> {
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
        SpoolReader { spool: self, start: 0, window: Vec::new(), aside: Vec::new(), next: 0 }
    }
}

/// Reads lines at their places, fast where those follow each other, even if single ones from elsewhere come between.
pub(super) struct SpoolReader<'s> {
    spool: &'s Spool,
    /// Where the window starts in the file.
    start: u64,
    window: Vec<u8>,
    /// A line that is read for itself.
    aside: Vec<u8>,
    /// The end of the line before.
    next: u64,
}

impl SpoolReader<'_> {
    /// Returns the line at a place, with its line feed.
    pub(super) fn line(&mut self, place: &Place) -> io::Result<&[u8]> {
        let Place { start, length, .. } = *place;
        let follows = start == self.next;
        self.next = start + u64::from(length);
        let length = length as usize;
        if start < self.start || self.next > self.start + self.window.len() as u64 {
            if !follows {
                self.aside.resize(length, 0);
                self.spool.file.read_exact_at(&mut self.aside, start)?;
                return Ok(&self.aside);
            }
            let rest = (self.spool.end.load(Ordering::Relaxed) - start) as usize;
            self.window.resize(WINDOW.max(length).min(rest), 0);
            self.start = start;
            self.spool.file.read_exact_at(&mut self.window, start)?;
        }
        let at = (start - self.start) as usize;
        Ok(&self.window[at..at + length])
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
        let put = |lines: &[Line<'_>]| spool.put(&lines.iter().map(Line::text).collect::<String>(), lines).unwrap();
        let mut places = put(&lines[100..]);
        places.extend(put(&lines[..100]));
        places.sort_by(|a, b| a.id.cmp(&b.id));
        let mut reader = spool.reader();
        let strewn = (0..200).flat_map(|n| [n, 199 - n]);
        for n in (0..200).chain((0..200).rev()).chain(strewn) {
            assert_eq!(reader.line(&places[n]).unwrap(), lines[n].text().as_bytes());
        }
    }
}
