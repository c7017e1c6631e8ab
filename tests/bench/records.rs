//! Times the data half, from files to rows: `cargo bench --bench records -- [RECORDS [CHARACTERS|PULLS]]`, or
//! `-- FOLDER [ROWS]`.
//!
//! Without a folder it makes RECORDS records (1,000,000): rows with CHARACTERS more in each answer (0), or the pull requests
//! of the uncompressed file PULLS over and over, each time with other numbers and titles. It runs `source.jsonl` →
//! `filter.conversations`, which drops exact duplicates, → `filter.split`, edits one line and runs them again. With a folder
//! it reads the raw files that lie there, and writes the rows to ROWS. Prints one JSON object a line; `processed` is what the
//! source and the filter say that they did, `records-a-second` is of these two; the peak is that of all passes so far.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod quiet;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};
use tunesmith::node::{
    self, Cancel, Device, Event, Events, Family, Grant, InputRole, JOB_FORMAT, Job, JobFile, JobInput, Outcome, Run,
};
use tunesmith::store::{Artifact, Digest, Store};

use quiet::Quiet;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match arguments.first() {
        Some(first) if first.parse::<usize>().is_err() => real(Path::new(first), arguments.get(1).map(Path::new)),
        first => {
            let records = arguments.get(1).map_or(Records::Rows(0), |argument| match argument.parse() {
                Ok(characters) => Records::Rows(characters),
                Err(_) => Records::pulls(Path::new(argument)),
            });
            repeated(first.map_or(1_000_000, |count| count.parse().unwrap()), &records);
        }
    }
}

/// The lines for people.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Events for Notes {
    fn event(&self, event: Event) {
        if let Event::Note { text } = event {
            self.0.lock().unwrap().push(text);
        }
    }
}

/// Runs one kind with local files and inputs.
fn run(
    store: &Store,
    notes: &Notes,
    family: Family,
    kind: &str,
    settings: &Value,
    files: Vec<JobFile>,
    inputs: &[(&str, &Artifact)],
) -> Outcome {
    let kind = node::find(family, kind).unwrap();
    let inputs = inputs.iter().map(|(node, artifact)| JobInput {
        role: InputRole::From,
        node: (*node).to_owned(),
        output: String::new(),
        artifact: (*artifact).clone(),
        fields: BTreeMap::new(),
    });
    let job = Job {
        format: JOB_FORMAT,
        node: "bench".into(),
        kind: format!("{}.{}", family.as_str(), kind.info().name),
        kind_version: kind.info().version,
        key: Digest::of(b""),
        settings: kind.canonical(settings).unwrap(),
        inputs: inputs.collect(),
        files,
        store: store.root().to_owned(),
        remote: None,
        rehearsal: None,
        offline: false,
        scratch: store.root().join("scratch"),
        previous: BTreeMap::new(),
        grant: Grant { threads: 2, memory: None, device: Device::Cpu },
        outside: None,
    };
    let cancel = Cancel::default();
    let run = Run { job: &job, store, events: notes, cancel: &cancel, secrets: &Quiet };
    kind.run(&run).unwrap_or_else(|error| panic!("{error:?}"))
}

fn file(root: &Path, path: &Path) -> JobFile {
    let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let size = fs_err::metadata(path).unwrap().len();
    JobFile { setting: "path".into(), name, path: path.to_owned(), digest: Digest::of(b""), size }
}

/// What the file holds.
enum Records {
    /// Rows with so many more characters in each answer.
    Rows(usize),
    /// Pull requests.
    Pulls(Vec<Value>),
}

impl Records {
    fn pulls(path: &Path) -> Self {
        let text = fs_err::read_to_string(path).unwrap();
        Self::Pulls(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    fn write(&self, path: &Path, count: usize, edited: Option<usize>) {
        let mut file = std::io::BufWriter::new(fs_err::File::create(path).unwrap());
        for n in 0..count {
            let line = match self {
                Self::Rows(more) => row(n, "word ".repeat(more / 5).trim_end(), edited == Some(n)),
                Self::Pulls(pulls) => pull(pulls, n, edited == Some(n)),
            };
            writeln!(file, "{line}").unwrap();
        }
        file.flush().unwrap();
    }
}

fn row(n: usize, more: &str, is_edited: bool) -> Value {
    let version = if is_edited { "another" } else { "the" };
    let answer = format!("It is {version} number {} of a kind. {more}", n * 7919);
    json!({
        "conversations": [
            {"from": "human", "value": format!("What is item {n} of the list?")},
            {"from": "gpt", "value": answer},
        ],
        "source": format!("list/{n:07}"),
    })
}

fn pull(pulls: &[Value], n: usize, is_edited: bool) -> Value {
    let mut pull = pulls[n % pulls.len()].clone();
    let version = if is_edited { "edited" } else { "copy" };
    pull["number"] = json!(n + 1);
    pull["title"] = json!(format!("{} ({version} {})", pull["title"].as_str().unwrap(), n / pulls.len()));
    pull
}

fn repeated(count: usize, records: &Records) {
    let form = if matches!(records, Records::Rows(_)) { "rows" } else { "pulls" };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    let store = Store::open(&folder.path().join("cache"), None).unwrap();
    for (pass, edit) in [("first", None), ("unchanged", None), ("one edited", Some(count / 2))] {
        if pass != "unchanged" {
            records.write(&path, count, edit);
        }
        let mut line = BTreeMap::from([("pass", json!(pass)), ("records", json!(count))]);
        let notes = Notes::default();
        let all = Instant::now();
        let settings = json!({"path": "rows.jsonl", "as": form});
        let source = run(&store, &notes, Family::Source, "jsonl", &settings, vec![file(folder.path(), &path)], &[]);
        line.insert("source-s", json!(all.elapsed().as_secs_f64()));
        let start = Instant::now();
        let inputs = [("rows", &source.outputs["records"])];
        let rows = run(&store, &notes, Family::Filter, "conversations", &json!({}), Vec::new(), &inputs);
        line.insert("conversations-s", json!(start.elapsed().as_secs_f64()));
        line.insert("processed", json!(*notes.0.lock().unwrap()));
        line.insert("records-a-second", json!((count as f64 / all.elapsed().as_secs_f64()).round()));
        let start = Instant::now();
        let split =
            run(&store, &notes, Family::Filter, "split", &json!({}), Vec::new(), &[("rows", &rows.outputs["rows"])]);
        line.insert("split-s", json!(start.elapsed().as_secs_f64()));
        line.insert("seconds", json!(all.elapsed().as_secs_f64()));
        line.insert("fields", json!(split.fields));
        line.insert("peak-rss-mib", json!(peak_mib()));
        println!("{}", json!(line));
        store.flush().unwrap();
    }
}

/// Returns the most memory that this process had, in MiB.
fn peak_mib() -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

fn real(root: &Path, rows_to: Option<&Path>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("cache"), None).unwrap();
    let notes = Notes::default();
    let start = Instant::now();
    let mut sources: Vec<(&str, Outcome)> = Vec::new();
    for (name, form) in [("raw_issues.jsonl", "issues"), ("raw_pull_requests.jsonl.gz", "pulls")] {
        let settings = json!({"path": name, "as": form});
        let files = vec![file(root, &root.join(name))];
        sources.push((form, run(&store, &notes, Family::Source, "jsonl", &settings, files, &[])));
    }
    for name in ["docs", "repo-docs"] {
        let below = root.join(name);
        let paths = walkdir::WalkDir::new(&below).into_iter().map(|entry| entry.unwrap().into_path());
        let mut paths: Vec<PathBuf> =
            paths.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect();
        paths.sort();
        let files = paths.iter().map(|path| file(&below, path)).collect();
        let settings = json!({"path": name, "repo": name});
        sources.push((name, run(&store, &notes, Family::Source, "markdown", &settings, files, &[])));
    }
    let read = start.elapsed();
    let inputs: Vec<(&str, &Artifact)> =
        sources.iter().map(|(name, outcome)| (*name, outcome.outputs.values().next().unwrap())).collect();
    let rows = run(&store, &notes, Family::Filter, "conversations", &json!({}), Vec::new(), &inputs);
    let seconds = start.elapsed().as_secs_f64();
    let report: BTreeMap<&str, u64> = rows.report.iter().map(|count| (count.what.as_str(), count.count)).collect();
    println!("{}", json!({"fields": rows.fields, "read-s": read.as_secs_f64(), "seconds": seconds, "report": report}));
    if let (Some(path), Artifact::Records(rows)) = (rows_to, &rows.outputs["rows"]) {
        let mut file = fs_err::File::create(path).unwrap();
        tunesmith::record::export_jsonl(&store, rows, &mut file).unwrap();
    }
}
