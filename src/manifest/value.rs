//! The manifest's values with their places: TOML's types, owned, in the order of the text.

use std::collections::BTreeMap;

use miette::SourceSpan;
use serde_json::Value as Json;

/// A thing with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The thing.
    pub value: T,
    /// Where it stands.
    pub span: SourceSpan,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Where it stands; of a table with a header, the header.
    pub span: SourceSpan,
    /// What it is.
    pub data: Data,
}

/// TOML's types. Numbers are finite and fit 64 bits.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// A string.
    String(String),
    /// An integer.
    Integer(i64),
    /// A finite float.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date or time, as written.
    Datetime(String),
    /// An array.
    Array(Vec<Value>),
    /// A table.
    Table(Table),
}

/// Entries in the order of the text; keys are unique.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    entries: Vec<Entry>,
}

/// One line of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Spanned<String>,
    /// The value.
    pub value: Value,
}

impl Data {
    /// Returns the type for people, with its article.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

impl Value {
    /// Returns the string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the table, if it is one.
    pub fn as_table(&self) -> Option<&Table> {
        match &self.data {
            Data::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Returns the value as JSON, which has no dates: they become strings.
    pub fn to_json(&self) -> Json {
        match &self.data {
            Data::String(text) | Data::Datetime(text) => Json::from(text.as_str()),
            Data::Integer(number) => Json::from(*number),
            Data::Float(number) => Json::from(*number),
            Data::Boolean(flag) => Json::from(*flag),
            Data::Array(items) => items.iter().map(Self::to_json).collect(),
            Data::Table(table) => table.to_json(),
        }
    }
}

impl Table {
    /// Makes a table of entries with unique keys.
    pub(crate) fn new(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.key.span.offset());
        Self { entries }
    }

    /// Returns the entries in the order of the text; what overlays added comes last.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Gives the entries, in the same order.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the entry with this key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.value == key)
    }

    /// Returns the value with this key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.entries.iter_mut().find(|entry| entry.key.value == key).map(|entry| &mut entry.value)
    }

    /// Goes through keys and values.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Value)> {
        self.entries.iter_mut().map(|entry| (entry.key.value.as_str(), &mut entry.value))
    }

    /// Takes the entry with this key out.
    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.key.value == key)?;
        Some(self.entries.remove(index))
    }

    /// Sets a value in place of the one that may be there.
    pub(crate) fn set(&mut self, key: Spanned<String>, value: Value) {
        match self.entries.iter_mut().find(|entry| entry.key.value == key.value) {
            Some(entry) => *entry = Entry { key, value },
            None => self.entries.push(Entry { key, value }),
        }
    }

    /// Returns the table as JSON.
    pub fn to_json(&self) -> Json {
        let map: BTreeMap<&str, Json> =
            self.entries.iter().map(|entry| (entry.key.value.as_str(), entry.value.to_json())).collect();
        map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Finds keys and, in arrays, indices in decimal. Returns the deepest entry or item that is there: how many steps
    /// of the path it took, and its places.
    pub fn locate(&self, path: &[String]) -> Located {
        let mut found = Located::default();
        let mut table = Some(self);
        let mut items: Option<&[Value]> = None;
        for (index, step) in path.iter().enumerate() {
            let value = if let Some(entry) = table.and_then(|table| table.entry(step)) {
                found.key = Some(entry.key.span);
                &entry.value
            } else if let Some(item) = items.and_then(|items| items.get(step.parse::<usize>().ok()?)) {
                found.key = Some(item.span);
                item
            } else {
                break;
            };
            found.steps = index + 1;
            found.value = Some(value.span);
            table = value.as_table();
            items = match &value.data {
                Data::Array(items) => Some(items),
                _ => None,
            };
        }
        found
    }
}

/// What a path led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Located {
    /// Steps of the path that were found.
    pub steps: usize,
    /// The place of the last key (of an array's item: the item).
    pub key: Option<SourceSpan>,
    /// The place of the last value.
    pub value: Option<SourceSpan>,
}
