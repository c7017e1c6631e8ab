//! Events of the TOML parser to a tree of values: TOML's rules of which tables may be opened, extended and closed.
//!
//! They are those of the `toml` crate, whose own tree takes 1.5 kB a table; a test compares the two.

use std::borrow::Cow;

use miette::SourceSpan;
use toml_parser::decoder::ScalarKind;
use toml_parser::{ErrorSink as _, ParseError, Raw, Source, Span};

use super::error::ManifestError;
use super::events::{Errors, Event, MOST_NESTED, Sort};
use super::field::Sink;
use super::value::{Data, Entry, Form, Spanned, Table, Value};

type Key = Spanned<String>;

/// Makes values of events.
pub(super) struct Tree<'t> {
    source: Source<'t>,
    /// Where the text starts in the sources.
    start: usize,
    events: std::vec::IntoIter<Event>,
    errors: &'t mut Errors,
    /// Numbers that are TOML and no values of a manifest.
    pub(super) bad_numbers: Sink,
}

/// `[path.key]` or `[[path.key]]`
struct Header {
    path: Vec<Key>,
    key: Option<Key>,
    span: SourceSpan,
    is_array: bool,
}

impl<'t> Tree<'t> {
    pub(super) fn new(source: Source<'t>, start: usize, events: Vec<Event>, errors: &'t mut Errors) -> Self {
        Self { source, start, events: events.into_iter(), errors, bad_numbers: Sink::default() }
    }

    /// Reads a document.
    pub(super) fn document(&mut self) -> Table {
        let mut root = Table::default();
        let mut current = Table::default();
        let mut header: Option<Header> = None;
        while let Some(event) = self.events.next() {
            match event.sort {
                Sort::TableOpen | Sort::TablesOpen => {
                    self.close(&mut root, header.take(), std::mem::take(&mut current));
                    let opened = self.header(event);
                    current = self.open(&mut root, &opened);
                    header = Some(opened);
                }
                Sort::Key => {
                    let (path, Some(key)) = self.key(event) else { break };
                    if self.events.next().is_none_or(|event| event.sort != Sort::Equals) {
                        break;
                    }
                    let value = self.next_value();
                    self.set(&mut current, &path, key, value, Form::Dotted);
                }
                _ => {}
            }
        }
        self.close(&mut root, header, current);
        root
    }

    /// Reads the next value.
    pub(super) fn next_value(&mut self) -> Value {
        match self.events.next() {
            Some(event) => self.value(event),
            None => self.no_value(),
        }
    }

    fn value(&mut self, event: Event) -> Value {
        match event.sort {
            Sort::InlineOpen => self.inline_table(event),
            Sort::ArrayOpen => self.array(event),
            Sort::Scalar => self.scalar(event),
            _ => self.no_value(),
        }
    }

    /// What stands in for a value after an error.
    fn no_value(&self) -> Value {
        Value { span: (self.start, 0).into(), data: Data::Integer(0) }
    }

    fn place(&self, span: Span) -> SourceSpan {
        (self.start + span.start(), span.end() - span.start()).into()
    }

    fn raw(&self, event: Event) -> Raw<'t> {
        let span = event.span();
        let text = self.source.input().get(span.start()..span.end()).unwrap_or_default();
        Raw::new_unchecked(text, event.encoding, span)
    }

    fn header(&mut self, open: Event) -> Header {
        let mut header = Header {
            path: Vec::new(),
            key: None,
            span: self.place(open.span()),
            is_array: open.sort == Sort::TablesOpen,
        };
        while let Some(event) = self.events.next() {
            match event.sort {
                Sort::TableClose | Sort::TablesClose => {
                    header.span = self.place(open.span().append(event.span()));
                    break;
                }
                Sort::Key => (header.path, header.key) = self.key(event),
                _ => {}
            }
        }
        header
    }

    /// Reads the steps of a key, the last one apart.
    fn key(&mut self, first: Event) -> (Vec<Key>, Option<Key>) {
        let mut steps = vec![self.step(first)];
        while self.peek() == Some(Sort::KeySeparator) {
            self.events.next();
            for event in self.events.by_ref() {
                if event.sort == Sort::Key {
                    let step = self.step(event);
                    steps.push(step);
                    break;
                }
            }
        }
        if steps.len() > MOST_NESTED as usize {
            self.errors.report_error(ParseError::new("recursion limit"));
            return (Vec::new(), None);
        }
        let last = steps.pop();
        (steps, last)
    }

    fn peek(&self) -> Option<Sort> {
        self.events.as_slice().first().map(|event| event.sort)
    }

    fn step(&mut self, event: Event) -> Key {
        let mut decoded = Cow::Borrowed("");
        self.raw(event).decode_key(&mut decoded, self.errors);
        Spanned { value: decoded.into_owned(), span: self.place(event.span()) }
    }

    /// Returns the number, or reports that there is none and returns one of its type, by which other complaints name it.
    fn number<N: Default>(&mut self, number: Option<N>, at: SourceSpan) -> N {
        number.unwrap_or_else(|| {
            self.bad_numbers.push(ManifestError::BadNumber { at });
            N::default()
        })
    }

    fn scalar(&mut self, event: Event) -> Value {
        let mut decoded = Cow::Borrowed("");
        let kind = self.raw(event).decode_scalar(&mut decoded, self.errors);
        let span = self.place(event.span());
        let data = match kind {
            ScalarKind::String => Data::String(decoded.into_owned()),
            ScalarKind::Boolean(flag) => Data::Boolean(flag),
            ScalarKind::DateTime => match decoded.parse::<toml::value::Datetime>() {
                Ok(time) => Data::Datetime(time.to_string()),
                Err(error) => {
                    self.errors.report_error(ParseError::new(error.to_string()).with_unexpected(event.span()));
                    Data::Datetime(String::new())
                }
            },
            ScalarKind::Float => {
                let number = decoded.parse::<f64>().ok().filter(|number| number.is_finite());
                Data::Float(self.number(number, span))
            }
            ScalarKind::Integer(radix) => {
                let number = i64::from_str_radix(&decoded, radix.value()).ok();
                Data::Integer(self.number(number, span))
            }
        };
        Value { span, data }
    }

    fn array(&mut self, open: Event) -> Value {
        let mut items = Vec::new();
        let mut current = None;
        let mut end = open.span();
        while let Some(event) = self.events.next() {
            end = event.span();
            match event.sort {
                Sort::InlineOpen | Sort::ArrayOpen | Sort::Scalar => current = Some(self.value(event)),
                Sort::Separator => items.extend(current.take()),
                Sort::ArrayClose => {
                    items.extend(current.take());
                    break;
                }
                Sort::Newline | Sort::Error => {}
                _ => break,
            }
        }
        Value { span: self.place(Span::new_unchecked(open.span().start(), end.end())), data: Data::Array(items) }
    }

    fn inline_table(&mut self, open: Event) -> Value {
        let mut table = Table::of(Form::Inline);
        let mut key = None;
        let mut value = None;
        let mut end = open.span();
        while let Some(event) = self.events.next() {
            end = event.span();
            match event.sort {
                Sort::Key => {
                    if let (path, Some(last)) = self.key(event) {
                        key = Some((path, last));
                    }
                }
                Sort::InlineOpen | Sort::ArrayOpen | Sort::Scalar => value = Some(self.value(event)),
                Sort::Separator | Sort::InlineClose => {
                    if let (Some((path, key)), Some(value)) = (key.take(), value.take()) {
                        self.set(&mut table, &path, key, value, Form::InlineDotted);
                    }
                    if event.sort == Sort::InlineClose {
                        break;
                    }
                }
                Sort::Equals | Sort::Newline | Sort::Error => {}
                _ => break,
            }
        }
        Value { span: self.place(Span::new_unchecked(open.span().start(), end.end())), data: Data::Table(table) }
    }

    /// Opens the table of a header: an empty one, or what headers below it made of it.
    fn open(&mut self, root: &mut Table, header: &Header) -> Table {
        if header.is_array {
            return Table::default();
        }
        let (Some(parent), Some(key)) = (self.descend(root, &header.path, Form::Implicit), &header.key) else {
            return Table::default();
        };
        let Some(old) = parent.entry_mut(&key.value) else { return Table::default() };
        // The entry itself stays where it is until the table is closed.
        match std::mem::replace(&mut old.value.data, Data::Boolean(false)) {
            Data::Table(table) if table.form() == Form::Implicit => table.with_form(Form::Header),
            data => {
                let before = old.key.span;
                self.duplicate(key.span, Some(before));
                match data {
                    Data::Table(table) if table.form().is_inline() => table.with_form(Form::Inline),
                    Data::Table(table) => table.with_form(Form::Header),
                    _ => Table::default(),
                }
            }
        }
    }

    /// Puts the table of a header where it belongs.
    fn close(&mut self, root: &mut Table, header: Option<Header>, table: Table) {
        let Some(Header { path, key, span, is_array }) = header else {
            *root = table;
            return;
        };
        let Some(key) = key else { return };
        let Some(parent) = self.descend(root, &path, Form::Implicit) else { return };
        let table = Value { span, data: Data::Table(table) };
        if !is_array {
            parent.set(key, table);
            return;
        }
        match parent.entry_mut(&key.value) {
            None => parent.set(key, Value { span, data: Data::Array(vec![table]) }),
            Some(Entry { value: Value { data: Data::Array(items), .. }, .. }) if is_of_tables(items) => {
                items.push(table);
            }
            Some(entry) => {
                let before = entry.value.span;
                self.duplicate(key.span, Some(before));
            }
        }
    }

    /// Sets a value by the steps of its key; `form` is as [`Self::descend`] has it.
    fn set(&mut self, table: &mut Table, path: &[Key], key: Key, value: Value, form: Form) {
        let Some(table) = self.descend(table, path, form) else { return };
        if !path.is_empty() && !table.form().is_implicit() {
            self.duplicate(key.span, None);
        } else if let Some(old) = table.entry(&key.value) {
            let before = old.key.span;
            self.duplicate(key.span, Some(before));
        } else {
            table.push(Entry { key, value });
        }
    }

    /// Finds the table at the end of a path, and makes those that are not there. `form` is theirs, and tells a header's path, a
    /// dotted key's and one's within an inline table apart.
    fn descend<'a>(&mut self, mut table: &'a mut Table, path: &[Key], form: Form) -> Option<&'a mut Table> {
        let dotted = form != Form::Implicit;
        for key in path {
            if table.entry(&key.value).is_none() {
                table.push(Entry {
                    key: key.clone(),
                    value: Value { span: key.span, data: Data::Table(Table::of(form)) },
                });
            }
            let entry = table.entry_mut(&key.value)?;
            let kind = entry.value.data.toml_name();
            let is_tables = matches!(&entry.value.data, Data::Array(items) if is_of_tables(items));
            let before = entry.value.span;
            let inner = match &mut entry.value.data {
                Data::Array(items) => items.last_mut().filter(|_| is_tables).map(|last| &mut last.data),
                data => Some(data),
            };
            let Some(Data::Table(inner)) = inner else {
                let what = format!("cannot extend value of type {kind} with a dotted key");
                let error = ParseError::new(what).with_unexpected(self.unplaced(key.span));
                self.errors.report_error(error.with_context(self.unplaced(before)));
                return None;
            };
            // What stands in an array of tables is extended by a dotted key as any table is.
            if !is_tables {
                if inner.form().is_inline() && form != Form::InlineDotted {
                    let what = "cannot extend value of type inline table with a dotted key";
                    self.errors.report_error(ParseError::new(what).with_unexpected(self.unplaced(key.span)));
                    return None;
                }
                if dotted && inner.form() == Form::Implicit {
                    inner.set_form(Form::Dotted);
                }
                if dotted && !inner.form().is_implicit() {
                    self.duplicate(key.span, None);
                    return None;
                }
            }
            table = inner;
        }
        Some(table)
    }

    fn duplicate(&mut self, at: SourceSpan, first: Option<SourceSpan>) {
        let mut error = ParseError::new("duplicate key").with_unexpected(self.unplaced(at));
        if let Some(first) = first {
            error = error.with_context(self.unplaced(first));
        }
        self.errors.report_error(error);
    }

    /// Returns a place within this text alone.
    fn unplaced(&self, span: SourceSpan) -> Span {
        let start = span.offset() - self.start;
        Span::new_unchecked(start, start + span.len())
    }
}

/// Returns whether an array is one of `[[tables]]`: those in brackets hold inline tables.
fn is_of_tables(items: &[Value]) -> bool {
    matches!(items.last(), Some(Value { data: Data::Table(table), .. }) if table.form() == Form::Header)
}
