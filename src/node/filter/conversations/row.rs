//! The rows of one record while they are made.

use std::borrow::Cow;

use crate::record::{
    Conversation, Correction, Counts, Line, Mapped, Record, RecordError, Role, SourceRef, Turn, neutralised,
};

/// Takes the rows and remarks of one record.
pub(super) struct Rows<'a> {
    /// The record's id; rows' ids start with it.
    id: &'a str,
    source: SourceRef,
    /// The comments whose words the next row has.
    cited: Vec<u64>,
    system: Option<&'a str>,
    /// Markers that stay as they are.
    kept: &'a [String],
    made: Vec<Record>,
    counts: Counts,
}

impl<'a> Rows<'a> {
    pub(super) fn of(line: &'a Line<'_>, system: Option<&'a str>, kept: &'a [String]) -> Self {
        let source = SourceRef { id: line.id().to_owned(), digest: line.digest(), comments: Vec::new() };
        Self { id: line.id(), source, cited: Vec::new(), system, kept, made: Vec::new(), counts: Counts::default() }
    }

    /// Counts why the record gave no row.
    pub(super) fn dropped(&mut self, reason: &str) {
        self.counts.add(&format!("dropped {reason}"), 1);
    }

    /// Counts a remark.
    pub(super) fn count(&mut self, what: &str, n: u64) {
        self.counts.add(what, n);
    }

    /// Names the comments whose words the next row has.
    pub(super) fn cite(&mut self, comments: impl IntoIterator<Item = u64>) {
        self.cited = comments.into_iter().collect();
    }

    /// Adds the row `ID:name` with one question and one answer.
    pub(super) fn pair(&mut self, name: &str, question: String, answer: String) {
        self.named_pair(&format!(":{name}"), question, answer);
    }

    /// Adds the row whose id goes on with `suffix`, with one question and one answer.
    pub(super) fn named_pair(&mut self, suffix: &str, question: String, answer: String) {
        let turns = vec![Turn { role: Role::User, text: question }, Turn { role: Role::Assistant, text: answer }];
        self.add(suffix, turns);
    }

    /// Adds the row `ID:name` with several turns.
    pub(super) fn conversation(&mut self, name: &str, turns: Vec<Turn>) {
        self.add(&format!(":{name}"), turns);
    }

    fn add(&mut self, suffix: &str, turns: Vec<Turn>) {
        let row = Conversation {
            id: format!("{}{suffix}", self.id),
            thread: self.id.to_owned(),
            turns,
            sources: vec![SourceRef { comments: std::mem::take(&mut self.cited), ..self.source.clone() }],
            weight: None,
        };
        let row = self.finished(row);
        self.made.push(Record::Row(row));
    }

    /// Adds a row that a person or another tool made.
    pub(super) fn row(&mut self, row: Conversation) {
        let row = self.finished(row);
        self.made.push(Record::Row(row));
    }

    /// Adds a correction; the reduction over all rows makes a row of it.
    pub(super) fn correction(&mut self, correction: Correction) {
        let conversation = self.finished(correction.conversation);
        self.made.push(Record::Correction(Correction { conversation, ..correction }));
    }

    /// Gives a row its system prompt and its source, and takes the power from what is in its texts.
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
        if row.sources.is_empty() {
            row.sources.push(self.source.clone());
        }
        if row.thread.is_empty() {
            row.thread.clone_from(&row.id);
        }
        row
    }

    /// Returns the rows.
    pub(super) fn mapped(self) -> Result<Mapped, RecordError> {
        let mut mapped = Mapped { counts: self.counts, ..Mapped::default() };
        for row in &self.made {
            mapped.push(0, row)?;
        }
        Ok(mapped)
    }
}
