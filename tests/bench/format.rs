//! Times pull requests to rows in memory, beside a script with the same rules: `cargo bench --bench format -- FILE [PEER]`.
//!
//! FILE is an uncompressed `raw_pull_requests.jsonl`. From the open file to rows without repetitions: reading, parsing,
//! the records' canonical form and digest, the rules of `filter.conversations`, and exact duplicates; writing is left out.
//! PEER is a Python script that takes the same file and an output, and prints `{"seconds": …}` for its part of that. The
//! fastest of several runs counts, for both. Prints one JSON object a line.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rayon::prelude::*;
use serde_json::{Value, json};
use tunesmith::node::filter::Converter;
use tunesmith::node::{self, Family};
use tunesmith::record::{Form, Line, Record, import};
use tunesmith::store::Digest;

/// Runs of each side.
const RUNS: usize = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let Some(file) = arguments.first().map(Path::new) else {
        println!("{}", json!({"what": "format", "skipped": "name a file of pull requests"}));
        return;
    };
    let kind = node::find(Family::Filter, "conversations").unwrap();
    let converter = Converter::new(&kind.canonical(&json!({})).unwrap()).unwrap();
    let (records, rows, ours) = (0..RUNS).map(|_| format(file, &converter)).min_by(|a, b| a.2.total_cmp(&b.2)).unwrap();
    let theirs = arguments.get(1).map(|peer| (0..RUNS).map(|_| run(peer, file)).fold(f64::INFINITY, f64::min));
    println!(
        "{}",
        json!({
            "what": "pull requests to rows", "records": records, "rows": rows, "tunesmith": {"seconds": ours},
            "peer": {"seconds": theirs}, "ratio": theirs.map(|theirs| theirs / ours), "peak_rss_mib": peak_mib(),
        })
    );
}

/// Returns the numbers of records and rows, and the seconds.
fn format(path: &Path, converter: &Converter) -> (usize, usize, f64) {
    let mut file = fs_err::File::open(path).unwrap();
    let start = Instant::now();
    let mut text = Vec::new();
    file.read_to_end(&mut text).unwrap();
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let made: Vec<Vec<(Digest, Line<'static>)>> = lines.par_iter().map(|line| rows(line, converter)).collect();
    let mut seen = BTreeSet::new();
    let rows: Vec<Line<'static>> =
        made.into_iter().flatten().filter(|(content, _)| seen.insert(*content)).map(|(_, row)| row).collect();
    let seconds = start.elapsed().as_secs_f64();
    (lines.len(), rows.len(), seconds)
}

/// Returns the rows of one line of the file, each with the digest of its words.
fn rows(line: &[u8], converter: &Converter) -> Vec<(Digest, Line<'static>)> {
    let record = Line::of(&import(Form::Pulls, line, None).unwrap()).unwrap();
    let [rows] = converter.rows(&record).unwrap().rows;
    let with_content = rows.into_iter().map(|row| {
        let Record::Row(conversation) = row.record().unwrap() else { unreachable!("the filter makes rows") };
        let turns: Vec<&str> = conversation.turns.iter().map(|turn| turn.text.as_str()).collect();
        (Digest::of(turns.join("\u{1}").as_bytes()), row)
    });
    with_content.collect()
}

fn run(peer: &str, file: &Path) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let out = Command::new("python3").arg(peer).arg(file).arg(folder.path().join("rows.jsonl")).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    told["seconds"].as_f64().unwrap()
}

/// Returns the most memory that this process had, in MiB.
fn peak_mib() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}
