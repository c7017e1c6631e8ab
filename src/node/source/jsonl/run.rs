//! Runs of raw lines: pieces of a file that are read once, whatever changes around them.

use std::io::BufRead as _;

use rayon::iter::{IntoParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};

use crate::store::Digest;

/// Bytes that a run is expected to have.
const RUN: u64 = 64 << 10;
/// Bytes that one thread cuts at a time.
const SEGMENT: usize = 4 << 20;

/// Some whole lines of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawRun<'a> {
    /// The lines.
    pub(super) bytes: &'a [u8],
    /// Where they start in the file.
    pub(super) offset: usize,
    /// The digest of the lines.
    pub(super) digest: Digest,
}

/// Cuts a file into runs. A run ends after a line by that line's content alone, so that an edit changes one or two runs.
pub(super) fn cut(bytes: &[u8]) -> Vec<RawRun<'_>> {
    let segments = segments(bytes);
    let ends: Vec<Vec<usize>> = segments.into_par_iter().map(|(start, end)| ends(bytes, start, end)).collect();
    let mut pieces = Vec::new();
    let mut start = 0;
    for end in ends.into_iter().flatten().chain([bytes.len()]) {
        if end > start {
            pieces.push((start, end));
            start = end;
        }
    }
    let run = |&(start, end): &(usize, usize)| {
        let bytes = &bytes[start..end];
        RawRun { bytes, offset: start, digest: Digest::of(bytes) }
    };
    pieces.par_iter().map(run).collect()
}

/// Returns pieces of about [`SEGMENT`] bytes that end with a line.
fn segments(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut segments = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let mut rest = &bytes[(start + SEGMENT).min(bytes.len())..];
        let before = rest.len();
        let skipped = rest.skip_until(b'\n').unwrap_or(before);
        let end = bytes.len() - before + skipped;
        segments.push((start, end));
        start = end;
    }
    segments
}

/// Returns where runs end within a segment.
fn ends(bytes: &[u8], start: usize, end: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = start;
    let mut rest = &bytes[start..end];
    while let Ok(length @ 1..) = rest.skip_until(b'\n') {
        let line = &bytes[at..at + length];
        at += length;
        // The line's share of an expected run is its chance to end one.
        if u128::from(spread(line)) * u128::from(RUN) < (length as u128) << 64 {
            ends.push(at);
        }
    }
    ends
}

/// Returns a number that depends on every byte of a line; fast, and of no use against malice.
fn spread(line: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut state = line.len() as u64;
    let (words, rest) = line.as_chunks::<8>();
    for word in words {
        state = (state.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    }
    for byte in rest {
        state = (state.rotate_left(23) ^ u64::from(*byte)).wrapping_mul(FACTOR);
    }
    // The low bits of a product know nothing of the high bits of its factors.
    (state ^ (state >> 32)).wrapping_mul(FACTOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: impl Iterator<Item = usize>) -> Vec<u8> {
        lines.flat_map(|n| format!("{{\"number\":{n},\"body\":\"{}\"}}\n", "x".repeat(n % 700)).into_bytes()).collect()
    }

    #[test]
    fn runs_are_the_file_and_an_edit_changes_few_of_them() {
        let before = file(0..40_000);
        let after = file((0..40_000).filter(|n| *n != 20_000));
        let runs = cut(&before);
        assert_eq!(runs.iter().flat_map(|run| run.bytes).copied().collect::<Vec<u8>>(), before);
        let mean = before.len() / runs.len();
        assert!((32 << 10..128 << 10).contains(&mean), "{mean} bytes a run");
        let old: std::collections::BTreeSet<Digest> = runs.iter().map(|run| run.digest).collect();
        let fresh = cut(&after).iter().filter(|run| !old.contains(&run.digest)).count();
        assert!((1..=2).contains(&fresh), "{fresh} fresh runs");
    }
}
