//! The parser's events in little memory: what the tree of values is made of.

use toml_parser::decoder::Encoding;
use toml_parser::parser::{EventReceiver, RecursionGuard, ValidateWhitespace, parse_document, parse_value};
use toml_parser::{ErrorSink, ParseError, Source, Span};

/// A text of more tokens is refused before any is kept: 100,000 nodes of six settings have fewer.
pub(super) const MOST_TOKENS: usize = 2_500_000;
/// Brackets and braces within each other, beyond which the parser does not follow. A dotted key has as many steps.
pub(super) const MOST_NESTED: u32 = 80;

/// What a stretch of the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    TableOpen,
    TableClose,
    TablesOpen,
    TablesClose,
    InlineOpen,
    InlineClose,
    ArrayOpen,
    ArrayClose,
    Key,
    KeySeparator,
    Equals,
    Scalar,
    Separator,
    /// A line's end, or a comment.
    Newline,
    Error,
}

impl Sort {
    /// Whether it opens a table, or may be a step into one that is not there yet.
    pub(super) fn makes_a_table(self) -> bool {
        matches!(self, Self::TableOpen | Self::TablesOpen | Self::InlineOpen | Self::KeySeparator)
    }
}

/// A sort of thing and its place; whitespace is left out. A manifest's offsets fit 32 bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) sort: Sort,
    pub(super) encoding: Option<Encoding>,
    start: u32,
    end: u32,
}

impl Event {
    pub(super) fn span(self) -> Span {
        Span::new_unchecked(self.start as usize, self.end as usize)
    }
}

/// What is wrong with the syntax: everything, or the first thing only.
pub(super) struct Errors {
    all: bool,
    pub(super) list: Vec<ParseError>,
}

impl Errors {
    pub(super) fn new(all: bool) -> Self {
        Self { all, list: Vec::new() }
    }

    pub(super) fn all(&self) -> bool {
        self.all
    }
}

impl ErrorSink for Errors {
    fn report_error(&mut self, error: ParseError) {
        if self.all || self.list.is_empty() {
            self.list.push(error);
        }
    }
}

/// Returns whether a text has more tokens than are read.
pub(super) fn has_too_many_tokens(text: &str) -> bool {
    // A token has a byte or more.
    text.len() > MOST_TOKENS && Source::new(text).lex().nth(MOST_TOKENS).is_some()
}

/// Reads the events of a document.
pub(super) fn of_document(source: Source<'_>, errors: &mut Errors) -> Vec<Event> {
    let tokens: Vec<_> = source.lex().collect();
    received(source, tokens.len(), errors, |receiver, errors| parse_document(&tokens, receiver, errors))
}

/// Reads the events of one value.
pub(super) fn of_value(source: Source<'_>, errors: &mut Errors) -> Vec<Event> {
    let tokens: Vec<_> = source.lex().collect();
    received(source, tokens.len(), errors, |receiver, errors| parse_value(&tokens, receiver, errors))
}

fn received(
    source: Source<'_>,
    expected: usize,
    errors: &mut Errors,
    parse: impl FnOnce(&mut dyn EventReceiver, &mut dyn ErrorSink),
) -> Vec<Event> {
    let mut kept = Kept(Vec::with_capacity(expected));
    let mut checked = ValidateWhitespace::new(&mut kept, source);
    let mut guarded = RecursionGuard::new(&mut checked, MOST_NESTED);
    parse(&mut guarded, errors);
    kept.0
}

struct Kept(Vec<Event>);

impl Kept {
    fn push(&mut self, sort: Sort, encoding: Option<Encoding>, span: Span) {
        self.0.push(Event { sort, encoding, start: span.start() as u32, end: span.end() as u32 });
    }
}

impl EventReceiver for Kept {
    fn std_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.push(Sort::TableOpen, None, span);
    }
    fn std_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.push(Sort::TableClose, None, span);
    }
    fn array_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.push(Sort::TablesOpen, None, span);
    }
    fn array_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.push(Sort::TablesClose, None, span);
    }
    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.push(Sort::InlineOpen, None, span);
        true
    }
    fn inline_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.push(Sort::InlineClose, None, span);
    }
    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.push(Sort::ArrayOpen, None, span);
        true
    }
    fn array_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.push(Sort::ArrayClose, None, span);
    }
    fn simple_key(&mut self, span: Span, encoding: Option<Encoding>, _: &mut dyn ErrorSink) {
        self.push(Sort::Key, encoding, span);
    }
    fn key_sep(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.push(Sort::KeySeparator, None, span);
    }
    fn key_val_sep(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.push(Sort::Equals, None, span);
    }
    fn scalar(&mut self, span: Span, encoding: Option<Encoding>, _: &mut dyn ErrorSink) {
        self.push(Sort::Scalar, encoding, span);
    }
    fn value_sep(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.push(Sort::Separator, None, span);
    }
    fn comment(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.push(Sort::Newline, None, span);
    }
    fn newline(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.push(Sort::Newline, None, span);
    }
    fn error(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.push(Sort::Error, None, span);
    }
}
