//! The rules of one run: its settings, and what is made of them once.

use regex::RegexSet;

use super::Comment;
use super::length::{Limit, Measure};
use super::noise::{Noise, only_asks, without_noise};
use super::outline::{parts, without_introduction};
use super::people::is_maintainer;
use super::row::Rows;
use super::settings::{Answerers, Settings};
use super::text::{clean, trimmed};

/// The rules of one run.
pub(super) struct Rules<'a> {
    pub(super) settings: &'a Settings,
    pub(super) measure: Measure,
    /// Which sentences of comments say nothing.
    pub(super) noise: Noise<'a>,
}

impl<'a> Rules<'a> {
    /// Returns the rules of settings; `noise` is what they say in [`Settings::noise`].
    pub(super) fn of(settings: &'a Settings, noise: &'a RegexSet, measure: Measure) -> Self {
        Self { settings, measure, noise: Noise { known: settings.known_noise, more: noise } }
    }

    /// Returns what a comment says.
    pub(super) fn without_noise(&self, comment: &str) -> String {
        without_noise(&clean(comment), self.noise)
    }

    /// Returns whether the settings let the author of a comment answer.
    pub(super) fn may_answer(&self, comment: &Comment<'_>) -> bool {
        self.settings.answerers == Answerers::Anyone || is_maintainer(&comment.author)
    }

    /// Returns whether a text is no answer because it asks.
    pub(super) fn only_asks(&self, text: &str) -> bool {
        !self.settings.asking_answers && only_asks(text)
    }

    /// Returns the first paragraphs of a text that is too long, and counts that it was cut. Nothing is left of a text whose
    /// first paragraphs only introduce one that is too long.
    pub(super) fn shortened(&self, text: String, limit: Limit, what: &str, rows: &mut Rows<'_>) -> String {
        self.fitted(text, limit, limit, what, rows)
    }

    /// Returns as much of a text as fits into a question of which `frame` are the other pieces, such as the title. Nothing
    /// of it is left where those are too long.
    pub(super) fn asked<'f>(
        &self,
        text: String,
        frame: impl Iterator<Item = &'f str> + Clone,
        rows: &mut Rows<'_>,
    ) -> String {
        let limit = self.settings.max_question();
        let bytes = frame.clone().map(str::len).sum::<usize>() + text.len();
        // No text has more characters than bytes: most questions are told without counting.
        if matches!(limit, Limit::Characters(most) if bytes <= most) {
            return trimmed(text);
        }
        let length = frame.map(|piece| self.measure.length(piece, limit)).fold(0, usize::saturating_add);
        let Some(room) = limit.beside(length) else {
            self.count_long_title(rows);
            return String::new();
        };
        self.fitted(text, room, limit, "question", rows)
    }

    /// Counts a question that is too long and that nothing can be taken from.
    pub(super) fn count_long_title(&self, rows: &mut Rows<'_>) {
        rows.count(format!("question longer than {}: its title cannot be cut", self.settings.max_question()), 1);
    }

    /// Returns the first paragraphs of a text that is longer than `room`, which is what `limit` leaves for it.
    fn fitted(&self, text: String, room: Limit, limit: Limit, what: &str, rows: &mut Rows<'_>) -> String {
        if !self.measure.exceeds(&text, room) {
            return trimmed(text);
        }
        let mut parts = parts(&text, room, &self.measure, 0).into_iter();
        let mut first = parts.next().unwrap_or_default();
        if parts.next().is_some() {
            first.truncate(without_introduction(&first).len());
            rows.count(format!("{what} cut between paragraphs: longer than {limit}"), 1);
        }
        if self.measure.exceeds(&first, room) {
            rows.count(format!("{what} longer than {limit}: its first block cannot be cut"), 1);
        }
        first
    }
}
