//! How many nodes there may be, and how much one may hold: what a setting could want, and little enough that a node is
//! read in no time.

use super::declaration::Family;
use super::error::ManifestError;
use super::field::Sink;
use super::value::{Data, Table, Value};

/// Nodes of a manifest, those that a matrix makes included: more are refused before any is made.
pub(crate) const MOST_NODES: usize = 100_000;
/// Bytes of all strings of a node: a hundred long prompts.
const MOST_BYTES: usize = 2 << 20;
/// Items of all arrays of a node: one node may read all others.
const MOST_ITEMS: usize = 100_000;
/// Keys of a node, those of tables within it included.
const MOST_KEYS: usize = 10_000;
/// What a value takes beside the bytes of its string.
const VALUE: usize = 64;

/// Reports too many nodes, and the first node, or table of another sort, that is no declaration but data.
pub(super) fn check(document: &Table, problems: &mut Sink) {
    if let Some(problem) = too_many(document) {
        problems.push(problem);
        return;
    }
    for top in document.entries() {
        let found = match (&top.value.data, top.key.value.as_str()) {
            // Of each of their tables there are as many as there are nodes.
            (Data::Table(table), "run") => {
                let named = table.entries().iter().filter_map(|entry| entry.value.as_table());
                named.flat_map(Table::entries).find_map(|entry| too_large(&entry.value))
            }
            (Data::Table(table), name) if name != "model" => {
                table.entries().iter().find_map(|entry| too_large(&entry.value))
            }
            _ => too_large(&top.value),
        };
        if let Some(problem) = found {
            problems.push(problem);
            return;
        }
    }
}

/// Returns about how many bytes a node's settings take, which each node of a matrix has for itself.
pub(super) fn weight(settings: &Table) -> usize {
    let mut size = Size::default();
    size.add_all(settings);
    size.bytes + (size.items + size.keys) * VALUE
}

/// Returns with which family the limit on nodes is passed.
fn too_many(document: &Table) -> Option<ManifestError> {
    let mut found = 0;
    for top in document.entries() {
        let is_family = Family::NAMED.iter().any(|family| family.as_str() == top.key.value);
        let Some(nodes) = top.value.as_table().filter(|_| is_family) else { continue };
        found += nodes.entries().len();
        if found > MOST_NODES {
            let at = (top.key.span.offset(), 0).into();
            return Some(ManifestError::TooManyNodes { found, limit: MOST_NODES, at });
        }
    }
    None
}

#[derive(Default)]
struct Size {
    bytes: usize,
    items: usize,
    keys: usize,
}

fn too_large(value: &Value) -> Option<ManifestError> {
    let mut size = Size::default();
    size.add(value);
    let limits = [
        ("bytes in the strings of one node", size.bytes, MOST_BYTES),
        ("items in the arrays of one node", size.items, MOST_ITEMS),
        ("keys in one node", size.keys, MOST_KEYS),
    ];
    let (what, found, limit) = limits.into_iter().find(|(_, found, limit)| found > limit)?;
    Some(ManifestError::TooLarge { what, found, limit, at: (value.span.offset(), 0).into() })
}

impl Size {
    fn add(&mut self, value: &Value) {
        match &value.data {
            Data::String(text) => self.bytes += text.len(),
            Data::Array(items) => {
                self.items += items.len();
                for item in items {
                    self.add(item);
                }
            }
            Data::Table(table) => self.add_all(table),
            _ => {}
        }
    }

    fn add_all(&mut self, table: &Table) {
        self.keys += table.entries().len();
        table.entries().iter().for_each(|entry| self.add(&entry.value));
    }
}
