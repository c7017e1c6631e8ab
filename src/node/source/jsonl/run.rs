//! Runs of raw lines: pieces of a file that are read once, whatever changes around them.

use std::io::{self, BufRead as _};

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::text::Text;
use crate::store::Digest;

/// Bytes that a run is expected to have.
const RUN: u64 = 64 << 10;
/// Bytes that one thread cuts at a time.
const SEGMENT: u64 = 4 << 20;

/// Some whole lines of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawRun<'a> {
    /// The lines.
    pub(super) bytes: &'a [u8],
    /// Where they start in the text.
    pub(super) offset: u64,
    /// The digest of the lines.
    pub(super) digest: Digest,
}

/// Where a run stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Span {
    /// Reads the run's bytes.
    pub(super) fn read(self, text: &Text) -> io::Result<Vec<u8>> {
        text.read(self.start, (self.end - self.start) as usize)
    }

    /// Returns the run of these bytes.
    pub(super) fn run(self, bytes: &[u8]) -> RawRun<'_> {
        RawRun { bytes, offset: self.start, digest: Digest::of(bytes) }
    }
}

/// Cuts a text into runs. A run ends after a line by that line's content alone, so that an edit changes one or two runs.
pub(super) fn cut(text: &Text) -> io::Result<Vec<Span>> {
    let ends = segments(text)?.into_par_iter().map(|segment| {
        let ends = ends(&segment.read(text)?);
        Ok(ends.into_iter().map(|end| segment.start + end as u64).collect())
    });
    let ends = ends.collect::<io::Result<Vec<Vec<u64>>>>()?;
    let mut runs = Vec::new();
    let mut start = 0;
    for end in ends.into_iter().flatten().chain([text.length()]) {
        if end > start {
            runs.push(Span { start, end });
            start = end;
        }
    }
    Ok(runs)
}

/// Returns pieces of about [`SEGMENT`] bytes that end with a line.
fn segments(text: &Text) -> io::Result<Vec<Span>> {
    let mut segments = Vec::new();
    let mut start = 0;
    while start < text.length() {
        let end = text.line_end(start + SEGMENT)?;
        segments.push(Span { start, end });
        start = end;
    }
    Ok(segments)
}

/// Returns where runs end within a segment.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    let mut rest = bytes;
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
        let folder = tempfile::tempdir().unwrap();
        let runs = |content: &[u8]| {
            let path = folder.path().join("data.jsonl");
            fs_err::write(&path, content).unwrap();
            let text = Text::open(&path, folder.path()).unwrap();
            let spans = cut(&text).unwrap();
            spans.into_iter().map(|span| span.read(&text).unwrap()).collect::<Vec<_>>()
        };
        let old = runs(&before);
        assert_eq!(old.concat(), before);
        let mean = before.len() / old.len();
        assert!((32 << 10..128 << 10).contains(&mean), "{mean} bytes a run");
        let fresh = runs(&after).iter().filter(|run| !old.contains(run)).count();
        assert!((1..=2).contains(&fresh), "{fresh} fresh runs");
        assert_eq!(runs(&[b"\xEF\xBB\xBF", before.as_slice()].concat()), old);
        assert!(runs(b"").is_empty());
    }
}
