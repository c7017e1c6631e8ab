//! Record-wise filters over record sets: the work of a run is that of the records that changed.
//!
//! A result is kept with its input ([`super::recall()`]). The next run compares its input with the nearest former one,
//! runs the filter on the records that differ, and edits the former output. What the old version of an edited record
//! gave is computed again rather than kept: the filter is a pure function, and that costs one more call an edit in
//! place of a table of a million entries.

use std::collections::BTreeSet;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};

use super::chunk::{Chunk, SetWriter};
use super::counts::Counts;
use super::diff::Changed;
use super::edit::edit;
use super::error::{RecordError, Result};
use super::line::Line;
use super::recall::{are_complete, is_gone, nearest, recall, remember};
use super::set::RecordSet;
use super::summary::Summary;
use super::tree::ChunkRef;
use super::turns::in_turns;
use super::types::Record;
use crate::store::{Digest, RecordsRef, Store};

/// Chunks that are in memory at a time when a set is mapped from nothing.
const BATCH: usize = 64;

/// What a record becomes: rows for each of `N` outputs, and counted remarks.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped<const N: usize = 1> {
    /// The rows by output. Their ids start with the record's id.
    pub rows: [Vec<Line<'static>>; N],
    /// Remarks, such as why a record was dropped.
    pub counts: Counts,
}

impl<const N: usize> Default for Mapped<N> {
    fn default() -> Self {
        Self { rows: std::array::from_fn(|_| Vec::new()), counts: Counts::default() }
    }
}

impl<const N: usize> Mapped<N> {
    /// Adds a row to an output.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`].
    pub fn push(&mut self, output: usize, row: &Record) -> Result<()> {
        self.rows[output].push(Line::of(row)?);
        Ok(())
    }

    /// Adds a row with the value that [`super::summarize()`] would find for it under `scope`.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`].
    pub fn push_summarized(
        &mut self,
        output: usize,
        row: &Record,
        scope: Digest,
        value: &impl Serialize,
    ) -> Result<()> {
        self.rows[output].push(Line::of(row)?.summarized(Summary::of(scope, value)));
        Ok(())
    }
}

/// What a set became.
#[derive(Clone, Debug, PartialEq)]
pub struct MapOutput<const N: usize = 1> {
    /// The outputs.
    pub outputs: [RecordsRef; N],
    /// The remarks on all records.
    pub counts: Counts,
    /// On how many records of the input the filter ran; the others are as in an earlier run.
    pub processed: u64,
}

/// A former run.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Past {
    input: RecordsRef,
    outputs: Vec<RecordsRef>,
    counts: Counts,
}

/// Maps a set record by record.
///
/// `scope` is the digest of all that shapes the result beside the record: kind, version, settings. `f` is a pure function
/// of the line.
///
/// # Errors
/// Those of `f`; [`RecordError::RowId`] and [`RecordError::Duplicate`] for the ids of its rows; errors of the store.
pub fn map_records<const N: usize, E, F>(
    store: &Store,
    scope: Digest,
    input: &RecordsRef,
    f: F,
) -> std::result::Result<MapOutput<N>, E>
where
    E: From<RecordError> + Send,
    F: Fn(&Line<'_>) -> std::result::Result<Mapped<N>, E> + Sync,
{
    let result = match again(store, &scope, input, &f)? {
        Some(result) => result,
        None => anew(store, input, &f)?,
    };
    let past = Past { input: *input, outputs: result.outputs.to_vec(), counts: result.counts.clone() };
    remember(store, scope, past)?;
    Ok(result)
}

/// Goes on from the nearest former run.
fn again<const N: usize, E, F>(
    store: &Store,
    scope: &Digest,
    input: &RecordsRef,
    f: &F,
) -> std::result::Result<Option<MapOutput<N>>, E>
where
    E: From<RecordError> + Send,
    F: Fn(&Line<'_>) -> std::result::Result<Mapped<N>, E> + Sync,
{
    let mut past: Vec<Past> = recall(store, scope)?;
    past.retain(|past| past.outputs.len() == N);
    let former: Vec<&[RecordsRef]> = past.iter().map(|past| std::slice::from_ref(&past.input)).collect();
    let Some((index, diffs)) = nearest(store, &[*input], &former)? else { return Ok(None) };
    let Past { outputs, mut counts, .. } = past.swap_remove(index);
    if !are_complete(store, &outputs)? {
        return Ok(None);
    }
    let mut changed = Vec::new();
    for diff in diffs {
        match diff.lines(store) {
            Ok(lines) => changed.extend(lines),
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    let mapped = changed.par_iter().map(|Changed { old, new }| {
        let old = old.as_ref().map(|line| checked(f, line)).transpose()?;
        let new = new.as_ref().map(|line| checked(f, line)).transpose()?;
        Ok((old, new))
    });
    let mapped = mapped.collect::<std::result::Result<Vec<_>, E>>()?;
    let mut removed: [BTreeSet<String>; N] = std::array::from_fn(|_| BTreeSet::new());
    let mut inserted: [Vec<Line<'static>>; N] = std::array::from_fn(|_| Vec::new());
    for (old, new) in mapped {
        if let Some(old) = old {
            counts.subtract_all(&old.counts);
            for (removed, rows) in removed.iter_mut().zip(old.rows) {
                removed.extend(rows.into_iter().map(|line| line.id().to_owned()));
            }
        }
        if let Some(new) = new {
            counts.add_all(&new.counts);
            for (inserted, rows) in inserted.iter_mut().zip(new.rows) {
                inserted.extend(rows);
            }
        }
    }
    let mut results = [*input; N];
    for (n, lines) in inserted.into_iter().enumerate() {
        results[n] = edit(store, &outputs[n], &removed[n], lines)?;
    }
    let processed = changed.iter().filter(|changed| changed.new.is_some()).count() as u64;
    Ok(Some(MapOutput { outputs: results, counts, processed }))
}

/// Maps every record.
fn anew<const N: usize, E, F>(store: &Store, input: &RecordsRef, f: &F) -> std::result::Result<MapOutput<N>, E>
where
    E: From<RecordError> + Send,
    F: Fn(&Line<'_>) -> std::result::Result<Mapped<N>, E> + Sync,
{
    let set = RecordSet::open(store, input)?;
    let mut writers: [SetWriter<'_>; N] = std::array::from_fn(|_| SetWriter::new(store));
    let mut held: [Vec<Line<'static>>; N] = std::array::from_fn(|_| Vec::new());
    let mut counts = Counts::default();
    let batches: Vec<&[ChunkRef]> = set.chunks().chunks(BATCH).collect();
    // A row's id starts with its record's id, so no later row comes before the next batch's first record.
    let nexts = batches.iter().skip(1).map(|batch| Some(batch[0].first.as_str())).chain([None]);
    in_turns::<_, _, E>(
        batches.iter().zip(nexts),
        |(batch, next)| {
            let mapped = batch.par_iter().map(|entry| of_chunk(store, entry, f));
            Ok((mapped.collect::<std::result::Result<Vec<_>, E>>()?, next))
        },
        |(mapped, next)| {
            for mapped in mapped {
                counts.add_all(&mapped.counts);
                for (held, rows) in held.iter_mut().zip(mapped.rows) {
                    held.extend(rows);
                }
            }
            for (writer, held) in writers.iter_mut().zip(&mut held) {
                held.sort_by(|a, b| a.id().cmp(b.id()));
                let ready = next.map_or(held.len(), |next| held.partition_point(|line| line.id() < next));
                writer.extend(&held[..ready])?;
                held.drain(..ready);
            }
            Ok(())
        },
    )?;
    let mut outputs = [*input; N];
    for (output, writer) in outputs.iter_mut().zip(writers) {
        *output = writer.finish()?;
    }
    Ok(MapOutput { outputs, counts, processed: set.count() })
}

/// Maps the records of a chunk.
fn of_chunk<const N: usize, E, F>(store: &Store, entry: &ChunkRef, f: &F) -> std::result::Result<Mapped<N>, E>
where
    E: From<RecordError>,
    F: Fn(&Line<'_>) -> std::result::Result<Mapped<N>, E>,
{
    let mut all = Mapped::<N>::default();
    for line in &Chunk::read(store, entry)?.lines()? {
        let one = checked(f, line)?;
        all.counts.add_all(&one.counts);
        for (all, rows) in all.rows.iter_mut().zip(one.rows) {
            all.extend(rows);
        }
    }
    Ok(all)
}

/// Runs the filter on a record and checks the ids of its rows.
fn checked<const N: usize, E, F>(f: &F, line: &Line<'_>) -> std::result::Result<Mapped<N>, E>
where
    E: From<RecordError>,
    F: Fn(&Line<'_>) -> std::result::Result<Mapped<N>, E>,
{
    let mapped = f(line)?;
    match mapped.rows.iter().flatten().find(|row| !row.id().starts_with(line.id())) {
        None => Ok(mapped),
        Some(row) => Err(RecordError::RowId { row: row.id().to_owned(), record: line.id().to_owned() }.into()),
    }
}
