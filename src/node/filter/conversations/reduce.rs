//! What can only be decided over all rows: corrections supersede, equal rows count once.
//!
//! Each chunk of candidate rows has a summary of a few hashes a row, memoised by the chunk's digest. It comes with the rows
//! where they are made, so that deciding reads next to none of them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use rayon::slice::ParallelSliceMut as _;
use serde::{Deserialize, Serialize};

use super::Source;
use crate::record::{
    Chunk, Conversation, Correction, Record, RecordError, RecordSet, Role, Verdict, merge, reduce as reduce_set,
    summarize,
};
use crate::store::{Digest, RecordsRef, Store};

/// What names the summaries of rows. Its number is raised when [`Summary`] is made or written in another way.
pub(super) static SUMMARIES: LazyLock<Digest> = LazyLock::new(|| Digest::of(b"filter.conversations summary 2"));

/// The remark on a correction that names a row or a record of which there is none: the name may be misspelt.
pub(super) const POINTLESS: &str = "correction supersedes an id that no row here has";

/// A row by hashes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Summary {
    /// Of all turns but the system prompt.
    content: u64,
    /// Of the first question, without case, punctuation and spacing.
    question: u64,
    /// Of the row's id, its thread's and its records'.
    names: Vec<u64>,
    /// For a correction: of the ids that it supersedes.
    supersedes: Option<Vec<u64>>,
}

/// A remark on a row, which is named by its chunk and its place in it.
type Remark = (u32, u32, &'static str);

/// Returns the candidates of all sources without those that corrections supersede and without repetitions; corrections
/// become rows. What is dropped is counted at the source that it came from.
pub(super) fn reduce(store: &Store, sources: &mut [Source<'_>]) -> Result<RecordsRef, RecordError> {
    let named: Vec<(&str, RecordsRef)> = sources.iter().map(|source| (source.node, source.rows)).collect();
    let set = RecordSet::open(store, &merge(store, &named)?)?;
    let summaries = summarize(store, *SUMMARIES, &set, |line| Ok::<_, RecordError>(summary(&line.record()?)))?;
    let (dropped, pointless) = (dropped(&summaries), pointless(&summaries));
    let verdicts = verdicts(&summaries, &dropped);
    // Their memory is the rows', several times that of the verdicts.
    drop(summaries);
    tell(store, &set, &dropped, sources, |source| source.dropped += 1)?;
    tell(store, &set, &pointless, sources, |_| {})?;
    let [rows] = reduce_set(store, "filter.conversations", &set, &verdicts, |record| match record {
        Record::Correction(correction) => Record::Row(correction.conversation),
        other => other,
    })?;
    Ok(rows)
}

/// Counts remarks at the sources of their rows. Only chunks with such a row are read, here and in the sources.
fn tell<'s>(
    store: &Store,
    set: &RecordSet<'_>,
    remarks: &[Remark],
    sources: &mut [Source<'s>],
    count: impl Fn(&mut Source<'s>),
) -> Result<(), RecordError> {
    if remarks.is_empty() {
        return Ok(());
    }
    if let [one] = sources {
        for (.., what) in remarks {
            count(one);
            one.counts.add(*what, 1);
        }
        return Ok(());
    }
    let mut named = Vec::with_capacity(remarks.len());
    for of_chunk in remarks.chunk_by(|a, b| a.0 == b.0) {
        let chunk = Chunk::read(store, &set.chunks()[of_chunk[0].0 as usize])?;
        let lines = chunk.lines()?;
        named.extend(of_chunk.iter().map(|(_, at, what)| (lines[*at as usize].id().to_owned(), *what)));
    }
    for source in sources {
        let held = RecordSet::open(store, &source.rows)?.holds(named.iter().map(|(id, _)| id.as_str()))?;
        for ((_, what), _) in named.iter().zip(held).filter(|(_, is_held)| *is_held) {
            count(source);
            source.counts.add(*what, 1);
        }
    }
    Ok(())
}

/// Returns the verdicts by chunk: what is dropped, and corrections, which become rows.
fn verdicts(summaries: &[Vec<Summary>], dropped: &[Remark]) -> Vec<Vec<Verdict>> {
    let verdict = |row: &Summary| if row.supersedes.is_some() { Verdict::Edited } else { Verdict::Kept };
    let mut verdicts: Vec<Vec<Verdict>> = summaries.iter().map(|rows| rows.iter().map(verdict).collect()).collect();
    for (chunk, at, _) in dropped {
        verdicts[*chunk as usize][*at as usize] = Verdict::Dropped;
    }
    verdicts
}

/// Returns all rows with their chunks and places.
fn placed(summaries: &[Vec<Summary>]) -> impl Iterator<Item = (u32, u32, &Summary)> {
    let chunks = summaries.iter().enumerate();
    chunks.flat_map(|(chunk, rows)| rows.iter().enumerate().map(move |(at, row)| (chunk as u32, at as u32, row)))
}

/// Returns the corrections to which [`POINTLESS`] applies.
fn pointless(summaries: &[Vec<Summary>]) -> Vec<Remark> {
    let named = || placed(summaries).filter_map(|(.., row)| row.supersedes.as_ref()).flatten();
    let mut missing: BTreeSet<u64> = named().copied().collect();
    if missing.is_empty() {
        return Vec::new();
    }
    for (.., row) in placed(summaries).filter(|(.., row)| row.supersedes.is_none()) {
        for name in &row.names {
            missing.remove(name);
        }
    }
    let names_nothing = |row: &Summary| row.supersedes.iter().flatten().any(|id| missing.contains(id));
    let pointless = placed(summaries).filter(|(.., row)| names_nothing(row));
    pointless.map(|(chunk, at, _)| (chunk, at, POINTLESS)).collect()
}

/// Returns what is dropped, in the order of the set.
fn dropped(summaries: &[Vec<Summary>]) -> Vec<Remark> {
    let all = || placed(summaries);
    let mut superseded: BTreeSet<u64> = BTreeSet::new();
    let mut corrected: BTreeSet<u64> = BTreeSet::new();
    for (_, _, row) in all() {
        if let Some(ids) = &row.supersedes {
            superseded.extend(ids);
            corrected.insert(row.question);
        }
    }
    let mut dropped = Vec::new();
    let mut contents = Vec::with_capacity(summaries.iter().map(Vec::len).sum());
    for (chunk, at, row) in all() {
        let is_correction = row.supersedes.is_some();
        let is_superseded = corrected.contains(&row.question) || row.names.iter().any(|name| superseded.contains(name));
        if is_superseded && !is_correction {
            dropped.push((chunk, at, "dropped row: superseded by a correction"));
        } else {
            contents.push((row.content, !is_correction, chunk, at));
        }
    }
    // A correction comes before a row with the same words, and then the first by id.
    contents.par_sort_unstable();
    for group in contents.chunk_by(|a, b| a.0 == b.0) {
        dropped.extend(group[1..].iter().map(|(.., chunk, at)| (*chunk, *at, "dropped row: exact duplicate")));
    }
    dropped.sort_unstable();
    dropped
}

/// Returns the summary of a candidate row.
pub(super) fn summary(record: &Record) -> Summary {
    let (row, supersedes) = match record {
        Record::Row(row) => (row, None),
        Record::Correction(correction) => (&correction.conversation, Some(&correction.supersedes)),
        // The record-wise part yields nothing else.
        Record::Issue(_) | Record::Pull(_) | Record::Discussion(_) | Record::Document(_) => return Summary::default(),
    };
    // Often all of them are one.
    let mut named: Vec<&str> = names(row).collect();
    named.sort_unstable();
    named.dedup();
    let mut names: Vec<u64> = named.into_iter().map(hash).collect();
    names.sort_unstable();
    let supersedes = supersedes.map(|ids| ids.iter().map(|id| hash(id)).collect());
    Summary { content: hash(&content(row)), question: hash(&question(row)), names, supersedes }
}

/// Returns who says what, without the system prompt.
fn content(row: &Conversation) -> String {
    let mut text = String::with_capacity(row.turns.iter().map(|turn| 1 + turn.text.len()).sum());
    for turn in row.turns.iter().filter(|turn| turn.role != Role::System) {
        text.push(if turn.role == Role::User { '\u{1}' } else { '\u{2}' });
        text.push_str(turn.text.trim());
    }
    text
}

/// Returns the words of the first question.
fn question(row: &Conversation) -> String {
    let text = row.turns.iter().find(|turn| turn.role == Role::User).map_or("", |turn| &turn.text);
    let mut question = String::with_capacity(text.len());
    for word in text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if !question.is_empty() {
            question.push(' ');
        }
        if word.is_ascii() {
            let start = question.len();
            question.push_str(word);
            question[start..].make_ascii_lowercase();
        } else {
            question.push_str(&word.to_lowercase());
        }
    }
    question
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
