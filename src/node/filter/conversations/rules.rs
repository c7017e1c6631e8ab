//! The rules of one run: its settings, and what is made of them once.

use regex::RegexSet;

use super::Comment;
use super::length::{Limit, Measure};
use super::noise::{Noise, without_noise};
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

    /// Returns the first paragraphs of a text that is too long, and counts that it was cut. Nothing is left of a text whose
    /// first paragraphs only introduce one that is too long.
    pub(super) fn shortened(&self, text: String, limit: Limit, what: &str, rows: &mut Rows<'_>) -> String {
        if !self.measure.exceeds(&text, limit) {
            return trimmed(text);
        }
        let mut parts = parts(&text, limit, &self.measure, 0).into_iter();
        let mut first = parts.next().unwrap_or_default();
        if parts.next().is_some() {
            first.truncate(without_introduction(&first).len());
            rows.count(format!("{what} cut between paragraphs: longer than {limit}"), 1);
        }
        if self.measure.exceeds(&first, limit) {
            rows.count(format!("{what} longer than {limit}: its first block cannot be cut"), 1);
        }
        first
    }
}
