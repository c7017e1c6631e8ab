//! The rows of one record while they are made.

use std::borrow::Cow;

use crate::record::{Conversation, Correction, Counts, Record, Role, SourceRef, Turn, neutralised};
use crate::store::Digest;

/// Takes the rows and remarks of one record.
pub(super) struct Rows<'a> {
    /// The record's id; rows' ids start with it.
    id: &'a str,
    /// The comments whose words the next row has.
    cited: Vec<u64>,
    system: Option<&'a str>,
    /// Markers that stay as they are.
    kept: &'a [String],
    /// Rows and corrections.
    made: Vec<Record>,
    /// For each of them that names no source: this record is its source, with these comments.
    comments: Vec<Option<Vec<u64>>>,
    counts: Counts,
}

impl<'a> Rows<'a> {
    pub(super) fn of(id: &'a str, system: Option<&'a str>, kept: &'a [String]) -> Self {
        Self { id, cited: Vec::new(), system, kept, made: Vec::new(), comments: Vec::new(), counts: Counts::default() }
    }

    /// Counts a remark.
    pub(super) fn count(&mut self, what: impl Into<Cow<'static, str>>, n: u64) {
        self.counts.add(what, n);
    }

    /// Names the comments whose words the next row has.
    pub(super) fn cite(&mut self, comments: impl IntoIterator<Item = u64>) {
        self.cited = comments.into_iter().collect();
    }

    /// Adds the row whose id goes on with `suffix`, with one question and one answer.
    pub(super) fn pair(&mut self, suffix: &str, question: String, answer: String) {
        let turns = vec![Turn { role: Role::User, text: question }, Turn { role: Role::Assistant, text: answer }];
        self.conversation(suffix, turns);
    }

    /// Adds the row whose id goes on with `suffix`, with several turns.
    pub(super) fn conversation(&mut self, suffix: &str, turns: Vec<Turn>) {
        let row = Conversation {
            id: [self.id, suffix].concat(),
            thread: self.id.to_owned(),
            turns,
            sources: Vec::new(),
            weight: None,
        };
        let comments = Some(std::mem::take(&mut self.cited));
        let record = Record::Row(self.finished(row));
        self.made(record, comments);
    }

    /// Adds a row that a person or another tool made.
    pub(super) fn row(&mut self, row: Conversation) {
        let comments = row.sources.is_empty().then(Vec::new);
        let record = Record::Row(self.finished(row));
        self.made(record, comments);
    }

    /// Adds a correction; the reduction over all rows makes a row of it.
    pub(super) fn correction(&mut self, correction: Correction) {
        let comments = correction.conversation.sources.is_empty().then(Vec::new);
        let conversation = self.finished(correction.conversation);
        self.made(Record::Correction(Correction { conversation, ..correction }), comments);
    }

    /// Most records give one row, and vectors begin with room for four.
    fn made(&mut self, record: Record, comments: Option<Vec<u64>>) {
        if self.made.is_empty() {
            self.made.reserve_exact(1);
            self.comments.reserve_exact(1);
        }
        self.made.push(record);
        self.comments.push(comments);
    }

    /// Gives a row its system prompt and its thread, and takes the power from what is in its texts.
    fn finished(&mut self, mut row: Conversation) -> Conversation {
        for turn in &mut row.turns {
            let (text, changed) = neutralised(&turn.text, self.kept);
            changed.tell(&mut self.counts);
            if let Cow::Owned(text) = text {
                turn.text = text;
            }
        }
        if let Some(system) = self.system
            && row.turns.first().is_none_or(|turn| turn.role != Role::System)
        {
            row.turns.insert(0, Turn { role: Role::System, text: system.to_owned() });
        }
        if row.thread.is_empty() {
            row.thread.clone_from(&row.id);
        }
        row
    }

    /// Returns the rows and the remarks. `digest` is that of the record; a record that gives no row needs none.
    pub(super) fn finish<E>(mut self, digest: impl FnOnce() -> Result<Digest, E>) -> Result<(Vec<Record>, Counts), E> {
        if self.made.is_empty() {
            return Ok((Vec::new(), self.counts));
        }
        let digest = digest()?;
        for (record, comments) in self.made.iter_mut().zip(self.comments) {
            let row = match record {
                Record::Row(row) => Some(row),
                Record::Correction(correction) => Some(&mut correction.conversation),
                _ => None,
            };
            if let (Some(row), Some(comments)) = (row, comments) {
                row.sources = vec![SourceRef { id: self.id.to_owned(), digest, comments }];
            }
        }
        Ok((self.made, self.counts))
    }
}
