//! Trains some shapes and compares time and memory with what `plan` forecast:
//! `cargo bench --bench forecast -- BASE.gguf ROWS.jsonl`.
//!
//! BASE is a GGUF, ROWS are conversations as JSON lines. Each training runs in the real program; its memory is the peak
//! resident set of its worker. Prints one JSON object a shape, and what checkpoints took.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// A shape: its name, settings of the training, and the memory that it gets.
struct Shape {
    name: &'static str,
    rows: usize,
    training: &'static str,
    /// Whether all rows begin with the same long text.
    system: bool,
    memory: Option<&'static str>,
}

const SHAPES: [Shape; 7] = [
    Shape {
        name: "rank 16 on all projections, rows of up to 512 tokens",
        rows: 32,
        training: "max-tokens = 512\nepochs = 1\n",
        system: false,
        memory: None,
    },
    Shape {
        name: "rank 8 on queries and values, rows of up to 256 tokens, held-out rows",
        rows: 48,
        training: "max-tokens = 256\nepochs = 1\nrank = 8\nalpha = 16.0\ntargets = [\"q_proj\", \"v_proj\"]\nbatch-size = 4\n\
                   micro-batch-tokens = 512\neval = \"dataset:eval\"\n",
        system: false,
        memory: None,
    },
    Shape {
        name: "quantised base, activations computed again",
        rows: 16,
        training: "max-tokens = 512\nepochs = 1\n",
        system: false,
        memory: Some("560MiB"),
    },
    Shape {
        name: "a long system prompt that all rows share",
        rows: 64,
        training: "max-tokens = 512\nepochs = 1\n",
        system: true,
        memory: None,
    },
    Shape {
        name: "DoRA of rank 64 with dropout",
        rows: 32,
        training: "max-tokens = 512\nepochs = 1\nrank = 64\nalpha = 64.0\ndora = true\ndropout = 0.05\n",
        system: false,
        memory: None,
    },
    Shape {
        name: "the last four blocks and one in the middle",
        rows: 48,
        training: "max-tokens = 512\nepochs = 1\nlayers = [15, 26, 27, 28, 29]\n",
        system: false,
        memory: None,
    },
    Shape {
        name: "rows of up to 2,048 tokens",
        rows: 24,
        training: "max-tokens = 2048\nmicro-batch-tokens = 2048\nepochs = 1\n",
        system: false,
        memory: None,
    },
];

/// What all rows begin with where they share something.
const SYSTEM: &str = "You are an expert on the Linkerd service mesh. Answer questions about its control plane, its \
    proxies, its command line and its Helm charts as one of its maintainers would: say first what to do, then why. Name \
    the version in which something changed where you know it. Where a question lacks what you need, ask for the output \
    of `linkerd check`, the versions of Kubernetes and of Linkerd, and the logs of the proxy. Never invent a flag, a \
    field or an annotation; where you are not sure, say so and name the page of the documentation to read. Keep \
    commands in code blocks, one command a line, and warn before anything that interrupts traffic.";

fn main() {
    let paths: Vec<PathBuf> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).map(Into::into).collect();
    let [base, rows] = paths.as_slice() else {
        println!("{}", json!({"skipped": "usage: cargo bench --bench forecast -- BASE.gguf ROWS.jsonl"}));
        return;
    };
    let text = fs_err::read_to_string(rows).unwrap();
    for shape in &SHAPES {
        println!("{}", measure(shape, &base.canonicalize().unwrap(), &text));
    }
}

impl Shape {
    /// Returns a row, with the long beginning where all have it.
    fn row(&self, row: &str) -> String {
        let mut row: Value = serde_json::from_str(row).unwrap();
        if self.system {
            row["conversations"][0] = json!({"from": "system", "value": SYSTEM});
        }
        row.to_string()
    }
}

fn measure(shape: &Shape, base: &Path, rows: &str) -> Value {
    let space = tempfile::tempdir().unwrap();
    let some: Vec<String> = rows.lines().take(shape.rows).map(|row| shape.row(row)).collect();
    fs_err::write(space.path().join("rows.jsonl"), some.join("\n")).unwrap();
    let evaluated = if shape.training.contains("eval =") { ", \"dataset:eval\"" } else { "" };
    let memory = shape.memory.map(|memory| format!("[run.node.expert]\nmemory = \"{memory}\"\n")).unwrap_or_default();
    let manifest = format!(
        "schema = 1\n[model]\nbase = \"gguf:{}\"\n[source.rows]\ntype = \"jsonl\"\npath = \"rows.jsonl\"\n\
         [filter.pairs]\ntype = \"conversations\"\nfrom = [\"rows\"]\n\
         [filter.dataset]\ntype = \"split\"\nfrom = [\"pairs\"]\neval = 0.15\n\
         [train.expert]\ntype = \"lora\"\nfrom = [\"dataset\"{evaluated}]\nuntrained-rows = \"drop\"\n\
         checkpoint-seconds = 5\n{}{memory}",
        base.display(),
        shape.training
    );
    fs_err::write(space.path().join("pipeline.toml"), manifest).unwrap();
    run(space.path(), &["build", "dataset", "model"]);
    let cost = run(space.path(), &["plan", "expert", "--json"]);
    let cost = cost.iter().find_map(|line| line["plan"].get("cost").filter(|cost| !cost.is_null())).unwrap().clone();
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                peak.fetch_max(worker_memory(space.path()), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let said = run(space.path(), &["build", "expert", "--json"]);
        done.store(true, Ordering::SeqCst);
        said
    });
    let notes: Vec<&str> = said.iter().filter_map(|line| line["said"]["text"].as_str()).collect();
    let mut built = said.iter().filter(|line| line["node"] == "expert");
    let seconds = built.find_map(|line| line["said"]["duration_ms"].as_u64()).unwrap() as f64 / 1000.0;
    let memory = peak.load(Ordering::SeqCst);
    let forecast = (cost["seconds"].as_f64().unwrap(), cost["memory"].as_u64().unwrap());
    json!({
        "shape": shape.name, "seconds": seconds, "forecast_seconds": forecast.0, "time_ratio": forecast.0 / seconds,
        "memory_mib": memory >> 20, "forecast_memory_mib": forecast.1 >> 20,
        "memory_ratio": forecast.1 as f64 / memory as f64, "cost": cost["note"], "notes": notes,
    })
}

fn run(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let out = Command::new(env!("CARGO_BIN_EXE_tunesmith")).current_dir(folder).args(arguments).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Returns the peak resident set of the worker that runs a job of this folder.
fn worker_memory(folder: &Path) -> u64 {
    let text = folder.to_string_lossy().into_owned();
    let mut most = 0;
    for entry in fs_err::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let arguments = fs_err::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments);
        if !arguments.contains("worker") || !arguments.contains(&text) {
            continue;
        }
        let status = fs_err::read_to_string(entry.path().join("status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = most.max(kibibytes.unwrap_or(0) * 1024);
    }
    most
}
