//! What a run of lines holds, memoised by the run's digest.

use std::path::Path;

use super::error::JsonlError;
use super::run::RawRun;
use crate::record::{Form, ImportError, Line, import};
use crate::store::{Digest, MemoEntry, Store};

/// How the lines of one file are read.
pub(super) struct Reader<'a> {
    pub(super) store: &'a Store,
    /// Digest of all that shapes records beside the lines.
    pub(super) scope: Digest,
    /// For messages.
    pub(super) path: &'a Path,
    /// The whole file, to count lines for messages.
    pub(super) file: &'a [u8],
    pub(super) form: Form,
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

/// The records of a run by hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) records: Vec<Fact>,
    /// Lines that were left out because they are no records.
    pub(super) bad: u64,
}

impl Reader<'_> {
    /// Reads every line of a run.
    pub(super) fn lines(&self, run: &RawRun<'_>) -> Result<(Vec<Line<'static>>, u64), JsonlError> {
        let mut lines = Vec::new();
        let mut bad = 0;
        for (number, line) in run.bytes.split(|byte| *byte == b'\n').enumerate() {
            let text = line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            match import(self.form, text, self.repo) {
                Ok(record) => lines.push(Line::of(&record)?),
                Err(_) if self.skips_bad_lines => bad += 1,
                Err(cause) => return Err(self.bad_line(run, number, cause)),
            }
        }
        Ok((lines, bad))
    }

    fn bad_line(&self, run: &RawRun<'_>, number: usize, cause: ImportError) -> JsonlError {
        let newlines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count() - 1;
        let line = (newlines(&self.file[..run.offset]) + number + 1) as u64;
        let path = self.path.to_owned();
        let is_last = run.offset + run.bytes.len() == self.file.len() && newlines(run.bytes) == number;
        if is_last && cause.is_torn() {
            JsonlError::Torn { path, line }
        } else {
            JsonlError::BadLine { path, line, expected: self.form.expected(), cause }
        }
    }

    /// Returns the facts of a run; its lines too when it had to be read, which is so only the first time.
    pub(super) fn facts(&self, run: &RawRun<'_>) -> Result<(Facts, Option<Vec<Line<'static>>>), JsonlError> {
        let known = self.store.memo(&self.part("facts"), &run.digest)?;
        if let Some(facts) = known.and_then(|bytes| Facts::from_bytes(&bytes)) {
            return Ok((facts, None));
        }
        let (lines, bad) = self.lines(run)?;
        let facts = Facts { records: lines.iter().map(Fact::of).collect(), bad };
        let ids: Vec<&str> = lines.iter().map(Line::id).collect();
        self.keep("facts", run.digest, facts.to_bytes())?;
        self.keep("ids", run.digest, serde_json::to_vec(&ids)?)?;
        Ok((facts, Some(lines)))
    }

    /// Returns the ids and facts of a run that was read before and may no longer be in the file.
    pub(super) fn former(&self, run: &Digest) -> Result<Option<(Vec<String>, Facts)>, JsonlError> {
        let ids = self.store.memo(&self.part("ids"), run)?;
        let facts = self.store.memo(&self.part("facts"), run)?;
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

/// Returns the hash of a record's canonical JSON.
pub(super) fn content_hash(line: &Line<'_>) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&line.digest().as_bytes()[..8]);
    u64::from_le_bytes(head)
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
    /// Eight bytes for the bad lines, then 24 for each record.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.bad.to_le_bytes().to_vec();
        for fact in &self.records {
            bytes.extend(fact.id.to_le_bytes());
            bytes.extend(fact.content.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (bad, rest) = bytes.split_first_chunk::<8>()?;
        let (records, []) = rest.as_chunks::<24>() else { return None };
        Some(Self {
            records: records.iter().map(|bytes| Fact::from_bytes(*bytes)).collect(),
            bad: u64::from_le_bytes(*bad),
        })
    }
}
