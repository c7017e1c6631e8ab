//! Which rows go, from their sketches: equal ones by one hash, near ones by bands of their signatures (LSH), each then
//! judged by the true similarity of its shingles.
//!
//! Rows are taken in order of preference, and a row goes when it is like one that stays. So each row that goes has a row
//! that stays and that it resembles, which a chain of neighbours would not give.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rayon::slice::ParallelSliceMut as _;

use super::sketch::{PLACES, Sketch, jaccard};
use crate::record::{Counts, Verdict};

/// The chance that a pair exactly at the threshold shares a band is at least this; above the threshold it is higher.
const RECALL: f64 = 0.97;

/// A pair whose signatures agree by this much less than the threshold is not judged: over three standard deviations.
const SLACK: f64 = 0.15;

/// Returns the rows from the most preferred: by rank, then the longer answer, then the id, by which they are given.
pub(super) fn by_preference(rows: &[&Sketch]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.par_sort_by_key(|row| (rows[*row].rank, Reverse(rows[*row].length), *row));
    order
}

/// Drops rows whose words are those of a preferred row.
pub(super) fn drop_equal(rows: &[&Sketch], order: &[usize], verdicts: &mut [Verdict], counts: &mut Counts) {
    let mut texts: Vec<(u64, usize)> = order.iter().enumerate().map(|(at, row)| (rows[*row].text, at)).collect();
    texts.par_sort_unstable();
    for group in texts.chunk_by(|a, b| a.0 == b.0) {
        for (_, at) in &group[1..] {
            verdicts[order[*at]] = Verdict::Dropped;
            counts.add("dropped row: exact duplicate", 1);
        }
    }
}

/// For each row and band: which rows share it.
pub(super) struct Buckets {
    bands: usize,
    /// By row and band: a bucket, or [`NONE`] when the row is alone.
    of: Vec<u32>,
    /// How many there are.
    count: usize,
}

const NONE: u32 = u32::MAX;

impl Buckets {
    /// Sorts the kept rows into buckets, for pairs from `threshold` on.
    pub(super) fn of(rows: &[&Sketch], verdicts: &[Verdict], threshold: f64) -> Self {
        let width = band_width(threshold);
        let bands = PLACES / width;
        let mut of = vec![NONE; rows.len() * bands];
        let mut buckets = 0;
        for band in 0..bands {
            let mut keys: Vec<(u128, u32)> = Vec::new();
            for (row, sketch) in rows.iter().enumerate() {
                if verdicts[row] == Verdict::Kept && sketch.shingles > 0 {
                    keys.push((key(sketch, band * width, width), row as u32));
                }
            }
            keys.par_sort_unstable();
            for group in keys.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1) {
                for (_, row) in group {
                    of[*row as usize * bands + band] = buckets;
                }
                buckets += 1;
            }
        }
        Self { bands, of, count: buckets as usize }
    }

    fn of_row(&self, row: usize) -> impl Iterator<Item = usize> {
        let buckets = &self.of[row * self.bands..(row + 1) * self.bands];
        buckets.iter().filter(|bucket| **bucket != NONE).map(|bucket| *bucket as usize)
    }

    /// Returns whether a row shares a band with another.
    pub(super) fn has_company(&self, row: usize) -> bool {
        self.of_row(row).next().is_some()
    }
}

/// Drops rows that are like a preferred row that stays. `shingles` has those of each row that has company.
pub(super) fn drop_near(
    rows: &[&Sketch],
    order: &[usize],
    buckets: &Buckets,
    shingles: &BTreeMap<usize, Vec<u32>>,
    threshold: f64,
    verdicts: &mut [Verdict],
    counts: &mut Counts,
) {
    let mut kept: Vec<Vec<u32>> = vec![Vec::new(); buckets.count];
    let mut judged_for = vec![usize::MAX; rows.len()];
    for row in order.iter().copied() {
        if verdicts[row] != Verdict::Kept || !buckets.has_company(row) {
            continue;
        }
        let mut others = buckets.of_row(row).flat_map(|bucket| kept[bucket].iter().map(|other| *other as usize));
        let is_near = others.any(|other| {
            let is_new = std::mem::replace(&mut judged_for[other], row) != row;
            is_new && are_alike(row, other, rows, shingles, threshold)
        });
        if is_near {
            verdicts[row] = Verdict::Dropped;
            counts.add("dropped row: near duplicate", 1);
        } else {
            for bucket in buckets.of_row(row) {
                kept[bucket].push(row as u32);
            }
        }
    }
}

fn are_alike(a: usize, b: usize, rows: &[&Sketch], shingles: &BTreeMap<usize, Vec<u32>>, threshold: f64) -> bool {
    let (one, other) = (rows[a], rows[b]);
    let (small, large) = (one.shingles.min(other.shingles), one.shingles.max(other.shingles));
    // Sets of such sizes cannot overlap by more.
    if f64::from(small) < threshold * f64::from(large) || one.agreement(other) < threshold - SLACK {
        return false;
    }
    match (shingles.get(&a), shingles.get(&b)) {
        (Some(a), Some(b)) => jaccard(a, b) >= threshold,
        _ => false,
    }
}

/// Returns how many places make a band: as many as leave a pair at the threshold a chance of [`RECALL`].
fn band_width(threshold: f64) -> usize {
    let chance = |width: usize| {
        let band = (0..width).fold(1.0, |product, _| product * threshold);
        1.0 - (0..PLACES / width).fold(1.0, |product, _| product * (1.0 - band))
    };
    // Eight values of 16 bits fill a key, and tell any number of rows apart.
    (2..=8).rev().find(|width| chance(*width) >= RECALL).unwrap_or(1)
}

/// Returns the values of a band as one number.
fn key(sketch: &Sketch, from: usize, width: usize) -> u128 {
    (from..from + width).fold(0, |key, place| key << 16 | u128::from(sketch.at(place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_as_wide_as_the_threshold_allows() {
        let widths = [(0.3, 2), (0.5, 3), (0.7, 5), (0.8, 7), (0.95, 8)];
        for (threshold, width) in widths {
            assert_eq!(band_width(threshold), width, "{threshold}");
        }
    }
}
