//! Runs of raw lines: pieces of a file that are read once, whatever changes around them.

use std::io;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSlice as _;

use crate::node::source::text::Text;
use crate::record::line_ranges;
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

/// Cuts a text into runs and makes something of each, in order. A run ends after a line by that line's content alone, so that
/// an edit changes one or two runs.
pub(super) fn each_run<T, E>(
    text: &Text,
    make: impl Fn(&RawRun<'_>) -> Result<T, E> + Sync,
) -> Result<Vec<(Span, T)>, E>
where
    T: Send,
    E: From<io::Error> + Send,
{
    let segments = segments(text)?.into_par_iter().map(|segment| of_segment(text, segment, &make));
    let mut runs = Vec::new();
    let mut start = 0;
    for Segment { whole, first, last } in segments.collect::<Result<Vec<_>, E>>()? {
        if let (Some(first), Some(last)) = (first, last) {
            runs.push((Span { start, end: first }, None));
            runs.extend(whole.into_iter().map(|(span, made)| (span, Some(made))));
            start = last;
        }
    }
    runs.push((Span { start, end: text.length() }, None));
    // Those that lie in two segments or more are read once more.
    let runs = runs.into_par_iter().filter(|(span, _)| span.end > span.start).map(|(span, made)| match made {
        Some(made) => Ok((span, made)),
        None => Ok((span, make(&span.run(&span.read(text)?))?)),
    });
    runs.collect()
}

/// A piece of a text that a thread reads at once.
struct Segment<T> {
    /// The runs that lie in it from their start to their end.
    whole: Vec<(Span, T)>,
    /// Where the first run ends in it.
    first: Option<u64>,
    /// Where the last run ends in it.
    last: Option<u64>,
}

fn of_segment<T, E>(
    text: &Text,
    segment: Span,
    make: &(impl Fn(&RawRun<'_>) -> Result<T, E> + Sync),
) -> Result<Segment<T>, E>
where
    T: Send,
    E: From<io::Error> + Send,
{
    let bytes = segment.read(text)?;
    let ends = ends(&bytes);
    let place = |end: usize| segment.start + end as u64;
    let whole = ends.par_windows(2).map(|pair| {
        let span = Span { start: place(pair[0]), end: place(pair[1]) };
        Ok((span, make(&span.run(&bytes[pair[0]..pair[1]]))?))
    });
    let whole = whole.collect::<Result<Vec<_>, E>>()?;
    Ok(Segment { whole, first: ends.first().copied().map(place), last: ends.last().copied().map(place) })
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
    for line in line_ranges(bytes) {
        // The line's share of an expected run is its chance to end one.
        if u128::from(spread(&bytes[line.clone()])) * u128::from(RUN) < (line.len() as u128) << 64 {
            ends.push(line.end);
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
            let runs = each_run(&text, |run| Ok::<_, io::Error>(run.bytes.to_vec())).unwrap();
            let read = |(span, bytes): (Span, Vec<u8>)| {
                assert_eq!(span.read(&text).unwrap(), bytes);
                bytes
            };
            runs.into_iter().map(read).collect::<Vec<_>>()
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
