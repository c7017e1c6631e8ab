//! What a run of lines holds, memoised by the run's digest.

use std::io;
use std::path::Path;

use memchr::memchr_iter;
use twox_hash::XxHash64;

use super::error::JsonlError;
use super::run::{RawRun, Span};
use super::spool::{Place, Spool};
use crate::node::source::text;
use crate::record::{FieldMap, Form, ImportError, Imported, Line, Text, import_mapped, line_ranges};
use crate::store::{Digest, MemoEntry, Store};

/// The name of a run's memoised facts; another one for another form of them.
const FACTS: &str = "facts by XXH64";

/// How the lines of one file are read.
pub(super) struct Reader<'a> {
    pub(super) store: &'a Store,
    /// Digest of all that shapes records beside the lines.
    pub(super) scope: Digest,
    /// For messages.
    pub(super) path: &'a Path,
    pub(super) text: &'a text::Text,
    /// Takes the lines of runs that are read.
    pub(super) spool: &'a Spool,
    pub(super) form: Form,
    pub(super) map: Option<&'a FieldMap>,
    pub(super) repo: Option<&'a str>,
    pub(super) skips_bad_lines: bool,
}

/// A record by hashes: enough to find those that come twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    /// Hash of the id.
    pub(super) id: u128,
    /// Hash of the canonical JSON.
    pub(super) content: u64,
}

/// The records of a run by hashes, and what was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) records: Vec<Fact>,
    /// Lines that are no records.
    pub(super) bad: u64,
    /// Lines whose writer was stopped in the middle of them.
    pub(super) torn: u64,
    /// Turns of tools.
    pub(super) tool_turns: u64,
}

impl Reader<'_> {
    /// Reads every line of a run, and returns those of its records as one text, and what was left out.
    fn read(&self, run: &RawRun<'_>) -> Result<(String, Facts), JsonlError> {
        let mut text = Vec::with_capacity(run.bytes.len() + run.bytes.len() / 8);
        let mut facts = Facts::default();
        for (number, line) in line_ranges(run.bytes).enumerate() {
            let line = run.bytes[line].trim_ascii();
            if line.is_empty() {
                continue;
            }
            let imported = match self.import(line) {
                Ok(imported) => imported,
                Err(cause) if cause.is_torn() && self.is_last(run, number) => {
                    facts.torn += 1;
                    continue;
                }
                Err(cause) => match self.glued(line) {
                    Some(imported) => {
                        facts.torn += 1;
                        imported
                    }
                    None if self.skips_bad_lines => {
                        facts.bad += 1;
                        continue;
                    }
                    None => return Err(self.bad_line(run, number, cause)),
                },
            };
            facts.tool_turns += imported.tool_turns;
            imported.record.write_line(&mut text)?;
        }
        Ok((String::from_utf8(text).map_err(io::Error::other)?, facts))
    }

    fn import<'l>(&'l self, text: &'l [u8]) -> Result<Imported<Text<'l>>, ImportError> {
        import_mapped(self.form, text, self.repo, self.map)
    }

    /// Reads the whole line behind a torn one: a writer that was stopped in the middle of a line and later started again
    /// puts the next line right behind it. Both begin with the same key.
    fn glued<'l>(&'l self, text: &'l [u8]) -> Option<Imported<Text<'l>>> {
        let key = text.iter().position(|byte| *byte == b':').filter(|end| (3..=64).contains(end))?;
        let start = &text[..=key];
        if !start.starts_with(b"{") {
            return None;
        }
        let again = text[1..].windows(start.len()).rposition(|window| window == start)?;
        self.import(&text[again + 1..]).ok()
    }

    /// Returns whether a line of a run is the file's last one, with no line feed at its end.
    fn is_last(&self, run: &RawRun<'_>, number: usize) -> bool {
        run.offset + run.bytes.len() as u64 == self.text.length() && newlines(run.bytes) == number
    }

    fn bad_line(&self, run: &RawRun<'_>, number: usize, cause: ImportError) -> JsonlError {
        match self.text.lines_before(run.offset) {
            Ok(before) => {
                let line = before + number as u64 + 1;
                JsonlError::BadLine { path: self.path.to_owned(), line, expected: self.form.expected(), cause }
            }
            Err(error) => error.into(),
        }
    }

    /// Returns the digest and the facts of a run; the places of its lines too when it had to be read, which is so only the
    /// first time.
    pub(super) fn facts(&self, run: &RawRun<'_>) -> Result<(Digest, Facts, Option<Vec<Place>>), JsonlError> {
        let known = self.store.memo(&self.part(FACTS), &run.digest)?;
        if let Some(facts) = known.and_then(|bytes| Facts::from_bytes(&bytes)) {
            return Ok((run.digest, facts, None));
        }
        let (text, mut facts) = self.read(run)?;
        let lines = lines(&text)?;
        facts.records = lines.iter().map(Fact::of).collect();
        let ids: Vec<&str> = lines.iter().map(Line::id).collect();
        self.keep(FACTS, run.digest, facts.to_bytes())?;
        self.keep("ids", run.digest, serde_json::to_vec(&ids)?)?;
        Ok((run.digest, facts, Some(self.spool.put(&text, &lines)?)))
    }

    /// Reads the lines of a run whose digest is known, as one text.
    pub(super) fn read_again(&self, span: Span, digest: &Digest) -> Result<String, JsonlError> {
        let bytes = span.read(self.text)?;
        let run = span.run(&bytes);
        if run.digest != *digest {
            return Err(JsonlError::Changed { path: self.path.to_owned() });
        }
        Ok(self.read(&run)?.0)
    }

    /// Returns the ids and facts of a run that was read before and may no longer be in the file.
    pub(super) fn former(&self, run: &Digest) -> Result<Option<(Vec<String>, Facts)>, JsonlError> {
        let ids = self.store.memo(&self.part("ids"), run)?;
        let facts = self.store.memo(&self.part(FACTS), run)?;
        let ids: Option<Vec<String>> = ids.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let facts = facts.and_then(|bytes| Facts::from_bytes(&bytes));
        Ok(ids.zip(facts).filter(|(ids, facts)| ids.len() == facts.records.len()))
    }

    /// Returns the scope of one kind of memo of this reader.
    pub(super) fn part(&self, name: &str) -> Digest {
        Digest::of(format!("{} {name}", self.scope).as_bytes())
    }

    pub(super) fn keep(&self, name: &str, input: Digest, value: Vec<u8>) -> Result<(), JsonlError> {
        let entry = MemoEntry { input, first: String::new(), last: String::new(), value };
        Ok(self.store.put_memo(self.part(name), entry)?)
    }
}

/// Returns the lines of a text.
pub(super) fn lines(text: &str) -> io::Result<Vec<Line<'_>>> {
    let no_line = || io::Error::new(io::ErrorKind::InvalidData, "what was read or put aside is no line");
    Line::all(text).map(|line| line.ok_or_else(no_line)).collect()
}

/// Returns the hash of a record's canonical JSON. It tells versions of one record apart and names nothing, so it need not
/// withstand malice: who may write the record may have it say anything.
pub(super) fn content_hash(line: &Line<'_>) -> u64 {
    XxHash64::oneshot(0, line.json().as_bytes())
}

impl Fact {
    fn of(line: &Line<'_>) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&Digest::of(line.id().as_bytes()).as_bytes()[..16]);
        Self { id: u128::from_le_bytes(id), content: content_hash(line) }
    }

    fn from_bytes(bytes: [u8; 24]) -> Self {
        let (mut id, mut content) = ([0; 16], [0; 8]);
        id.copy_from_slice(&bytes[..16]);
        content.copy_from_slice(&bytes[16..]);
        Self { id: u128::from_le_bytes(id), content: u64::from_le_bytes(content) }
    }
}

impl Facts {
    /// Eight bytes for each count, then 24 for each record.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            [self.bad, self.torn, self.tool_turns].into_iter().flat_map(u64::to_le_bytes).collect();
        for fact in &self.records {
            bytes.extend(fact.id.to_le_bytes());
            bytes.extend(fact.content.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (counts, rest) = bytes.split_first_chunk::<24>()?;
        let [bad, torn, tool_turns] = counts.as_chunks::<8>().0 else { return None };
        let (records, []) = rest.as_chunks::<24>() else { return None };
        Some(Self {
            records: records.iter().map(|bytes| Fact::from_bytes(*bytes)).collect(),
            bad: u64::from_le_bytes(*bad),
            torn: u64::from_le_bytes(*torn),
            tool_turns: u64::from_le_bytes(*tool_turns),
        })
    }
}

fn newlines(bytes: &[u8]) -> usize {
    memchr_iter(b'\n', bytes).count()
}
