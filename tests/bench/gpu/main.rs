//! Times training on this machine's GPU beside PyTorch with PEFT on the same:
//! `cargo bench --features cuda --bench gpu -- BASE.gguf ROWS.jsonl [PYTHON]`.
//!
//! ROWS are conversations as JSON lines. PYTHON has torch for this GPU, transformers, peft and gguf; it runs `peer.py`.
//! Each case runs in a process of its own, and of each case both sides take turns: windows of 512 tokens, eight a step;
//! rows as they are, packed by us and padded by the peer; and two windows of 2,048 on random weights of Llama 3.1 8B's
//! shape, quantised with us and of 16 bits with the peer. Memory is what the driver says that the GPU has given, at its
//! most. Prints one JSON object a case.
//!
//! One case alone: `cargo bench --features cuda --bench gpu -- case CASE BASE.gguf ROWS.jsonl`, where CASE is `product`,
//! `windows`, `rows` or `large`; `large` writes its 4.6 GB below the folder for temporary files.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

#[path = "../train/large.rs"]
mod large;
#[path = "../train/rows.rs"]
mod rows;

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use candle_core::{DType, Tensor};
use serde_json::{Value, json};
use tunesmith::model::Device;
use tunesmith::model::lora::{Adapter, LoraConfig};
use tunesmith::model::optimizer::{AdamW, clip};
use tunesmith::model::rows::TokenRow;
use tunesmith::model::transformer::{Activations, Backend, Batch, GradientStep, Transformer};
use tunesmith::model::weights::{Base, Storage};

/// Steps of a case: the first two warm up, and the time of the others counts.
const STEPS: usize = 10;
/// Tokens that are trained at a time, as `train.lora` has it on a GPU.
const PACK: usize = 4_096;
/// Rows of a step.
const ROWS_A_STEP: usize = 64;
const RANK: usize = 16;
const LEARNING_RATE: f64 = 2e-4;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["case", name, base, rows] => println!("{}", case(name, base, rows)),
        [base, rows] => compare(base, rows, None),
        [base, rows, python] => compare(base, rows, Some(python)),
        _ => println!(
            "{}",
            json!({"skipped": "usage: cargo bench --features cuda --bench gpu -- BASE.gguf ROWS.jsonl [PYTHON]"})
        ),
    }
}

fn compare(base: &str, rows: &str, python: Option<&str>) {
    let peer = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/gpu/peer.py");
    let own = std::env::current_exe().unwrap();
    run("product", Command::new(&own).args(["case", "product", base, rows]));
    // What fits in memory without is slower with.
    for (case, ways) in [("windows", &["plain"][..]), ("rows", &["plain"]), ("large", &["plain", "checkpointing"])] {
        run(&format!("tunesmith {case}"), Command::new(&own).args(["case", case, base, rows]));
        for how in ways {
            if let Some(python) = python {
                run(&format!("peft {case} {how}"), Command::new(python).args([peer, case, how, base, rows]));
            }
        }
    }
}

/// Runs one case, and prints its last line with the memory that the GPU had given at most.
fn run(name: &str, command: &mut Command) {
    let done = AtomicBool::new(false);
    let (output, memory) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = None;
            while !done.load(Ordering::Relaxed) {
                most = most.max(gpu_memory_mib());
                std::thread::sleep(Duration::from_millis(100));
            }
            most
        });
        let output = command.stdin(Stdio::null()).output().unwrap();
        done.store(true, Ordering::Relaxed);
        (output, watch.join().unwrap())
    });
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    let result: Value = last.unwrap_or_else(|| json!({"failed": String::from_utf8_lossy(&output.stderr)}));
    println!("{}", json!({"case": name, "gpu_memory_mib": memory, "result": result}));
}

fn gpu_memory_mib() -> Option<u64> {
    let query = ["--query-gpu=memory.used", "--format=csv,noheader,nounits"];
    let output = Command::new("nvidia-smi").args(query).output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next()?.trim().parse().ok()
}

fn case(name: &str, base: &str, path: &str) -> Value {
    match name {
        "product" => json!({"flops_per_second": product()}),
        "windows" => {
            let base = rows::open(base);
            let windows = rows::windows(&base, path, 512);
            train(&base, |step| vec![(0..8).map(|at| &windows[(8 * step + at) % windows.len()]).collect()])
        }
        "rows" => {
            let base = rows::open(base);
            let all = rows::token_rows(&base, path, ROWS_A_STEP * STEPS);
            let groups: Vec<&[TokenRow]> = all.chunks(ROWS_A_STEP).collect();
            train(&base, |step| rows::packs(groups[step], PACK).map(|pack| pack.iter().collect()).collect())
        }
        "large" => {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("large.gguf");
            large::write(&path, large::LAYERS);
            let ids: Vec<u32> = (0..2_048_u32).map(|token| token * 7919 % 100_000).collect();
            let row = TokenRow { trained: vec![true; ids.len()], ids };
            let other = TokenRow { ids: row.ids.iter().map(|id| id + 1).collect(), ..row.clone() };
            train(&rows::open(path.to_str().unwrap()), |_| vec![vec![&row, &other]])
        }
        _ => json!({"failed": "no such case"}),
    }
}

/// Trains all linear layers; `batches` names the rows of each micro-batch of a step.
fn train<'r>(base: &Base, batches: impl Fn(usize) -> Vec<Vec<&'r TokenRow>>) -> Value {
    let model = Transformer::load(base, Storage::AsStored, |_| ()).unwrap();
    let lora = LoraConfig { rank: RANK, alpha: RANK as f64, ..LoraConfig::default() };
    let mut adapter =
        Adapter::new(base.config(), &lora, 42, |layer, projection| model.weight(layer, projection)).unwrap();
    let mut optimizer = AdamW::new(adapter.parameters().len(), 0.0);
    let steps: Vec<Vec<Batch>> =
        (0..STEPS).map(|step| batches(step).into_iter().map(|rows| Batch::new((0..).zip(rows))).collect()).collect();
    let work =
        |step: &Vec<Batch>| step.iter().map(|batch| model.operations(&adapter, batch, Activations::Recomputed)).sum();
    let work: Vec<f64> = steps.iter().map(work).collect();
    let begun = Instant::now();
    let model = Backend::new(model, Device::Cuda(0)).unwrap();
    let moved = begun.elapsed().as_secs_f64();
    let (mut losses, mut seconds) = (Vec::new(), Vec::new());
    for batches in &steps {
        let start = Instant::now();
        let weight = 1.0 / batches.iter().map(Batch::trained_tokens).sum::<usize>() as f32;
        let how = GradientStep::new(weight, Activations::Recomputed);
        let mut gradient = vec![0.0; adapter.parameters().len()];
        let mut loss = 0.0;
        for batch in batches {
            loss += model.loss_and_gradient(&adapter, batch, &how, &mut gradient).unwrap();
        }
        clip(&mut gradient, 1.0);
        optimizer.step(adapter.parts(1.0), &gradient, LEARNING_RATE);
        losses.push(loss * f64::from(weight));
        seconds.push(start.elapsed().as_secs_f64());
    }
    let counted = 2..STEPS;
    let taken: f64 = seconds[counted.clone()].iter().sum();
    let (mut rows, mut tokens) = (0, 0);
    for step in counted.clone() {
        for batch in batches(step) {
            rows += batch.len();
            tokens += batch.iter().map(|row| row.ids.len()).sum::<usize>();
        }
    }
    json!({
        "tokens_per_second": tokens as f64 / taken, "rows_per_second": rows as f64 / taken,
        "flops_per_second": work[counted].iter().sum::<f64>() / taken, "losses": losses, "seconds": seconds,
        "seconds_to_the_gpu": moved,
    })
}

/// Returns the speed of a product of 16 bits that fills the GPU.
fn product() -> f64 {
    const SIZE: usize = 8_192;
    const TIMES: usize = 20;
    let device = candle_core::Device::new_cuda(0).unwrap();
    let numbers = || Tensor::randn(0.0_f32, 1.0, (SIZE, SIZE), &device).unwrap().to_dtype(DType::BF16).unwrap();
    let (left, right) = (numbers(), numbers());
    left.matmul(&right).unwrap();
    device.synchronize().unwrap();
    let start = Instant::now();
    for _ in 0..TIMES {
        left.matmul(&right).unwrap();
    }
    device.synchronize().unwrap();
    (TIMES * 2 * SIZE.pow(3)) as f64 / start.elapsed().as_secs_f64()
}
