//! The texts that problems point into: the manifest itself, and each `--set` as a small text of its own.
//!
//! All texts share one line of offsets, so that a span says by itself which text it lies in.

use std::ops::Range;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// Longer lines are not shown, in bytes: a hundred reports would repeat them.
const LONGEST_SHOWN: usize = 2_000;
/// Longer places are not shown, in bytes, for the same reason.
const LONGEST_PLACE: usize = 20_000;
/// Lines that a report shows before and after its place.
const CONTEXT: usize = 1;

/// Texts one after the other, each with a name for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    texts: Vec<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    name: String,
    content: String,
    start: usize,
}

/// A place for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The name of the text, such as `pipeline.toml`.
    pub name: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Sources {
    /// Adds a text and returns the offset at which it starts.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> usize {
        let start = self.texts.last().map_or(0, |last| last.end() + 1);
        self.texts.push(Text { name: name.to_owned(), content: text.to_owned(), start });
        start
    }

    /// Replaces each byte at `span` by an asterisk, so that no report shows it. Lines stay lines.
    pub(crate) fn mask(&mut self, span: SourceSpan) {
        let Some(text) = self.texts.iter_mut().find(|text| text.holds(span)) else { return };
        let from = span.offset() - text.start;
        let to = from + span.len();
        if text.content.is_char_boundary(from) && text.content.is_char_boundary(to) {
            let masked: String =
                text.content[from..to].bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect();
            text.content.replace_range(from..to, &masked);
        }
    }

    /// Returns whether the text around a place can be shown: a report cannot point into endless lines, nor at thousands
    /// of them.
    pub(crate) fn can_show(&self, span: SourceSpan) -> bool {
        let offset = span.offset();
        let text = self.texts.iter().find(|text| text.start <= offset && offset <= text.end());
        span.len() <= LONGEST_PLACE
            && text.is_some_and(|text| {
                let around = text.lines_around(offset - text.start..offset - text.start, CONTEXT);
                text.content[around].lines().all(|line| line.len() <= LONGEST_SHOWN)
            })
    }

    /// Returns line and column of an offset.
    pub fn position(&self, offset: usize) -> Option<Position> {
        let text = self.texts.iter().find(|text| text.start <= offset && offset <= text.end())?;
        let before = text.content.get(..offset - text.start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some(Position {
            name: text.name.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        })
    }
}

impl Text {
    fn end(&self) -> usize {
        self.start + self.content.len()
    }

    fn holds(&self, span: SourceSpan) -> bool {
        self.start <= span.offset() && span.offset() + span.len() <= self.end()
    }

    /// Returns the lines of a stretch of the content, with so many before and after.
    fn lines_around(&self, stretch: Range<usize>, context: usize) -> Range<usize> {
        let bytes = self.content.as_bytes();
        let before = bytes.iter().take(stretch.start).enumerate().rev().filter(|(_, byte)| **byte == b'\n');
        let start = before.map(|(index, _)| index + 1).nth(context).unwrap_or(0);
        let after = bytes.iter().enumerate().skip(stretch.end).filter(|(_, byte)| **byte == b'\n');
        let end = after.map(|(index, _)| index + 1).nth(context).unwrap_or(bytes.len());
        start..end
    }
}

impl SourceCode for Sources {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = self.texts.iter().find(|text| text.holds(*span)).ok_or(MietteError::OutOfBounds)?;
        let from = span.offset() - text.start;
        // Read from the start of a large text, each of a hundred reports would go through all of it. One line more than
        // asked for, so that the lines end as they do in the whole.
        let context = context_lines_before.max(context_lines_after) + 1;
        let around = text.lines_around(from..from + span.len(), context);
        let local = SourceSpan::from((from - around.start, span.len()));
        let lines_before = text.content[..around.start].matches('\n').count();
        let start = text.start + around.start;
        let contents = text.content[around].read_span(&local, context_lines_before, context_lines_after)?;
        let shown = SourceSpan::from((contents.span().offset() + start, contents.span().len()));
        Ok(Box::new(MietteSpanContents::new_named(
            text.name.clone(),
            contents.data(),
            shown,
            lines_before + contents.line(),
            contents.column(),
            lines_before + contents.line_count(),
        )))
    }
}
