//! The texts that problems point into: the manifest itself, and each `--set` as a small text of its own.
//!
//! All texts share one line of offsets, so that a span says by itself which text it lies in.

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// The width that the reports' renderer can still count with, in bytes.
const LONGEST_SHOWN: usize = 30_000;

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
    /// Bytes of its longest line.
    longest_line: usize,
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
        let longest_line = text.lines().map(str::len).max().unwrap_or(0);
        self.texts.push(Text { name: name.to_owned(), content: text.to_owned(), start, longest_line });
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

    /// Returns whether the text around `offset` can be shown: a report cannot point into endless lines.
    pub(crate) fn can_show(&self, offset: usize) -> bool {
        let text = self.texts.iter().find(|text| text.start <= offset && offset <= text.end());
        text.is_some_and(|text| text.longest_line <= LONGEST_SHOWN)
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
}

impl SourceCode for Sources {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = self.texts.iter().find(|text| text.holds(*span)).ok_or(MietteError::OutOfBounds)?;
        let local = SourceSpan::from((span.offset() - text.start, span.len()));
        let contents = text.content.as_str().read_span(&local, context_lines_before, context_lines_after)?;
        let shown = SourceSpan::from((contents.span().offset() + text.start, contents.span().len()));
        Ok(Box::new(MietteSpanContents::new_named(
            text.name.clone(),
            contents.data(),
            shown,
            contents.line(),
            contents.column(),
            contents.line_count(),
        )))
    }
}
