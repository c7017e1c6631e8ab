//! The set of a whole file, in order of the ids.

use std::io;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rayon::slice::{ParallelSlice as _, ParallelSliceMut as _};

use super::error::JsonlError;
use super::read::{Reader, lines};
use super::resolve::Fate;
use super::spool::{Place, Spool};
use super::{Piece, numbered, numbered_id};
use crate::record::{SetWriter, in_turns};
use crate::store::RecordsRef;

/// Bytes of lines that are in memory at a time while a set is written.
const BATCH: u64 = 4 << 20;
/// Lines of a batch that a thread reads at a time.
const PIECE: usize = 512;

/// Writes the set of all runs: their lines are on disk, and are taken from there in order of their ids.
pub(super) fn anew(reader: &Reader<'_>, pieces: Vec<Piece>) -> Result<RecordsRef, JsonlError> {
    let taken = pieces.into_par_iter().map(|Piece { span, resolved, places }| {
        let places = if let Some(places) = places {
            places
        } else {
            let text = reader.read_again(span, &resolved.run)?;
            reader.spool.put(&text, &lines(&text)?)?
        };
        let taken = places.into_iter().enumerate().filter_map(|(at, place)| match resolved.fate(at) {
            None => Some((place, None)),
            Some(Fate::Dropped) => None,
            Some(Fate::Numbered(n)) => {
                let id = numbered_id(&place.id, n);
                Some((place.named(id), Some(n)))
            }
        });
        Ok(taken.collect())
    });
    let taken = taken.collect::<Result<Vec<Vec<(Place, Option<u32>)>>, JsonlError>>()?;
    let mut taken: Vec<(Place, Option<u32>)> = taken.into_iter().flatten().collect();
    taken.par_sort_unstable_by(|(a, _), (b, _)| a.id.cmp(&b.id));
    let mut writer = SetWriter::new(reader.store);
    let read = |batch: &[(Place, Option<u32>)]| {
        let pieces = batch.par_chunks(PIECE).map(|piece| in_order(reader.spool, piece));
        pieces.collect::<Result<Vec<String>, JsonlError>>()
    };
    let write = |pieces: Vec<String>| {
        let lines = pieces.iter().map(|piece| lines(piece)).collect::<Result<Vec<_>, _>>()?;
        Ok(writer.extend(&lines.into_iter().flatten().collect::<Vec<_>>())?)
    };
    in_turns(batches(&taken), read, write)?;
    Ok(writer.finish()?)
}

/// Returns the lines at some places, one behind the other.
fn in_order(spool: &Spool, places: &[(Place, Option<u32>)]) -> Result<String, JsonlError> {
    let mut spool = spool.reader();
    let mut text = Vec::with_capacity(places.iter().map(|(place, _)| place.length() as usize).sum());
    for (place, number) in places {
        let line = spool.line(place)?;
        match number {
            None => text.extend_from_slice(line),
            Some(n) => {
                let line = std::str::from_utf8(line).map_err(io::Error::other)?;
                for line in &lines(line)? {
                    text.extend_from_slice(numbered(line, *n)?.text().as_bytes());
                }
            }
        }
    }
    Ok(String::from_utf8(text).map_err(io::Error::other)?)
}

/// Cuts places between lines so that those of a batch have about [`BATCH`] bytes.
fn batches(places: &[(Place, Option<u32>)]) -> Vec<&[(Place, Option<u32>)]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (n, (place, _)) in places.iter().enumerate() {
        bytes += place.length();
        if bytes >= BATCH || n + 1 == places.len() {
            batches.push(&places[start..=n]);
            (start, bytes) = (n + 1, 0);
        }
    }
    batches
}
