//! Times the engine on light nodes, as a user meets it: `cargo bench --bench engine -- [CHAINS]`.
//!
//! Each chain is `source.jsonl` → `filter.conversations` → `filter.split` over ten rows. The whole program is timed,
//! from its start to its end, so that a number includes reading the manifest and opening the store. Prints one JSON
//! object a line.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::json;

/// Chains where the command line names no number: 1,002 nodes.
const CHAINS: usize = 334;

/// Runs of what leaves everything as it is; the fastest counts.
const REPEATS: usize = 5;

struct Project {
    folder: tempfile::TempDir,
    chains: usize,
}

impl Project {
    fn new(chains: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("data")).unwrap();
        let mut manifest = "schema = 1\n\n[project]\nname = \"bench\"\n".to_owned();
        for chain in 0..chains {
            write!(
                manifest,
                "\n[source.s{chain}]\ntype = \"jsonl\"\npath = \"data/{chain}.jsonl\"\nas = \"rows\"\n\
                 \n[filter.c{chain}]\ntype = \"conversations\"\nfrom = [\"s{chain}\"]\n\
                 \n[filter.t{chain}]\ntype = \"split\"\nfrom = [\"c{chain}\"]\n"
            )
            .unwrap();
        }
        fs_err::write(folder.path().join("pipeline.toml"), manifest).unwrap();
        let project = Self { folder, chains };
        for chain in 0..chains {
            project.write_data(chain, "first");
        }
        project
    }

    fn data(&self, chain: usize) -> PathBuf {
        self.folder.path().join(format!("data/{chain}.jsonl"))
    }

    fn write_data(&self, chain: usize, edition: &str) {
        let mut lines = String::new();
        for row in 0..10 {
            let answer = format!("answer {row} of chain {chain}, in its {edition} edition");
            let turns =
                json!([{"from": "human", "value": format!("question {row}")}, {"from": "gpt", "value": answer}]);
            writeln!(lines, "{}", json!({"conversations": turns, "source": format!("chain-{chain}/{row}")})).unwrap();
        }
        fs_err::write(self.data(chain), lines).unwrap();
    }

    /// Runs a command of the program and prints how long it took at best.
    fn time(&self, what: &str, repeats: usize, arguments: &[&str]) {
        let best = (0..repeats).map(|_| milliseconds(self.folder.path(), arguments)).fold(f64::INFINITY, f64::min);
        println!("{}", json!({"what": what, "nodes": self.chains * 3, "ms": (best * 10.0).round() / 10.0}));
    }
}

fn milliseconds(folder: &Path, arguments: &[&str]) -> f64 {
    let start = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_tunesmith")).args(arguments).current_dir(folder).output().unwrap();
    let elapsed = start.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    elapsed.as_secs_f64() * 1e3
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let project = Project::new(arguments.first().map_or(CHAINS, |count| count.parse().unwrap()));
    project.time("check", REPEATS, &["check"]);
    project.time("build, nothing built yet", 1, &["build"]);
    project.time("build, nothing changed", REPEATS, &["build"]);
    project.time("plan, nothing changed", REPEATS, &["plan"]);
    for chain in 0..project.chains {
        project.write_data(chain, "first");
    }
    project.time("build, every file written again as it was", 1, &["build"]);
    project.write_data(0, "second");
    project.time("build, one file changed", 1, &["build"]);
    project.write_data(0, "first");
    project.time("build, that file put back", 1, &["build"]);
}
