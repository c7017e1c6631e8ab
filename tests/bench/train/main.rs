//! Times training on this machine's CPU beside PyTorch with PEFT:
//! `cargo bench --bench train -- BASE.gguf ROWS.jsonl [PYTHON PEER.py]`.
//!
//! ROWS are conversations as JSON lines. PYTHON has torch, transformers, peft and gguf; PEER.py trains the same LoRA on them
//! and prints `tokens_per_second`, `rows_per_second` and `peak_rss_mib`. Without them the peer's figures are `null`, and a
//! line names what was left out. Each case runs in a process of its own, so that its peak of memory is its own; cases of
//! both sides take turns. Prints one JSON object a line; the last one compares.
//!
//! One case alone: `cargo bench --bench train -- case CASE`, where CASE is `peak`, `probe BASE.gguf STORAGE`,
//! `windows BASE.gguf ROWS.jsonl TOKENS STORAGE MIB`, `rows BASE.gguf ROWS.jsonl MIB` or `large FOLDER [BLOCKS]`. STORAGE
//! is `dense` or `stored`; MIB is what activations may take. `cores` is how many of them the process had: where others
//! compute at the same time it is less than there are, and the figures are those of a busy machine.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod case;
mod large;
mod peak;
mod rows;

use std::process::Command;

use serde_json::{Value, json};

/// Steps of a case: the first warms up, and the median of the others counts.
const STEPS: usize = 6;
/// How often both sides take turns, and the probe with them.
const ROUNDS: usize = 3;

/// Runs one case in a process of its own and prints and returns its last line.
fn own(arguments: &[&str]) -> Value {
    let output = Command::new(std::env::current_exe().unwrap()).arg("case").args(arguments).output().unwrap();
    last_line(arguments.join(" "), &output)
}

fn last_line(what: String, output: &std::process::Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    let result: Value = last.unwrap_or_else(|| json!({"failed": String::from_utf8_lossy(&output.stderr)}));
    println!("{}", json!({"case": what, "result": result}));
    result
}

/// The peer: PyTorch with PEFT.
struct Peer<'a> {
    python: &'a str,
    script: &'a str,
    base: &'a str,
    rows: &'a str,
}

impl Peer<'_> {
    fn run(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(self.python);
        command.args([self.script, self.base, self.rows]).args(arguments);
        last_line(format!("peft {}", arguments.join(" ")), &command.output().unwrap())
    }
}

fn number(value: &Value, name: &str) -> Option<f64> {
    value[name].as_f64()
}

/// Returns the median of what the rounds gave for `name`.
fn median(rounds: &[Value], name: &str) -> Option<f64> {
    middle(rounds.iter().filter_map(|round| number(round, name)).collect())
}

/// Returns the median of each round's quotient: what took turns had the machine in the same minutes.
fn median_quotient(over: &[Value], under: &[Value], name: &str) -> Option<f64> {
    let quotients = over.iter().zip(under).filter_map(|(over, under)| Some(number(over, name)? / number(under, name)?));
    middle(quotients.collect())
}

/// Returns the median of numbers, if there are any.
fn middle(mut found: Vec<f64>) -> Option<f64> {
    found.sort_by(f64::total_cmp);
    found.get(found.len() / 2).copied()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let pool = rayon::ThreadPoolBuilder::new().build().unwrap();
    match words.as_slice() {
        // Within the pool, as `train.lora` does: from outside, each parallel loop would wake it up.
        ["case", rest @ ..] => println!("{}", pool.install(|| case::run(rest))),
        [base, rows] => compare(base, rows, None),
        [base, rows, python, script] if Command::new(python).arg("--version").output().is_ok() => {
            compare(base, rows, Some(&Peer { python, script, base, rows }));
        }
        [base, rows, python, _] => {
            println!("{}", json!({"skipped": format!("PEFT: {python} does not run")}));
            compare(base, rows, None);
        }
        _ => println!(
            "{}",
            json!({"skipped": "usage: cargo bench --bench train -- BASE.gguf ROWS.jsonl [PYTHON PEER.py]"})
        ),
    }
}

fn compare(base: &str, rows: &str, peer: Option<&Peer<'_>>) {
    let folder = tempfile::tempdir().unwrap();
    let peak = own(&["peak"]);
    own(&["probe", base, "stored"]);
    let (mut probes, mut ours, mut our_rows, mut theirs, mut their_rows) = (vec![], vec![], vec![], vec![], vec![]);
    let steps = (STEPS + 2).to_string();
    for _ in 0..ROUNDS {
        probes.push(own(&["probe", base, "dense"]));
        ours.push(own(&["windows", base, rows, "512", "dense", "300"]));
        if let Some(peer) = peer {
            theirs.push(peer.run(&["--steps", &steps]));
        }
        our_rows.push(own(&["rows", base, rows, "4000"]));
        if let Some(peer) = peer {
            their_rows.push(peer.run(&["--padded", "4", "--steps", "5"]));
        }
    }
    own(&["windows", base, rows, "512", "stored", "150"]);
    own(&["windows", base, rows, "2048", "dense", "350"]);
    own(&["windows", base, rows, "2048", "stored", "350"]);
    own(&["large", folder.path().to_str().unwrap()]);
    let side = |windows: &[Value], rows: &[Value], mfu: Option<f64>| {
        json!({
            "tokens_per_second": median(windows, "tokens_per_second"),
            "rows_per_second": median(rows, "rows_per_second"),
            "peak_rss_mib": median(windows, "peak_rss_mib"),
            "mfu": mfu,
        })
    };
    println!(
        "{}",
        json!({
            "of_probe": median_quotient(&ours, &probes, "flops_per_second"),
            "rows_ratio": median_quotient(&our_rows, &their_rows, "rows_per_second"),
        })
    );
    // Both sides compute the same: their shares of the machine are in the ratio of their speeds.
    let mfu =
        median(&ours, "flops_per_second").zip(number(&peak, "fma_flops_per_second")).map(|(ours, peak)| ours / peak);
    let ratio = median_quotient(&ours, &theirs, "tokens_per_second");
    let tunesmith = side(&ours, &our_rows, mfu);
    let peft = side(&theirs, &their_rows, mfu.zip(ratio).map(|(mfu, ratio)| mfu / ratio));
    println!("{}", json!({"tunesmith": tunesmith, "peft": peft, "ratio": ratio}));
}
