//! TOML text to values with places: the only file that knows the TOML parser.

use miette::SourceSpan;
use toml::Spanned as TomlSpanned;
use toml::de::{DeTable, DeValue};

use super::error::{ManifestError, place};
use super::value::{Data, Entry, Spanned, Table, Value};

/// A manifest's text is at most this large, in bytes; larger ones are refused unread.
pub const MOST_BYTES: usize = 8 << 20;
/// Of a larger text only the first mistake of syntax is told: a flood of them would take gigabytes.
const MOST_RECOVERED: usize = 1 << 18;
/// Deeper values are refused, in tables and arrays within each other.
const MOST_DEPTH: usize = 32;

/// Reads a document that starts at `start` of the sources.
pub(super) fn document(text: &str, start: usize, problems: &mut Vec<ManifestError>) -> Table {
    if text.len() > MOST_BYTES {
        problems.push(ManifestError::TooLarge { bytes: text.len(), limit: MOST_BYTES, at: (start, 0).into() });
        return Table::default();
    }
    let (table, errors) = if text.len() > MOST_RECOVERED {
        match DeTable::parse(text) {
            Ok(table) => (table, Vec::new()),
            Err(error) => {
                problems.push(syntax_problem(&error, text, start));
                return Table::default();
            }
        }
    } else {
        DeTable::parse_recoverable(text)
    };
    problems.extend(errors.iter().map(|error| syntax_problem(error, text, start)));
    problems.sort_by_key(|problem| place(problem));
    if let (2.., Some(ManifestError::Syntax { help, .. })) = (errors.len(), problems.first_mut()) {
        help.get_or_insert_with(|| "mend this one first: the others may follow from it".into());
    }
    if errors.is_empty() { Reader { start, problems }.table(table.into_inner(), 0) } else { Table::default() }
}

/// Reads one value that starts at `start` of the sources; `None` when it is no TOML value.
pub(super) fn value(text: &str, start: usize, problems: &mut Vec<ManifestError>) -> Option<Value> {
    let value = DeValue::parse(text).ok()?;
    Reader { start, problems }.value(value, 0)
}

/// Reads a dotted key, such as `train.expert."a.b"`; `None` when it is none.
pub(super) fn dotted_key(text: &str) -> Option<Vec<String>> {
    if text.contains(['\n', '\r', '=', '#']) {
        return None;
    }
    let line = format!("{text} = 0");
    let document = DeTable::parse(&line).ok()?;
    let mut path = Vec::new();
    let mut table = document.get_ref();
    loop {
        let mut entries = table.iter();
        let (key, value) = entries.next()?;
        path.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

fn syntax_problem(error: &toml::de::Error, text: &str, start: usize) -> ManifestError {
    let range = error.span().unwrap_or(0..0);
    let help = syntax_help(error.message(), text, range.start).map(str::to_owned);
    ManifestError::Syntax { message: error.message().to_owned(), help, at: (start + range.start, range.len()).into() }
}

/// Says what to do about the parser's most frequent complaints.
fn syntax_help(message: &str, text: &str, offset: usize) -> Option<&'static str> {
    let here = text.get(offset..).unwrap_or_default();
    if text.trim_start().starts_with('{') {
        Some("a manifest is TOML, not JSON: `key = value` below `[table]`")
    } else if here.starts_with(':') {
        Some("a manifest is TOML, not YAML: `key = value` below `[table]`")
    } else if message.contains("escape") {
        Some("a backslash starts an escape: write `\\\\`, or put the string in single quotes")
    } else if message.contains("recurs") {
        Some("tables and arrays lie within each other too deeply for a manifest")
    } else if message.contains("duplicate key") {
        Some("a key, and a table, stands only once: put both together, or rename one")
    } else if message.contains("must be quoted") {
        Some("put it in quotes: `\"…\"`")
    } else if message.contains("invalid basic string") {
        Some("the string has no closing quote on this line")
    } else {
        None
    }
}

struct Reader<'p> {
    start: usize,
    problems: &'p mut Vec<ManifestError>,
}

impl Reader<'_> {
    fn place<T>(&self, spanned: &TomlSpanned<T>) -> SourceSpan {
        let range = spanned.span();
        (self.start + range.start, range.len()).into()
    }

    /// Takes a table apart while it reads it: two forms of a large manifest would be in memory at a time.
    fn table(&mut self, table: DeTable<'_>, depth: usize) -> Table {
        let mut entries = Vec::new();
        for (key, value) in table {
            let key = Spanned { span: self.place(&key), value: key.into_inner().into_owned() };
            if let Some(value) = self.value(value, depth + 1) {
                entries.push(Entry { key, value });
            }
        }
        Table::new(entries)
    }

    /// Reads a value; `None` after it was reported as a problem.
    fn value(&mut self, value: TomlSpanned<DeValue<'_>>, depth: usize) -> Option<Value> {
        let span = self.place(&value);
        if depth > MOST_DEPTH {
            self.problems.push(ManifestError::TooDeep { limit: MOST_DEPTH, at: span });
            return None;
        }
        let data = match value.into_inner() {
            DeValue::String(text) => Data::String(text.into_owned()),
            DeValue::Boolean(flag) => Data::Boolean(flag),
            DeValue::Datetime(time) => Data::Datetime(time.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Data::Integer(number),
                Err(_) => return self.bad_number(span),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Data::Float(number),
                _ => return self.bad_number(span),
            },
            DeValue::Array(items) => {
                Data::Array(items.into_iter().filter_map(|item| self.value(item, depth + 1)).collect())
            }
            DeValue::Table(table) => Data::Table(self.table(table, depth)),
        };
        Some(Value { span, data })
    }

    fn bad_number(&mut self, at: SourceSpan) -> Option<Value> {
        self.problems.push(ManifestError::BadNumber { at });
        None
    }
}
