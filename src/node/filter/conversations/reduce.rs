//! What can only be decided over all rows: corrections supersede, equal rows count once.
//!
//! Each chunk of candidate rows has a summary of a few hashes a row, memoised by the chunk's digest, so that deciding reads
//! no row that did not change, and the former result is edited where decisions changed.

use std::collections::BTreeSet;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;
use serde::{Deserialize, Serialize};

use crate::record::{
    Chunk, ChunkRef, Conversation, Correction, Counts, Line, Record, RecordError, RecordSet, Role, SetDiff, edit,
    is_whole, near_diff, recall, remember,
};
use crate::store::{Digest, MemoEntry, RecordsRef, Store};

/// Raised when [`Summary`] is made or written in another way.
const SUMMARY: &[u8] = b"filter.conversations summary 1";

/// A row by hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Summary {
    /// Of all turns but the system prompt.
    content: u64,
    /// Of the first question, without case, punctuation and spacing.
    question: u64,
    /// Of the row's id, its thread's and its records'.
    names: Vec<u64>,
    /// For a correction: of the ids that it supersedes.
    supersedes: Option<Vec<u64>>,
}

/// How many rows may differ from a former result that is edited: each costs the reading of a chunk.
const NEAR: usize = 1_000;

/// A former reduction.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Past {
    candidates: RecordsRef,
    rows: RecordsRef,
    /// The digest of the memoised [`Changes`].
    changes: Digest,
}

/// What a reduction does to the candidates: ids that go, and corrections that become rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Changes {
    dropped: BTreeSet<String>,
    corrections: BTreeSet<String>,
}

/// Returns the candidates without those that corrections supersede and without repetitions; corrections become rows.
pub(super) fn reduce(store: &Store, candidates: &RecordsRef, counts: &mut Counts) -> Result<RecordsRef, RecordError> {
    let set = RecordSet::open(store, candidates)?;
    let summaries = set.chunks().par_iter().map(|chunk| summaries(store, chunk));
    let summaries = summaries.collect::<Result<Vec<Vec<Summary>>, RecordError>>()?;
    let verdicts = verdicts(&summaries, counts);
    let changes = changes(store, &set, &verdicts)?;
    let rows = match again(store, &set, candidates, &changes)? {
        Some(rows) => rows,
        None => edit(store, candidates, &gone(&changes), corrected(&set, &changes.corrections)?)?,
    };
    let value = serde_json::to_vec(&changes)
        .map_err(|cause| RecordError::Unwritable { id: "memo of a reduction".into(), cause })?;
    let name = Digest::of(&value);
    store.put_memo(changes_scope(), MemoEntry { input: name, first: String::new(), last: String::new(), value })?;
    remember(store, past_scope(), Past { candidates: *candidates, rows, changes: name })?;
    Ok(rows)
}

fn past_scope() -> Digest {
    Digest::of(b"filter.conversations reductions 1")
}

fn changes_scope() -> Digest {
    Digest::of(b"filter.conversations changes 1")
}

/// Names what the verdicts change. Only chunks with such a row are read.
fn changes(store: &Store, set: &RecordSet<'_>, verdicts: &[Vec<Verdict>]) -> Result<Changes, RecordError> {
    let chunks: Vec<_> = set.chunks().iter().zip(verdicts).collect();
    let named = chunks.par_iter().map(|(chunk, verdicts)| {
        let mut changes = Changes::default();
        if verdicts.iter().any(|verdict| *verdict != Verdict::Kept) {
            for (line, verdict) in Chunk::read(store, chunk)?.lines()?.iter().zip(*verdicts) {
                let ids = match verdict {
                    Verdict::Kept => continue,
                    Verdict::Dropped => &mut changes.dropped,
                    Verdict::Correction => &mut changes.corrections,
                };
                ids.insert(line.id().to_owned());
            }
        }
        Ok(changes)
    });
    let mut all = Changes::default();
    for mut changes in named.collect::<Result<Vec<Changes>, RecordError>>()? {
        all.dropped.append(&mut changes.dropped);
        all.corrections.append(&mut changes.corrections);
    }
    Ok(all)
}

/// Returns the ids whose line in the candidates is not a row of the result.
fn gone(changes: &Changes) -> BTreeSet<String> {
    changes.dropped.union(&changes.corrections).cloned().collect()
}

/// Returns the rows of corrections.
fn corrected(set: &RecordSet<'_>, ids: &BTreeSet<String>) -> Result<Vec<Line<'static>>, RecordError> {
    let mut lines = Vec::new();
    for id in ids {
        if let Some(Record::Correction(correction)) = set.get(id)? {
            lines.push(Line::of(&Record::Row(correction.conversation))?);
        }
    }
    Ok(lines)
}

/// Goes on from the newest former reduction when it is near: the rows that differ are those of the candidates that
/// differ, and those on which the decision changed.
fn again(
    store: &Store,
    set: &RecordSet<'_>,
    candidates: &RecordsRef,
    changes: &Changes,
) -> Result<Option<RecordsRef>, RecordError> {
    let Some(past) = recall::<Past>(store, &past_scope())?.into_iter().next() else { return Ok(None) };
    let former = store.memo(&changes_scope(), &past.changes)?;
    let Some(former) = former.and_then(|value| serde_json::from_slice::<Changes>(&value).ok()) else { return Ok(None) };
    if !is_whole(store, &past.rows)? {
        return Ok(None);
    }
    let Some(SetDiff { added, edited, removed }) = near_diff(store, &past.candidates, candidates)? else {
        return Ok(None);
    };
    let mut touched: BTreeSet<String> = [added, edited, removed].into_iter().flatten().collect();
    touched.extend(former.dropped.symmetric_difference(&changes.dropped).cloned());
    touched.extend(former.corrections.symmetric_difference(&changes.corrections).cloned());
    if touched.len() > NEAR {
        return Ok(None);
    }
    let mut lines = Vec::new();
    for id in touched.iter().filter(|id| !changes.dropped.contains(*id)) {
        match set.get(id)? {
            Some(Record::Correction(correction)) => lines.push(Line::of(&Record::Row(correction.conversation))?),
            Some(row) => lines.push(Line::of(&row)?),
            None => {}
        }
    }
    edit(store, &past.rows, &touched, lines).map(Some)
}

/// What becomes of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Kept,
    Dropped,
    /// Kept, as a row.
    Correction,
}

fn verdicts(summaries: &[Vec<Summary>], counts: &mut Counts) -> Vec<Vec<Verdict>> {
    let all = || {
        summaries
            .iter()
            .enumerate()
            .flat_map(|(chunk, rows)| rows.iter().enumerate().map(move |(at, row)| (chunk, at, row)))
    };
    let mut superseded: BTreeSet<u64> = BTreeSet::new();
    let mut corrected: BTreeSet<u64> = BTreeSet::new();
    for (_, _, row) in all() {
        if let Some(ids) = &row.supersedes {
            superseded.extend(ids);
            corrected.insert(row.question);
        }
    }
    let mut verdicts: Vec<Vec<Verdict>> = summaries.iter().map(|rows| vec![Verdict::Kept; rows.len()]).collect();
    let mut contents = Vec::new();
    for (chunk, at, row) in all() {
        let is_correction = row.supersedes.is_some();
        let is_superseded = corrected.contains(&row.question) || row.names.iter().any(|name| superseded.contains(name));
        if is_correction {
            verdicts[chunk][at] = Verdict::Correction;
        } else if is_superseded {
            verdicts[chunk][at] = Verdict::Dropped;
            counts.add("dropped row: superseded by a correction", 1);
            continue;
        }
        contents.push((row.content, !is_correction, chunk as u32, at as u32));
    }
    // A correction comes before a row with the same words, and then the first by id.
    contents.par_sort_unstable();
    for group in contents.chunk_by(|a, b| a.0 == b.0) {
        for (_, _, chunk, at) in &group[1..] {
            verdicts[*chunk as usize][*at as usize] = Verdict::Dropped;
            counts.add("dropped row: exact duplicate", 1);
        }
    }
    verdicts
}

/// Returns the summaries of a chunk's rows, in order.
fn summaries(store: &Store, chunk: &ChunkRef) -> Result<Vec<Summary>, RecordError> {
    let scope = Digest::of(SUMMARY);
    if let Some(known) = store.memo(&scope, &chunk.digest)?.and_then(|bytes| decode(&bytes)) {
        return Ok(known);
    }
    let lines = Chunk::read(store, chunk)?;
    let summaries = lines.lines()?.into_iter().map(|line| Ok(summary(&line.record()?)));
    let summaries = summaries.collect::<Result<Vec<Summary>, RecordError>>()?;
    let (first, last) = (chunk.first.clone(), chunk.last.clone());
    store.put_memo(scope, MemoEntry { input: chunk.digest, first, last, value: encode(&summaries) })?;
    Ok(summaries)
}

fn summary(record: &Record) -> Summary {
    let (row, supersedes) = match record {
        Record::Row(row) => (row, None),
        Record::Correction(correction) => (&correction.conversation, Some(&correction.supersedes)),
        // The record-wise part yields nothing else.
        Record::Issue(_) | Record::Pull(_) | Record::Document(_) => return Summary::default(),
    };
    let mut names: Vec<u64> = names(row).map(hash).collect();
    names.sort_unstable();
    names.dedup();
    let supersedes = supersedes.map(|ids| ids.iter().map(|id| hash(id)).collect());
    Summary { content: hash(&content(row)), question: hash(&question(row)), names, supersedes }
}

/// Returns who says what, without the system prompt.
fn content(row: &Conversation) -> String {
    let mut text = String::new();
    for turn in row.turns.iter().filter(|turn| turn.role != Role::System) {
        text.push(if turn.role == Role::User { '\u{1}' } else { '\u{2}' });
        text.push_str(turn.text.trim());
    }
    text
}

/// Returns the words of the first question.
fn question(row: &Conversation) -> String {
    let text = row.turns.iter().find(|turn| turn.role == Role::User).map_or("", |turn| &turn.text);
    let words = text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// Why a correction takes the place of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground<'c> {
    /// Both answer the same question.
    Question,
    /// It names the row, its thread or a record that the row came from.
    Name(&'c str),
}

/// Returns why a correction takes the place of a row; nothing when it does not.
pub fn grounds<'c>(correction: &'c Correction, row: &Conversation) -> Vec<Ground<'c>> {
    let is_same = question(&correction.conversation) == question(row);
    let named = correction.supersedes.iter().filter(|id| names(row).any(|name| name == id.as_str()));
    is_same.then_some(Ground::Question).into_iter().chain(named.map(|id| Ground::Name(id))).collect()
}

/// Returns the names by which a correction may mean a row.
fn names(row: &Conversation) -> impl Iterator<Item = &str> {
    let ids = row.sources.iter().map(|source| source.id.as_str());
    [row.id.as_str(), row.thread.as_str()].into_iter().chain(ids)
}

fn hash(text: &str) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&Digest::of(text.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(head)
}

/// For each row: content, question, the number of names, the names, the number of superseded ids plus one or zero, the ids.
/// All are little-endian words of eight bytes.
fn encode(summaries: &[Summary]) -> Vec<u8> {
    let mut words = Vec::new();
    for summary in summaries {
        words.extend([summary.content, summary.question, summary.names.len() as u64]);
        words.extend(&summary.names);
        words.push(summary.supersedes.as_ref().map_or(0, |ids| ids.len() as u64 + 1));
        words.extend(summary.supersedes.iter().flatten());
    }
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

fn decode(bytes: &[u8]) -> Option<Vec<Summary>> {
    let (words, []) = bytes.as_chunks::<8>() else { return None };
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    let mut summaries = Vec::new();
    while let Some(content) = words.next() {
        let question = words.next()?;
        let names = (0..words.next()?).map(|_| words.next()).collect::<Option<_>>()?;
        let supersedes = match words.next()? {
            0 => None,
            count => Some((1..count).map(|_| words.next()).collect::<Option<_>>()?),
        };
        summaries.push(Summary { content, question, names, supersedes });
    }
    Some(summaries)
}
