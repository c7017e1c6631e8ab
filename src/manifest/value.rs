//! The manifest's values with their places: TOML's types, owned, in the order of the text.

use std::collections::BTreeMap;
use std::sync::OnceLock;

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

/// A table of more entries gets an index of its keys: a flood of them would take minutes.
const MANY_ENTRIES: usize = 16;

/// Entries in the order of the text; keys are unique.
///
/// What is in it lies elsewhere: most values are no tables, and each value has the size of the largest one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table(Box<Inner>);

#[derive(Clone, Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    /// Where each key is, once somebody looked for one.
    index: OnceLock<BTreeMap<Box<str>, u32>>,
    form: Form,
}

impl PartialEq for Inner {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

/// How a table came to be, which decides how it may be extended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// The root, and `[a.b]`.
    #[default]
    Header,
    /// `a` of `[a.b]`.
    Implicit,
    /// `a` of `a.b = 1`.
    Dotted,
    /// `{}`
    Inline,
    /// `a` of `{ a.b = 1 }`.
    InlineDotted,
}

impl Form {
    pub(super) fn is_implicit(self) -> bool {
        matches!(self, Self::Implicit | Self::Dotted | Self::InlineDotted)
    }

    pub(super) fn is_inline(self) -> bool {
        matches!(self, Self::Inline | Self::InlineDotted)
    }
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
    /// Returns the type as TOML's own errors name it.
    pub(super) fn toml_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Integer(_) => "integer",
            Self::Float(_) => "float",
            Self::Boolean(_) => "boolean",
            Self::Datetime(_) => "datetime",
            Self::Array(_) => "array",
            Self::Table(_) => "table",
        }
    }

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
    /// As [`Table::settle`]; `false` when this value itself lies too deep.
    pub(super) fn settle(&mut self, most: usize, too_deep: &mut dyn FnMut(SourceSpan)) -> bool {
        let Some(below) = most.checked_sub(1) else {
            too_deep(self.span);
            return false;
        };
        match &mut self.data {
            Data::Array(items) => items.retain_mut(|item| item.settle(below, too_deep)),
            Data::Table(table) => table.settle(below, too_deep),
            _ => {}
        }
        true
    }

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
    pub(super) fn of(form: Form) -> Self {
        Self(Box::new(Inner { form, ..Inner::default() }))
    }

    pub(super) fn form(&self) -> Form {
        self.0.form
    }

    pub(super) fn set_form(&mut self, form: Form) {
        self.0.form = form;
    }

    pub(super) fn with_form(mut self, form: Form) -> Self {
        self.0.form = form;
        self
    }

    /// Adds an entry whose key is not there yet.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.0.entries.capacity() == 0 {
            // Most tables on the way to another one have one entry.
            self.0.entries.reserve_exact(1);
        }
        if let Some(index) = self.0.index.get_mut() {
            index.insert(entry.key.value.as_str().into(), self.0.entries.len() as u32);
        }
        self.0.entries.push(entry);
    }

    /// Puts the entries, and those of the tables within, in the order of the text, and takes out what lies deeper than
    /// `most` levels: `too_deep` is told where.
    pub(super) fn settle(&mut self, most: usize, too_deep: &mut dyn FnMut(SourceSpan)) {
        self.0.index.take();
        self.0.entries.sort_by_key(|entry| entry.key.span.offset());
        self.0.entries.retain_mut(|entry| entry.value.settle(most, too_deep));
    }

    fn position(&self, key: &str) -> Option<usize> {
        if self.0.entries.len() <= MANY_ENTRIES {
            return self.0.entries.iter().position(|entry| entry.key.value == key);
        }
        let index = self.0.index.get_or_init(|| {
            let keys = self.0.entries.iter().map(|entry| entry.key.value.as_str().into());
            keys.zip(0..).collect()
        });
        index.get(key).map(|position| *position as usize)
    }

    /// Returns the entries in the order of the text; what overlays added comes last.
    pub fn entries(&self) -> &[Entry] {
        &self.0.entries
    }

    /// Gives the entries, in the same order.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.0.entries
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// Returns the entry with this key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.position(key).map(|position| &self.0.entries[position])
    }

    /// Returns the entry with this key, to change its value.
    pub(super) fn entry_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.position(key).map(|position| &mut self.0.entries[position])
    }

    /// Returns the value with this key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entry(key).map(|entry| &entry.value)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.entry_mut(key).map(|entry| &mut entry.value)
    }

    /// Goes through keys and values.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Value)> {
        self.0.entries.iter_mut().map(|entry| (entry.key.value.as_str(), &mut entry.value))
    }

    /// Takes the entry with this key out.
    pub(crate) fn take(&mut self, key: &str) -> Option<Entry> {
        let position = self.0.entries.iter().position(|entry| entry.key.value == key)?;
        self.0.index.take();
        Some(self.0.entries.remove(position))
    }

    /// Sets a value in place of the one that may be there.
    pub(crate) fn set(&mut self, key: Spanned<String>, value: Value) {
        match self.entry_mut(&key.value) {
            Some(entry) => *entry = Entry { key, value },
            None => self.push(Entry { key, value }),
        }
    }

    /// Returns the table as JSON.
    pub fn to_json(&self) -> Json {
        let map: BTreeMap<&str, Json> =
            self.0.entries.iter().map(|entry| (entry.key.value.as_str(), entry.value.to_json())).collect();
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
