//! The tree over a set's chunks: nodes that name their children, cut by content like the chunks themselves.
//!
//! ```text
//! tunesmith-records 1 LEVEL
//! ["digest",count,bytes,"first id","last id"]
//! ```
//!
//! The entries of a level-0 node are chunks. Every set has at least a root, which has no entries when the set is empty.

use super::error::{RecordError, Result};
use crate::store::{Digest, RecordsRef, Store};

/// The version of nodes and of the chunks below them.
const FORMAT: &str = "tunesmith-records 1";
/// Entries that a node is expected to have.
const FAN_OUT: u64 = 64;

/// A chunk or an inner node, as its parent names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Records in it.
    pub count: u64,
    /// Bytes of the records in it.
    pub bytes: u64,
    /// The first id in it.
    pub first: String,
    /// The last id in it.
    pub last: String,
}

impl ChunkRef {
    /// Returns whether a node ends after this entry.
    fn ends_node(&self) -> bool {
        let mut head = [0; 8];
        head.copy_from_slice(&self.digest.as_bytes()[..8]);
        u64::from_le_bytes(head) < u64::MAX / FAN_OUT
    }
}

/// One read node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) level: u32,
    pub(super) entries: Vec<ChunkRef>,
}

impl Node {
    pub(super) fn read(store: &Store, digest: &Digest) -> Result<Self> {
        let bad = || RecordError::Format { digest: *digest, expected: "a node of a record set, format 1" };
        let text = String::from_utf8(store.get(digest)?).map_err(|_| bad())?;
        let (head, rest) = text.split_once('\n').ok_or_else(bad)?;
        let level = head.strip_prefix(FORMAT).and_then(|level| level.trim().parse().ok()).ok_or_else(bad)?;
        let entries = rest.lines().map(|line| {
            let (digest, count, bytes, first, last) = serde_json::from_str(line).map_err(|_| bad())?;
            Ok(ChunkRef { digest, count, bytes, first, last })
        });
        Ok(Self { level, entries: entries.collect::<Result<_>>()? })
    }

    fn write(store: &Store, level: u32, entries: &[ChunkRef]) -> Result<Digest> {
        let mut text = format!("{FORMAT} {level}\n");
        for entry in entries {
            let fields = (entry.digest, entry.count, entry.bytes, &entry.first, &entry.last);
            let line = serde_json::to_string(&fields)
                .map_err(|cause| RecordError::Unwritable { id: entry.first.clone(), cause })?;
            text.push_str(&line);
            text.push('\n');
        }
        Ok(store.put(text.as_bytes())?)
    }
}

/// Writes the nodes over `chunks`, which are in order of their ids, and returns the set.
pub(super) fn write(store: &Store, chunks: &[ChunkRef]) -> Result<RecordsRef> {
    let count = chunks.iter().map(|chunk| chunk.count).sum();
    let bytes = chunks.iter().map(|chunk| chunk.bytes).sum();
    let mut level = 0;
    let mut entries = chunks.to_vec();
    loop {
        let nodes = cut(&entries);
        if nodes.len() <= 1 {
            let root = Node::write(store, level, &entries)?;
            return Ok(RecordsRef { root, count, bytes });
        }
        let mut parents = Vec::with_capacity(nodes.len());
        for node in nodes {
            parents.push(ChunkRef {
                digest: Node::write(store, level, node)?,
                count: node.iter().map(|entry| entry.count).sum(),
                bytes: node.iter().map(|entry| entry.bytes).sum(),
                first: node.first().map(|entry| entry.first.clone()).unwrap_or_default(),
                last: node.last().map(|entry| entry.last.clone()).unwrap_or_default(),
            });
        }
        entries = parents;
        level += 1;
    }
}

/// Cuts entries into nodes. A node has at least two entries unless it is the last one, so each level is smaller.
fn cut(entries: &[ChunkRef]) -> Vec<&[ChunkRef]> {
    let mut nodes = Vec::new();
    let mut start = 0;
    for (index, entry) in entries.iter().enumerate() {
        if index > start && entry.ends_node() {
            nodes.push(&entries[start..=index]);
            start = index + 1;
        }
    }
    if start < entries.len() {
        nodes.push(&entries[start..]);
    }
    nodes
}

/// Returns the chunks of a set in order, and the digests of the nodes above them.
pub(super) fn flatten(store: &Store, root: &Digest) -> Result<(Vec<ChunkRef>, Vec<Digest>)> {
    let Node { mut level, mut entries } = Node::read(store, root)?;
    let mut nodes = vec![*root];
    while level > 0 {
        nodes.extend(entries.iter().map(|entry| entry.digest));
        entries = children(store, level, &entries)?;
        level -= 1;
    }
    Ok((entries, nodes))
}

/// Returns the entries of the nodes that `entries` of a level above 0 name, in order.
pub(super) fn children(store: &Store, level: u32, entries: &[ChunkRef]) -> Result<Vec<ChunkRef>> {
    let mut below = Vec::new();
    for entry in entries {
        let node = Node::read(store, &entry.digest)?;
        if node.level + 1 != level {
            return Err(RecordError::Format { digest: entry.digest, expected: "a node of the level below its parent" });
        }
        below.extend(node.entries);
    }
    Ok(below)
}
