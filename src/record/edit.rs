//! New versions of a set, written in the size of the change.

use std::collections::BTreeSet;
use std::ops::Bound;

use rayon::slice::ParallelSliceMut as _;

use super::chunk::{Chunk, SetWriter};
use super::error::Result;
use super::line::Line;
use super::set::RecordSet;
use super::tree::ChunkRef;
use super::types::Record;
use crate::store::{RecordsRef, Store};

/// Returns `base` without the ids in `removed`, with the `inserted` lines.
///
/// An edited record is both: its id is removed and its new line inserted. Only the chunks that hold a change are read
/// and written again, and the result is the set that a write from nothing gives.
///
/// # Errors
/// [`super::RecordError::Duplicate`] when an inserted id is there already or comes twice; errors of the store.
pub fn edit(
    store: &Store,
    base: &RecordsRef,
    removed: &BTreeSet<String>,
    mut inserted: Vec<Line<'_>>,
) -> Result<RecordsRef> {
    if removed.is_empty() && inserted.is_empty() {
        return Ok(*base);
    }
    inserted.par_sort_by(|a, b| a.id().cmp(b.id()));
    let set = RecordSet::open(store, base)?;
    let mut inserted = inserted.as_slice();
    let mut writer = SetWriter::new(store);
    for (index, entry) in set.chunks().iter().enumerate() {
        let is_last = index + 1 == set.chunks().len();
        let here =
            if is_last { inserted.len() } else { inserted.partition_point(|line| line.id() <= entry.last.as_str()) };
        let (new, rest) = inserted.split_at(here);
        inserted = rest;
        if writer.is_at_chunk_start() && new.is_empty() && !touches(removed, entry) {
            writer.push_chunk(entry)?;
        } else {
            rewrite(store, &mut writer, entry, removed, new)?;
        }
    }
    for line in inserted {
        writer.push(line)?;
    }
    writer.finish()
}

/// Returns whether one of the ids may be in the chunk.
fn touches(removed: &BTreeSet<String>, entry: &ChunkRef) -> bool {
    let range = (Bound::Included(entry.first.as_str()), Bound::Included(entry.last.as_str()));
    removed.range::<str, _>(range).next().is_some()
}

/// Pushes the lines of a chunk that stay, merged with new ones.
fn rewrite(
    store: &Store,
    writer: &mut SetWriter<'_>,
    entry: &ChunkRef,
    removed: &BTreeSet<String>,
    new: &[Line<'_>],
) -> Result<()> {
    let chunk = Chunk::read(store, entry)?;
    let mut new = new.iter().peekable();
    for line in chunk.lines()?.iter().filter(|line| !removed.contains(line.id())) {
        while let Some(next) = new.next_if(|next| next.id() <= line.id()) {
            writer.push(next)?;
        }
        writer.push(line)?;
    }
    new.try_for_each(|line| writer.push(line))
}

/// Returns `base` with the given records put in place of those with the same id, or added, and without the ids in
/// `removed`. What a source that asks only for news calls.
///
/// # Errors
/// [`super::RecordError::Duplicate`] when two of the records have the same id; errors of the store.
pub fn upsert(
    store: &Store,
    base: &RecordsRef,
    records: impl IntoIterator<Item = Record>,
    removed: &BTreeSet<String>,
) -> Result<RecordsRef> {
    let lines = records.into_iter().map(|record| Line::of(&record)).collect::<Result<Vec<_>>>()?;
    let mut gone = removed.clone();
    gone.extend(lines.iter().map(|line| line.id().to_owned()));
    edit(store, base, &gone, lines)
}
