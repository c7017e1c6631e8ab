//! A record's line in a chunk: its id, then its canonical JSON.
//!
//! ```text
//! "linkerd/linkerd2#12"<TAB>{"author":…,"type":"issue"}<LF>
//! ```
//!
//! JSON has no raw tab, so the first one ends the id, and lines are compared, moved and counted without parsing JSON.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use memchr::{memchr, memchr_iter};
use serde::Deserialize;

use super::canonical;
use super::error::{RecordError, Result};
use super::glance;
use super::quoted;
use super::room::room;
use super::summary::Summary;
use super::text::{LongText, RecordText, Text};
use super::types::Record;
use crate::store::Digest;

/// Bytes that a chunk is expected to have.
const CHUNK: u128 = 64 << 10;

thread_local! {
    /// The memory that a thread's digests are made in.
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One record in its stored form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    id: Cow<'a, str>,
    text: Cow<'a, str>,
    /// What was computed of the record while it was at hand.
    summary: Option<Box<Summary>>,
}

impl Line<'static> {
    /// Returns the line of a record.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`] when JSON has no form for it.
    pub fn of(record: &Record) -> Result<Self> {
        let id = record.id();
        let mut text = Vec::with_capacity(id.len() + 4 + room(record));
        record.write_line(&mut text)?;
        let text = String::from_utf8(text)
            .map_err(|error| RecordError::Unwritable { id: id.to_owned(), cause: serde::ser::Error::custom(error) })?;
        Ok(Self { id: Cow::Owned(id.to_owned()), text: Cow::Owned(text), summary: None })
    }

    /// Returns the line with the value of its record.
    pub(super) fn summarized(self, summary: Option<Summary>) -> Self {
        Self { summary: summary.map(Box::new), ..self }
    }
}

impl<S: RecordText> Record<S> {
    /// Writes the record's line behind others.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`] when JSON has no form for it.
    pub(crate) fn write_line(&self, out: &mut Vec<u8>) -> Result<()> {
        let id = self.id();
        let unwritable = |cause| RecordError::Unwritable { id: id.to_owned(), cause };
        quoted::write(id, out).map_err(unwritable)?;
        out.push(b'\t');
        canonical::write(self, out).map_err(unwritable)?;
        out.push(b'\n');
        Ok(())
    }

    /// Returns the digest of the record's canonical JSON, as its line has it.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`] when JSON has no form for it.
    pub fn digest(&self) -> Result<Digest> {
        digest(self)
    }
}

fn digest(record: &Record<impl RecordText>) -> Result<Digest> {
    TEXT.with_borrow_mut(|text| {
        text.clear();
        canonical::write(record, text)
            .map_err(|cause| RecordError::Unwritable { id: record.id().to_owned(), cause })?;
        Ok(Digest::of(text))
    })
}

impl<'a> Line<'a> {
    /// Reads one line with its line feed; nothing when it has another form.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (quoted, json) = text.split_at_checked(memchr(b'\t', text.as_bytes())?)?;
        let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
        let id =
            if inner.contains('\\') { Cow::Owned(serde_json::from_str(quoted).ok()?) } else { Cow::Borrowed(inner) };
        json.ends_with('\n').then_some(Self { id, text: Cow::Borrowed(text), summary: None })
    }

    /// Reads the lines of a text one after the other; for what has another form there is none.
    pub fn all(text: &'a str) -> impl Iterator<Item = Option<Self>> {
        line_ranges(text.as_bytes()).map(|line| Self::parse(&text[line]))
    }

    /// Returns the record's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the whole line with its line feed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the record's canonical JSON.
    pub fn json(&self) -> &str {
        let start = memchr(b'\t', self.text.as_bytes()).map_or(self.text.len(), |tab| tab + 1);
        self.text[start..].trim_end_matches('\n')
    }

    /// Returns the digest of the record's canonical JSON.
    pub fn digest(&self) -> Digest {
        Digest::of(self.json().as_bytes())
    }

    /// Reads the record.
    ///
    /// # Errors
    /// [`RecordError::Unreadable`].
    pub fn record(&self) -> Result<Record> {
        self.read()
    }

    /// Reads the record for as long as the line is at hand.
    ///
    /// # Errors
    /// [`RecordError::Unreadable`].
    pub fn borrowed(&self) -> Result<Record<Text<'_>>> {
        self.read()
    }

    fn read<'l, S: Deserialize<'l> + LongText<'l> + Default>(&'l self) -> Result<Record<S>> {
        canonical::read(self.json()).map_err(|cause| RecordError::Unreadable { id: self.id.clone().into(), cause })
    }

    /// Returns the thread of a row; nothing where only reading the whole record tells it.
    pub fn thread(&self) -> Option<&str> {
        glance::thread(self.json())
    }

    /// Returns the line with its own memory.
    pub fn into_owned(self) -> Line<'static> {
        let Self { id, text, summary } = self;
        Line { id: Cow::Owned(id.into_owned()), text: Cow::Owned(text.into_owned()), summary }
    }

    /// Returns the value of the record that came with the line.
    pub(super) fn summary(&self) -> Option<&Summary> {
        self.summary.as_deref()
    }

    /// Returns whether a chunk ends after this line: a function of its id and its size alone, so that equal sets have
    /// equal chunks whatever their history. The chance is the line's share of [`CHUNK`].
    pub(super) fn ends_chunk(&self) -> bool {
        let hash = blake3::hash(self.id.as_bytes());
        let mut head = [0; 8];
        head.copy_from_slice(&hash.as_bytes()[..8]);
        u128::from(u64::from_le_bytes(head)) * CHUNK < (self.text.len() as u128) << 64
    }
}

/// Returns where the lines of a text are, each with its line feed; the last one may have none.
pub(crate) fn line_ranges(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    let feeds = memchr_iter(b'\n', text).map(|feed| feed + 1);
    let rest = (!text.is_empty() && !text.ends_with(b"\n")).then_some(text.len());
    feeds.chain(rest).map(move |end| std::mem::replace(&mut start, end)..end)
}

#[cfg(test)]
mod tests {
    use super::super::types::{Conversation, Document, Role, Turn};
    use super::*;

    #[test]
    fn keys_are_sorted_and_ids_may_hold_any_character() {
        let id = "a \"quoted\"\tid\n\u{e9}".to_owned();
        let record = Record::Document(Document { id: id.clone(), path: "p".into(), ..Document::default() });
        let line = Line::of(&record).unwrap();
        let back = Line::parse(line.text()).unwrap();
        assert_eq!(back.id(), id);
        assert_eq!(back.record().unwrap(), record);
        assert_eq!(back.digest(), record.digest().unwrap());
        assert_eq!(
            back.json(),
            "{\"content\":\"\",\"id\":\"a \\\"quoted\\\"\\tid\\n\u{e9}\",\"path\":\"p\",\"repo\":\"\",\"title\":\"\",\"type\":\"document\"}"
        );
    }

    #[test]
    fn lines_are_the_text_and_end_with_their_feeds() {
        for (text, expected) in [("", [].as_slice()), ("a\n\nb\n", &["a\n", "\n", "b\n"]), ("a\nb", &["a\n", "b"])] {
            let lines: Vec<&str> = line_ranges(text.as_bytes()).map(|line| &text[line]).collect();
            assert_eq!(lines, expected);
        }
    }

    #[test]
    fn the_canonical_form_of_a_row_is_fixed() {
        let turns = vec![Turn { role: Role::User, text: "q".into() }, Turn { role: Role::Assistant, text: "a".into() }];
        let row = Record::Row(Conversation { id: "r".into(), thread: "t".into(), turns, ..Conversation::default() });
        assert_eq!(
            Line::of(&row).unwrap().text(),
            "\"r\"\t{\"id\":\"r\",\"thread\":\"t\",\"turns\":[{\"role\":\"user\",\"text\":\"q\"},{\"role\":\"assistant\",\
             \"text\":\"a\"}],\"type\":\"row\"}\n"
        );
    }
}
