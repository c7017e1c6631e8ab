//! Times pull requests to rows in memory, beside a script with the same rules: `cargo bench --bench format -- FILE [PEER]`.
//!
//! FILE is an uncompressed `raw_pull_requests.jsonl`. From the open file to rows without repetitions: reading, parsing,
//! the rules of `filter.conversations`, the digest by which a row names its record, and exact duplicates by their words;
//! writing is left out. Once with the rules that the script has, so with one wording of the question, and once as a node
//! has them that sets nothing. PEER is a Python script that takes the same file and an output, and prints
//! `{"rows": …, "seconds": …}` for its part of that. The fastest of several runs counts, for all, and they take turns. Prints one JSON object a line.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use memchr::{memchr, memchr_iter};
use rayon::prelude::*;
use serde_json::{Value, json};
use tunesmith::node::filter::Converter;
use tunesmith::node::{self, Family};
use tunesmith::record::{Conversation, Form, Record, Role, Text, import_mapped};

/// Runs of each side.
const RUNS: usize = 7;
/// Bytes that a thread takes at a time.
const PIECE: u64 = 64 << 10;
/// Bytes before a piece that are read with it: the last tells whether a line starts with the piece. With one alone some
/// processors copy at a third of their speed, since it lies at a page's end and goes to a page's start.
const BEFORE: u64 = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let Some(file) = arguments.first().map(Path::new) else {
        println!("{}", json!({"what": "format", "skipped": "name a file of pull requests"}));
        return;
    };
    let question = "Explain the motivation and changes of this pull request: {title}";
    let same = converter(&json!({"questions": {"pull": question}}));
    let defaults = converter(&json!({}));
    let mut fastest = [Measured::default(), Measured::default(), Measured::default()];
    for _ in 0..RUNS {
        fastest[0].take(format(file, &same));
        fastest[1].take(format(file, &defaults));
        if let Some(peer) = arguments.get(1) {
            fastest[2].take(run(peer, file));
        }
    }
    let [same, defaults, peer] = fastest.map(|measured| json!({"rows": measured.rows, "seconds": measured.seconds}));
    let ratio = |ours: &Value| peer["seconds"].as_f64().zip(ours["seconds"].as_f64()).map(|(peer, ours)| peer / ours);
    println!(
        "{}",
        json!({
            "what": "pull requests to rows", "peak_rss_mib": peak_mib(), "peer": peer, "same rules": same,
            "ratio with the same rules": ratio(&same), "defaults": defaults, "ratio with defaults": ratio(&defaults),
        })
    );
}

/// What a run gave, and how long it took.
#[derive(Default)]
struct Measured {
    rows: u64,
    /// None: it did not run.
    seconds: Option<f64>,
}

impl Measured {
    /// Keeps the faster run.
    fn take(&mut self, other: Self) {
        if self.seconds.is_none_or(|best| other.seconds.is_some_and(|seconds| seconds < best)) {
            *self = other;
        }
    }
}

fn converter(settings: &Value) -> Converter {
    let kind = node::find(Family::Filter, "conversations").unwrap();
    Converter::new(&kind.canonical(settings).unwrap()).unwrap()
}

fn format(path: &Path, converter: &Converter) -> Measured {
    let start = Instant::now();
    let file = fs_err::File::open(path).unwrap().into_file();
    let length = file.metadata().unwrap().len();
    let pieces = (0..length.div_ceil(PIECE)).into_par_iter().map(|piece| {
        let (text, first) = lines(&file, piece * PIECE, length);
        let text = &text[first..];
        let ends = memchr_iter(b'\n', text).chain([text.len()]);
        let lines = ends.scan(0, |start, end| Some(&text[std::mem::replace(start, end + 1)..end]));
        let rows = lines.filter(|line| !line.is_empty()).flat_map(|line| rows(line, converter));
        rows.map(|row| (glance(&row), row)).collect()
    });
    let pieces: Vec<Vec<(Glance, Conversation)>> = pieces.collect();
    let mut rows: Vec<(Glance, &Conversation)> = pieces.iter().flatten().map(|(glance, row)| (*glance, row)).collect();
    // Of equal ones the first stays.
    rows.par_sort_by(|(glance, a), (other, b)| glance.cmp(other).then_with(|| words(a).cmp(words(b))));
    rows.dedup_by(|(glance, a), (other, b)| glance == other && words(a).eq(words(b)));
    let seconds = start.elapsed().as_secs_f64();
    Measured { rows: rows.len() as u64, seconds: Some(seconds) }
}

/// Reads the lines of a file that start within the piece from `start`, and returns where the first of them is in what was
/// read.
fn lines(file: &File, start: u64, length: u64) -> (Vec<u8>, usize) {
    let mut text = Vec::with_capacity((PIECE + PIECE / 8) as usize);
    let read = |from: u64, most: u64, text: &mut Vec<u8>| {
        let old = text.len();
        text.resize(old + most.min(length - from) as usize, 0);
        file.read_exact_at(&mut text[old..], from).unwrap();
    };
    let from = start.saturating_sub(BEFORE);
    read(from, start - from + PIECE, &mut text);
    let last_before = (start - from).checked_sub(1).map(|at| at as usize);
    let first = last_before.map_or(0, |at| memchr(b'\n', &text[at..]).map_or(text.len(), |feed| at + feed + 1));
    // The last line goes on behind the piece, if one starts in it.
    let mut end = start + PIECE;
    while first < text.len() && end < length && !text.ends_with(b"\n") {
        let old = text.len();
        read(end, PIECE / 32, &mut text);
        end += PIECE / 32;
        let feed = memchr(b'\n', &text[old..]).map(|feed| old + feed + 1);
        text.truncate(feed.unwrap_or(text.len()));
    }
    (text, first)
}

/// Returns the rows of one line of the file.
fn rows(line: &[u8], converter: &Converter) -> impl Iterator<Item = Conversation> {
    let record = import_mapped::<Text<'_>>(Form::Pulls, line, None, None).unwrap().record;
    let (rows, _) = converter.rows(&record).unwrap();
    rows.into_iter().map(|row| match row {
        Record::Row(row) => row,
        _ => unreachable!("the filter makes rows of pull requests"),
    })
}

/// What tells most rows apart without a look at all their words: how long they are, and how the question ends.
type Glance = (usize, u128);

fn glance(row: &Conversation) -> Glance {
    let question = words(row).next().map_or(&[][..], |(_, text)| text.as_bytes());
    let end = question.last_chunk::<16>().copied().unwrap_or_default();
    (words(row).map(|(_, text)| text.len()).sum(), u128::from_le_bytes(end))
}

/// Returns who says what.
fn words(row: &Conversation) -> impl Iterator<Item = (bool, &str)> {
    row.turns.iter().map(|turn| (turn.role == Role::User, turn.text.as_str()))
}

fn run(peer: &str, file: &Path) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let out = Command::new("python3").arg(peer).arg(file).arg(folder.path().join("rows.jsonl")).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    Measured { rows: told["rows"].as_u64().unwrap(), seconds: told["seconds"].as_f64() }
}

/// Returns the most memory that this process had, in MiB.
fn peak_mib() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}
