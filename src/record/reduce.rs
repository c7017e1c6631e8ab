//! Decisions that are taken over a whole set, such as which of equal rows stays, put into effect in the size of the change.
//!
//! Deciding is the caller's: it sees all records, mostly by summaries that it keeps by chunk. Here the former result is
//! edited where the records or the decision changed.

use std::collections::BTreeSet;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};

use super::chunk::{Chunk, SetWriter};
use super::diff::SetDiff;
use super::edit::edit;
use super::error::{RecordError, Result};
use super::line::Line;
use super::recall::{is_whole, near_diff, recall, remember};
use super::set::RecordSet;
use super::types::Record;
use crate::store::{Digest, MemoEntry, RecordsRef, Store};

/// How many records may differ from a former result that is edited: each costs the reading of a chunk.
const NEAR: usize = 1_000;

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Kept,
    /// It goes: to the second output, where there is one.
    Dropped,
    /// It stays, in another form.
    Edited,
}

/// What a decision does to a set, by ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Changes {
    dropped: BTreeSet<String>,
    edited: BTreeSet<String>,
}

/// A former reduction.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Past {
    input: RecordsRef,
    outputs: Vec<RecordsRef>,
    /// The digest of the memoised [`Changes`].
    changes: Digest,
}

/// Puts verdicts, by chunk and in order, into effect. The first output has what stays, the second, where `N` is 2, what
/// goes. `name` is that of the decision, with all that shapes `edited` beside the record.
///
/// # Errors
/// Errors of the store.
pub fn reduce<const N: usize>(
    store: &Store,
    name: &str,
    set: &RecordSet<'_>,
    verdicts: &[Vec<Verdict>],
    edited: impl Fn(Record) -> Record,
) -> Result<[RecordsRef; N]> {
    let past_scope = Digest::of(format!("{name} reductions 1").as_bytes());
    let changes_scope = Digest::of(format!("{name} changes 1").as_bytes());
    let changes = changes(store, set, verdicts)?;
    let past = recall::<Past>(store, &past_scope)?.into_iter().next();
    let outputs =
        match past.map(|past| again(store, &changes_scope, past, set, &changes, &edited)).transpose()?.flatten() {
            Some(outputs) => outputs,
            None => anew(store, set, verdicts, &changes, &edited)?,
        };
    let value = serde_json::to_vec(&changes)
        .map_err(|cause| RecordError::Unwritable { id: "memo of a reduction".into(), cause })?;
    let digest = Digest::of(&value);
    store.put_memo(changes_scope, MemoEntry { input: digest, first: String::new(), last: String::new(), value })?;
    let past = Past { input: set.reference(), outputs: outputs.to_vec(), changes: digest };
    remember(store, past_scope, past)?;
    Ok(outputs)
}

/// Names what the verdicts change. Only chunks with such a record are read.
fn changes(store: &Store, set: &RecordSet<'_>, verdicts: &[Vec<Verdict>]) -> Result<Changes> {
    let chunks: Vec<_> = set.chunks().iter().zip(verdicts).collect();
    let named = chunks.par_iter().map(|(chunk, verdicts)| {
        let mut changes = Changes::default();
        if verdicts.iter().any(|verdict| *verdict != Verdict::Kept) {
            for (line, verdict) in Chunk::read(store, chunk)?.lines()?.iter().zip(*verdicts) {
                let ids = match verdict {
                    Verdict::Kept => continue,
                    Verdict::Dropped => &mut changes.dropped,
                    Verdict::Edited => &mut changes.edited,
                };
                ids.insert(line.id().to_owned());
            }
        }
        Ok(changes)
    });
    let mut all = Changes::default();
    for mut changes in named.collect::<Result<Vec<Changes>>>()? {
        all.dropped.append(&mut changes.dropped);
        all.edited.append(&mut changes.edited);
    }
    Ok(all)
}

/// Writes the outputs from the whole set.
fn anew<const N: usize>(
    store: &Store,
    set: &RecordSet<'_>,
    verdicts: &[Vec<Verdict>],
    changes: &Changes,
    edited: &impl Fn(Record) -> Record,
) -> Result<[RecordsRef; N]> {
    let mut lines = Vec::new();
    for id in &changes.edited {
        if let Some(record) = set.get(id)? {
            lines.push(Line::of(&edited(record))?);
        }
    }
    let gone = changes.dropped.union(&changes.edited).cloned().collect();
    let mut outputs = [edit(store, &set.reference(), &gone, lines)?; N];
    if let Some(output) = outputs.get_mut(1) {
        let mut writer = SetWriter::new(store);
        for (chunk, verdicts) in set.chunks().iter().zip(verdicts) {
            if verdicts.contains(&Verdict::Dropped) {
                for (line, verdict) in Chunk::read(store, chunk)?.lines()?.iter().zip(verdicts) {
                    if *verdict == Verdict::Dropped {
                        writer.push(line)?;
                    }
                }
            }
        }
        *output = writer.finish()?;
    }
    Ok(outputs)
}

/// Goes on from the newest former reduction when it is near: what differs are the records that differ, and those on
/// which the decision changed.
fn again<const N: usize>(
    store: &Store,
    changes_scope: &Digest,
    past: Past,
    set: &RecordSet<'_>,
    changes: &Changes,
    edited: &impl Fn(Record) -> Record,
) -> Result<Option<[RecordsRef; N]>> {
    let former = store.memo(changes_scope, &past.changes)?;
    let Some(former) = former.and_then(|value| serde_json::from_slice::<Changes>(&value).ok()) else { return Ok(None) };
    let Ok(former_outputs) = <[RecordsRef; N]>::try_from(past.outputs) else { return Ok(None) };
    for output in &former_outputs {
        if !is_whole(store, output)? {
            return Ok(None);
        }
    }
    let Some(diff) = near_diff(store, &past.input, &set.reference())? else { return Ok(None) };
    let SetDiff { added, edited: other, removed } = diff;
    let mut touched: BTreeSet<String> = [added, other, removed].into_iter().flatten().collect();
    touched.extend(former.dropped.symmetric_difference(&changes.dropped).cloned());
    touched.extend(former.edited.symmetric_difference(&changes.edited).cloned());
    if touched.len() > NEAR {
        return Ok(None);
    }
    let mut lines: [Vec<Line<'static>>; N] = std::array::from_fn(|_| Vec::new());
    for id in &touched {
        let Some(record) = set.get(id)? else { continue };
        let is_dropped = changes.dropped.contains(id);
        let record = if changes.edited.contains(id) { edited(record) } else { record };
        if let Some(lines) = lines.get_mut(usize::from(is_dropped)) {
            lines.push(Line::of(&record)?);
        }
    }
    let mut outputs = former_outputs;
    for (output, lines) in outputs.iter_mut().zip(lines) {
        *output = edit(store, output, &touched, lines)?;
    }
    Ok(Some(outputs))
}
