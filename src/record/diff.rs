//! What changed between two sets, in the time of their difference.

use std::collections::BTreeSet;

use super::chunk::Chunk;
use super::error::Result;
use super::line::Line;
use super::tree::{ChunkRef, Node, children};
use crate::store::{Digest, RecordsRef, Store};

/// The ids that differ between two sets, each list in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetDiff {
    /// Only in the new set.
    pub added: Vec<String>,
    /// In both, with other content.
    pub edited: Vec<String>,
    /// Only in the old set.
    pub removed: Vec<String>,
}

/// One id that differs between two sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The line in the old set.
    pub old: Option<Line<'static>>,
    /// The line in the new set.
    pub new: Option<Line<'static>>,
}

/// The chunks that only one of two sets has.
#[derive(Clone, Debug, Default)]
pub(super) struct ChunkDiff {
    pub(super) old: Vec<ChunkRef>,
    pub(super) new: Vec<ChunkRef>,
}

/// Returns the ids that were added, edited and removed from `old` to `new`.
///
/// # Errors
/// Errors of the store.
pub fn diff(store: &Store, old: &RecordsRef, new: &RecordsRef) -> Result<SetDiff> {
    Ok(SetDiff::of(changes(store, old, new)?))
}

/// Returns the records that differ from `old` to `new`, in order of their ids. Only chunks that differ are read.
///
/// # Errors
/// Errors of the store.
pub fn changes(store: &Store, old: &RecordsRef, new: &RecordsRef) -> Result<Vec<Changed>> {
    chunks(store, old, new)?.lines(store)
}

impl SetDiff {
    pub(super) fn of(changed: Vec<Changed>) -> Self {
        let mut diff = Self::default();
        for Changed { old, new } in changed {
            match (old, new) {
                (Some(_), Some(new)) => diff.edited.push(new.id().to_owned()),
                (None, Some(new)) => diff.added.push(new.id().to_owned()),
                (Some(old), None) => diff.removed.push(old.id().to_owned()),
                (None, None) => {}
            }
        }
        diff
    }
}

/// Compares two trees from the top. A subtree that both have holds the same records in both, so it is left out unread.
pub(super) fn chunks(store: &Store, old: &RecordsRef, new: &RecordsRef) -> Result<ChunkDiff> {
    if old.root == new.root {
        return Ok(ChunkDiff::default());
    }
    let mut old = Node::read(store, &old.root)?;
    let mut new = Node::read(store, &new.root)?;
    loop {
        if old.level == new.level {
            cancel(&mut old.entries, &mut new.entries);
            if old.level == 0 {
                return Ok(ChunkDiff { old: old.entries, new: new.entries });
            }
        }
        let level = old.level.max(new.level);
        for node in [&mut old, &mut new] {
            if node.level == level {
                node.entries = children(store, level, &node.entries)?;
                node.level -= 1;
            }
        }
    }
}

/// Takes out what both lists have.
fn cancel(old: &mut Vec<ChunkRef>, new: &mut Vec<ChunkRef>) {
    let ours: BTreeSet<Digest> = old.iter().map(|entry| entry.digest).collect();
    let theirs: BTreeSet<Digest> = new.iter().map(|entry| entry.digest).collect();
    old.retain(|entry| !theirs.contains(&entry.digest));
    new.retain(|entry| !ours.contains(&entry.digest));
}

impl ChunkDiff {
    /// Returns the records that differ, in order of their ids.
    pub(super) fn lines(&self, store: &Store) -> Result<Vec<Changed>> {
        let mut old = read(store, &self.old)?.into_iter().peekable();
        let mut new = read(store, &self.new)?.into_iter().peekable();
        let mut changed = Vec::new();
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(old), Some(new)) => old.id().cmp(new.id()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => return Ok(changed),
            };
            let old = if order.is_le() { old.next() } else { None };
            let new = if order.is_ge() { new.next() } else { None };
            if old != new {
                changed.push(Changed { old, new });
            }
        }
    }
}

fn read(store: &Store, chunks: &[ChunkRef]) -> Result<Vec<Line<'static>>> {
    let mut lines = Vec::new();
    for entry in chunks {
        let chunk = Chunk::read(store, entry)?;
        lines.extend(chunk.lines()?.into_iter().map(Line::into_owned));
    }
    Ok(lines)
}
