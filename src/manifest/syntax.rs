//! TOML text to values with places, by the events of the TOML parser.

use toml_parser::{Expected, ParseError, Source};

use super::error::{ManifestError, place};
use super::events::{self, Errors, MOST_TOKENS};
use super::field::Sink;
use super::tree::Tree;
use super::value::{Data, Table, Value};

/// A manifest's text is at most this large, in bytes; larger ones are refused unread.
pub const MOST_BYTES: usize = 8 << 20;
/// Of a larger text only the first mistake of syntax is told: a flood of them would take gigabytes.
const MOST_RECOVERED: usize = 1 << 18;
/// More tables, and dots in keys that may make one, are refused: 100,000 nodes of four dotted keys have fewer.
const MOST_TABLES: usize = 600_000;
/// Deeper values are refused, in tables and arrays within each other.
const MOST_DEPTH: usize = 32;

/// Reads a document that starts at `start` of the sources.
pub(super) fn document(text: &str, start: usize, problems: &mut Sink) -> Table {
    let too_large = |what, found, limit| ManifestError::TooLarge { what, found, limit, at: (start, 0).into() };
    if text.len() > MOST_BYTES {
        problems.push(too_large("bytes", text.len(), MOST_BYTES));
        return Table::default();
    }
    if events::has_too_many_tokens(text) {
        problems.push(too_large("words and signs", Source::new(text).lex().count(), MOST_TOKENS));
        return Table::default();
    }
    let source = Source::new(text);
    let mut errors = Errors::new(text.len() <= MOST_RECOVERED);
    let events = events::of_document(source, &mut errors);
    if !errors.all() && !errors.list.is_empty() {
        problems.push(syntax_problem(&errors.list[0], text, start));
        return Table::default();
    }
    let steps = events.iter().filter(|event| event.sort.makes_a_table()).count();
    if steps > MOST_TABLES {
        problems.push(too_large("tables and steps of keys", steps, MOST_TABLES));
        return Table::default();
    }
    let mut tree = Tree::new(source, start, events, &mut errors);
    let mut table = tree.document();
    let bad_numbers = std::mem::take(&mut tree.bad_numbers);
    if errors.list.is_empty() {
        problems.absorb(bad_numbers);
        table.settle(MOST_DEPTH, &mut |at| problems.push(ManifestError::TooDeep { limit: MOST_DEPTH, at }));
        return table;
    }
    let mut mistakes: Vec<_> = errors.list.iter().map(|error| syntax_problem(error, text, start)).collect();
    mistakes.sort_by_key(|problem| place(problem));
    if let (2.., Some(ManifestError::Syntax { help, .. })) = (mistakes.len(), mistakes.first_mut()) {
        help.get_or_insert_with(|| "mend this one first: the others may follow from it".into());
    }
    problems.extend(mistakes);
    Table::default()
}

/// Reads one value that starts at `start` of the sources; `None` when it is no TOML value.
pub(super) fn value(text: &str, start: usize, problems: &mut Sink) -> Option<Value> {
    let source = Source::new(text);
    let mut errors = Errors::new(false);
    let events = events::of_value(source, &mut errors);
    let mut tree = Tree::new(source, start, events, &mut errors);
    let mut value = tree.next_value();
    let bad_numbers = std::mem::take(&mut tree.bad_numbers);
    if !errors.list.is_empty() {
        return None;
    }
    let is_number = bad_numbers.is_empty();
    problems.absorb(bad_numbers);
    let is_flat =
        value.settle(MOST_DEPTH + 1, &mut |at| problems.push(ManifestError::TooDeep { limit: MOST_DEPTH, at }));
    (is_number && is_flat).then_some(value)
}

/// Reads a dotted key, such as `train.expert."a.b"`; `None` when it is none.
pub(super) fn dotted_key(text: &str) -> Option<Vec<String>> {
    if text.contains(['\n', '\r', '=', '#']) {
        return None;
    }
    let line = format!("{text} = 0");
    let source = Source::new(&line);
    let mut errors = Errors::new(false);
    let events = events::of_document(source, &mut errors);
    let document = Tree::new(source, 0, events, &mut errors).document();
    if !errors.list.is_empty() {
        return None;
    }
    let mut path = Vec::new();
    let mut table = &document;
    loop {
        let entry = table.entries().first()?;
        path.push(entry.key.value.clone());
        match &entry.value.data {
            Data::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

fn syntax_problem(error: &ParseError, text: &str, start: usize) -> ManifestError {
    let (offset, length) = error.unexpected().map_or((0, 0), |span| (span.start(), span.end() - span.start()));
    let help = syntax_help(error.description(), text, offset).map(str::to_owned);
    ManifestError::Syntax { message: message(error), help, at: (start + offset, length).into() }
}

/// Returns the parser's complaint, with what it expected.
fn message(error: &ParseError) -> String {
    let mut message = error.description().to_owned();
    let Some(expected) = error.expected() else { return message };
    let names: Vec<String> = expected.iter().map(expectation).collect();
    message.push_str(", expected ");
    message.push_str(&if names.is_empty() { "nothing".to_owned() } else { names.join(", ") });
    message
}

fn expectation(expected: &Expected) -> String {
    match expected {
        Expected::Literal("\n") => "newline".to_owned(),
        Expected::Literal("`") => "'`'".to_owned(),
        Expected::Literal(sign) if sign.chars().all(|c| c.is_ascii_control()) => format!("`{}`", sign.escape_debug()),
        Expected::Literal(sign) => format!("`{sign}`"),
        Expected::Description(what) => (*what).to_owned(),
        _ => "etc".to_owned(),
    }
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
