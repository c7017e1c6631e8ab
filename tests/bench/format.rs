//! Times pull requests to rows in memory, beside a script with the same rules: `cargo bench --bench format -- FILE [PEER]`.
//!
//! FILE is an uncompressed `raw_pull_requests.jsonl`. From the open file to rows without repetitions: reading, parsing,
//! the rules of `filter.conversations`, the digest by which a row names its record, and exact duplicates; writing is left
//! out. Once with the rules that the script has, so with one wording of the question, and once as a node has them that sets
//! nothing. PEER is a Python script that takes the same file and an output, and prints `{"rows": …, "seconds": …}` for its
//! part of that. The fastest of several runs counts, for all, and they take turns. Prints one JSON object a line.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use memchr::{memchr, memchr_iter};
use rayon::prelude::*;
use serde_json::{Value, json};
use tunesmith::node::filter::Converter;
use tunesmith::node::{self, Family};
use tunesmith::record::{Conversation, Form, Record, Role, import};
use tunesmith::store::Digest;

/// Runs of each side.
const RUNS: usize = 7;
/// Bytes that a thread takes at a time.
const PIECE: usize = 128 << 10;

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
    let mut file = fs_err::File::open(path).unwrap();
    let start = Instant::now();
    let mut text = Vec::new();
    file.read_to_end(&mut text).unwrap();
    let made = pieces(&text).into_par_iter().map(|lines| {
        let ends = memchr_iter(b'\n', lines).chain([lines.len()]);
        let lines = ends.scan(0, |start, end| Some(&lines[std::mem::replace(start, end + 1)..end]));
        lines.filter(|line| !line.is_empty()).flat_map(|line| rows(line, converter)).collect()
    });
    let mut rows: Vec<(Digest, Conversation)> = made.collect::<Vec<Vec<_>>>().into_iter().flatten().collect();
    // The first of equal ones stays.
    rows.par_sort_by(|a, b| a.0.cmp(&b.0));
    rows.dedup_by(|a, b| a.0 == b.0);
    let seconds = start.elapsed().as_secs_f64();
    Measured { rows: rows.len() as u64, seconds: Some(seconds) }
}

/// Cuts a text between lines.
fn pieces(mut text: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while text.len() > PIECE {
        let end = memchr(b'\n', &text[PIECE..]).map_or(text.len(), |feed| PIECE + feed);
        let (piece, rest) = text.split_at(end);
        pieces.push(piece);
        text = rest.strip_prefix(b"\n").unwrap_or(rest);
    }
    pieces.push(text);
    pieces
}

/// Returns the rows of one line of the file, each with the digest of its words.
fn rows(line: &[u8], converter: &Converter) -> Vec<(Digest, Conversation)> {
    let record = import(Form::Pulls, line, None).unwrap();
    let (rows, _) = converter.rows(&record).unwrap();
    let with_words = rows.into_iter().map(|row| {
        let Record::Row(row) = row else { unreachable!("the filter makes rows of pull requests") };
        (words(&row), row)
    });
    with_words.collect()
}

/// Returns the digest of who says what.
fn words(row: &Conversation) -> Digest {
    let mut text = String::with_capacity(row.turns.iter().map(|turn| turn.text.len() + 1).sum());
    for turn in &row.turns {
        text.push(if turn.role == Role::User { '\u{1}' } else { '\u{2}' });
        text.push_str(&turn.text);
    }
    Digest::of(text.as_bytes())
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
