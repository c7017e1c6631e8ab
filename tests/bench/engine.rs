//! Times the engine as a user meets it, beside ninja and b3sum: `make bench-engine`, or
//! `cargo bench --bench engine -- [CHAINS]`.
//!
//! A chain is `source.jsonl` with a file of its own, and `filter.split`; ninja copies as many files twice. The whole
//! program is timed, from its start to its end. Prints one JSON object a line: what, tunesmith's figure, the peer's in
//! the same run, and their ratio; a peer that is not installed is named and left out. The headline is the last line.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

/// Chains where the command line names no number: 10,000 nodes.
const CHAINS: usize = 5_000;
/// Runs of what leaves everything as it is; the fastest counts.
const REPEATS: usize = 7;
/// Bytes of the file that is hashed.
const LARGE: u64 = 4 << 30;
/// Objects that a collection looks at.
const OBJECTS: usize = 200_000;

/// A figure: milliseconds, and MiB of memory where `/usr/bin/time` is there to tell.
#[derive(Clone, Copy)]
struct Figure {
    ms: f64,
    mib: Option<f64>,
}

impl Figure {
    fn json(self) -> Value {
        json!({"ms": (self.ms * 10.0).round() / 10.0, "peak_mib": self.mib})
    }
}

/// Runs a program to its end; the fastest of `repeats`.
fn time(folder: &Path, repeats: usize, program: &str, arguments: &[&str]) -> Figure {
    fastest((0..repeats).map(|_| once(folder, program, arguments)))
}

fn fastest(runs: impl Iterator<Item = Figure>) -> Figure {
    runs.min_by(|a, b| a.ms.total_cmp(&b.ms)).unwrap()
}

fn once(folder: &Path, program: &str, arguments: &[&str]) -> Figure {
    let start = Instant::now();
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    let ms = start.elapsed().as_secs_f64() * 1e3;
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Figure { ms, mib: None }
}

/// As [`time`], and the peak of the memory from one further run.
fn measure(folder: &Path, repeats: usize, program: &str, arguments: &[&str]) -> Figure {
    let figure = time(folder, repeats, program, arguments);
    let all: Vec<&str> = ["-f", "%M", program].iter().chain(arguments).copied().collect();
    let output = Command::new("/usr/bin/time").args(all).current_dir(folder).output().ok();
    let said = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    let kib: Option<f64> = said.lines().last().and_then(|line| line.trim().parse().ok());
    Figure { mib: kib.map(|kib| (kib / 102.4).round() / 10.0), ..figure }
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn tell(what: &str, ours: Figure, peer: Option<(&str, Figure)>) {
    let (name, theirs) = peer.map_or((Value::Null, Value::Null), |(name, peer)| (json!(name), peer.json()));
    let ratio = peer.map(|(_, peer)| (ours.ms / peer.ms * 1e3).round() / 1e3);
    println!("{}", json!({"what": what, "tunesmith": ours.json(), "peer_name": name, "peer": theirs, "ratio": ratio}));
}

const TUNESMITH: &str = env!("CARGO_BIN_EXE_tunesmith");

fn write_data(folder: &Path, chain: usize, edition: &str) {
    let mut lines = String::new();
    for row in 0..2 {
        let turns = json!([
            {"from": "human", "value": format!("question {row}")},
            {"from": "gpt", "value": format!("answer {row} of chain {chain}, in its {edition} edition")},
        ]);
        writeln!(lines, "{}", json!({"conversations": turns, "source": format!("chain-{chain}/{row}")})).unwrap();
    }
    fs_err::write(folder.join(format!("data/{chain}.jsonl")), lines).unwrap();
}

fn project(chains: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir(folder.path().join("data")).unwrap();
    let mut manifest = "schema = 1\n\n[project]\nname = \"bench\"\n".to_owned();
    for chain in 0..chains {
        write!(
            manifest,
            "\n[source.s{chain}]\ntype = \"jsonl\"\npath = \"data/{chain}.jsonl\"\n\
             \n[filter.t{chain}]\ntype = \"split\"\nfrom = [\"s{chain}\"]\n"
        )
        .unwrap();
        write_data(folder.path(), chain, "first");
    }
    fs_err::write(folder.path().join("pipeline.toml"), manifest).unwrap();
    folder
}

fn ninja_project(chains: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir(folder.path().join("data")).unwrap();
    let mut rules = "rule cp\n  command = cp $in $out\n".to_owned();
    for chain in 0..chains {
        writeln!(rules, "build out/s{chain}: cp data/{chain}.jsonl\nbuild out/t{chain}: cp out/s{chain}").unwrap();
        write_data(folder.path(), chain, "first");
    }
    fs_err::write(folder.path().join("build.ninja"), rules).unwrap();
    folder
}

/// First build, one file edited, nothing to do; returns the headline.
fn builds(chains: usize) -> (Figure, Option<Figure>) {
    let ours = project(chains);
    let theirs = is_installed("ninja").then(|| ninja_project(chains));
    let ninja = |repeats| theirs.as_ref().map(|folder| ("ninja", measure(folder.path(), repeats, "ninja", &["-j2"])));
    if theirs.is_none() {
        println!("{}", json!({"peer_name": "ninja", "skipped": "it is not installed"}));
    }
    let nodes = chains * 2;
    let first = time(ours.path(), 1, TUNESMITH, &["build"]);
    let peer = theirs.as_ref().map(|folder| ("ninja", time(folder.path(), 1, "ninja", &["-j2"])));
    tell(&format!("first build of {nodes} nodes, {:.0} nodes/s", nodes as f64 / first.ms * 1e3), first, peer);
    once(ours.path(), TUNESMITH, &["build"]);
    let looks = fastest((0..REPEATS).map(|_| {
        fs_err::remove_file(ours.path().join("cache/settled")).ok();
        once(ours.path(), TUNESMITH, &["build"])
    }));
    tell(&format!("build of {nodes} nodes, nothing changed, each decided about"), looks, None);
    let noop = measure(ours.path(), REPEATS, TUNESMITH, &["build"]);
    let status = measure(ours.path(), REPEATS, TUNESMITH, &["status"]);
    let peer = ninja(REPEATS);
    tell(&format!("status of {nodes} nodes, nothing changed"), status, peer);
    tell(&format!("plan of {nodes} nodes, nothing changed"), time(ours.path(), REPEATS, TUNESMITH, &["plan"]), None);
    tell("explain of one of them", time(ours.path(), REPEATS, TUNESMITH, &["explain", "t0"]), None);
    let edit = fastest((0..3).map(|edition| {
        write_data(ours.path(), 0, &edition.to_string());
        once(ours.path(), TUNESMITH, &["build"])
    }));
    tell(&format!("build of {nodes} nodes, one file edited"), edit, None);
    (noop, peer.map(|(_, peer)| peer))
}

fn hashing() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = fs_err::File::create(folder.path().join("large.bin")).unwrap();
    let block: Vec<u8> = (0..1_u32 << 18).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for _ in 0..LARGE / block.len() as u64 {
        file.write_all(&block).unwrap();
    }
    drop(file);
    let manifest = "schema = 1\n[source.large]\ntype = \"command\"\nargv = [\"true\"]\nfiles = [\"large.bin\"]\n\
                    outputs.x.path = \"x\"\n";
    fs_err::write(folder.path().join("pipeline.toml"), manifest).unwrap();
    let plan = || {
        fs_err::remove_dir_all(folder.path().join("cache")).ok();
        once(folder.path(), TUNESMITH, &["plan"])
    };
    let ours = fastest((0..3).map(|_| plan()));
    let peer = is_installed("b3sum").then(|| ("b3sum", time(folder.path(), 3, "b3sum", &["large.bin"])));
    if peer.is_none() {
        println!("{}", json!({"peer_name": "b3sum", "skipped": "it is not installed"}));
    }
    tell("hashing one file of 4 GiB", ours, peer);
}

fn collection() {
    let folder = tempfile::tempdir().unwrap();
    let store = tunesmith::store::Store::open(&folder.path().join("cache"), None).unwrap();
    for number in 0..OBJECTS {
        store.put(format!("object {number}").as_bytes()).unwrap();
    }
    drop(store);
    let manifest = "schema = 1\n[source.none]\ntype = \"jsonl\"\npath = \"none.jsonl\"\noptional = true\n";
    fs_err::write(folder.path().join("pipeline.toml"), manifest).unwrap();
    let gc = once(folder.path(), TUNESMITH, &["cache", "gc"]);
    tell(&format!("cache gc over {OBJECTS} objects"), gc, None);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let chains = arguments.first().map_or(CHAINS, |count| count.parse().unwrap());
    tell("--version", time(Path::new("."), REPEATS, TUNESMITH, &["--version"]), None);
    hashing();
    collection();
    let (noop, peer) = builds(chains);
    tell(&format!("build of {} nodes, nothing changed", chains * 2), noop, peer.map(|peer| ("ninja", peer)));
}
