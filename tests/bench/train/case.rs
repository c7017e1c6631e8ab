//! One measured case, in a process of its own.

use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use tunesmith::model::config::ModelConfig;
use tunesmith::model::lora::{Adapter, LoraConfig, Projection};
use tunesmith::model::optimizer::{AdamW, clip};
use tunesmith::model::rows::TokenRow;
use tunesmith::model::transformer::{Activations, Batch, GradientStep, Transformer};
use tunesmith::model::weights::Storage;

use super::rows::{open, packs, token_rows, windows};
use super::{STEPS, large, middle, peak};

/// Tokens that are trained at a time, as `train.lora` has it.
const PACK: usize = 2_048;
const RANK: usize = 16;
/// Rows of a step of the case of rows.
const ROWS_A_STEP: usize = 16;
/// Times that a probe is taken. Each takes about as long as a step, and the median counts as it does for steps: the best of
/// several would be that of a moment in which nothing else had the cores.
const PROBES: usize = 5;
const LEARNING_RATE: f64 = 2e-4;

/// Runs the case that the words name.
pub(super) fn run(words: &[&str]) -> Value {
    match *words {
        ["peak"] => {
            let cores = std::thread::available_parallelism().unwrap().get();
            json!({"cores": cores, "fma_flops_per_second": peak::flops_per_second(cores, 50_000_000)})
        }
        ["probe", base, storage] => probe_case(base, kept(storage)),
        ["windows", base, rows, tokens, storage, mib] => {
            windows_case(base, rows, tokens.parse().unwrap(), kept(storage), within(mib))
        }
        ["rows", base, rows, mib] => rows_case(base, rows, within(mib)),
        ["large", folder] => large_case(folder, large::LAYERS),
        ["large", folder, layers] => large_case(folder, layers.parse().unwrap()),
        _ => json!({"failed": "no such case"}),
    }
}

fn kept(storage: &str) -> Storage {
    if storage == "dense" { Storage::Dense } else { Storage::AsStored }
}

/// Takes what activations may take, in MiB.
fn within(mib: &str) -> Activations {
    Activations::Within(mib.parse::<u64>().unwrap() << 20)
}

/// A training under way.
struct Training {
    model: Transformer,
    adapter: Adapter,
    optimizer: AdamW,
    activations: Activations,
}

impl Training {
    fn new(config: &ModelConfig, model: Transformer, activations: Activations) -> Self {
        let lora = LoraConfig { rank: RANK, alpha: RANK as f64, ..LoraConfig::default() };
        let adapter = Adapter::new(config, &lora, 42, |layer, projection| model.weight(layer, projection)).unwrap();
        assert_eq!(adapter.modules().len(), config.layers * Projection::ALL.len(), "all linear layers are trained");
        let optimizer = AdamW::new(adapter.parameters().len(), 0.0);
        Self { model, adapter, optimizer, activations }
    }

    /// Trains one step and returns its mean loss, its seconds and its floating-point operations.
    fn step(&mut self, batches: &[Batch]) -> (f64, f64, f64) {
        let start = Instant::now();
        let trained: usize = batches.iter().map(Batch::trained_tokens).sum();
        let weight = 1.0 / trained as f32;
        let how = GradientStep::new(weight, self.activations);
        let mut gradient = vec![0.0; self.adapter.parameters().len()];
        let mut loss = 0.0;
        for batch in batches {
            loss += self.model.loss_and_gradient(&self.adapter, batch, &how, &mut gradient).unwrap();
        }
        clip(&mut gradient, 1.0);
        self.optimizer.step(self.adapter.parts(1.0), &gradient, LEARNING_RATE);
        let seconds = start.elapsed().as_secs_f64();
        let work = batches.iter().map(|batch| self.model.operations(&self.adapter, batch, self.activations)).sum();
        (loss * f64::from(weight), seconds, work)
    }
}

/// Returns a field of `/proc/self/status` in MiB.
fn status(field: &str) -> Option<u64> {
    let text = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// Returns the seconds that all threads of this process have computed.
fn processor_seconds() -> f64 {
    let text = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in brackets, may have spaces; what follows are the fields from the third on.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn windows_case(base: &str, rows: &str, tokens: usize, storage: Storage, activations: Activations) -> Value {
    let base = open(base);
    let windows = windows(&base, rows, tokens);
    let model = Transformer::load(&base, storage, |_| ()).unwrap();
    let mut training = Training::new(base.config(), model, activations);
    let (begun, computed) = (Instant::now(), processor_seconds());
    let (mut seconds, mut flops, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..STEPS {
        let batch = Batch::new([(step as u64, &windows[step % windows.len()])]);
        let (loss, time, work) = training.step(&[batch]);
        losses.push(loss);
        if step > 0 {
            seconds.push(time);
            flops.push(work / time);
        }
    }
    let step = middle(seconds).unwrap();
    let cores = (processor_seconds() - computed) / begun.elapsed().as_secs_f64();
    json!({
        "tokens_per_second": tokens as f64 / step, "median_step_s": step, "flops_per_second": middle(flops), "cores": cores,
        "peak_rss_mib": status("VmHWM:"), "mapped_mib": status("RssFile:"), "losses": losses,
    })
}

fn rows_case(base: &str, path: &str, activations: Activations) -> Value {
    let base = open(base);
    let rows = token_rows(&base, path, ROWS_A_STEP * (STEPS - 1));
    let model = Transformer::load(&base, Storage::Dense, |_| ()).unwrap();
    let mut training = Training::new(base.config(), model, activations);
    let (mut seconds, mut flops, mut count, mut computed, mut laid) = (0.0, 0.0, 0, 0, 0);
    let batches = |group| packs(group, PACK).map(|rows| Batch::new((0..).zip(rows))).collect::<Vec<_>>();
    // As `train.lora` does, the longest first, so that no later one needs more memory.
    let longest = rows.chunks(ROWS_A_STEP).flat_map(batches).max_by_key(Batch::tokens);
    training.step(longest.as_slice());
    for (step, group) in rows.chunks(ROWS_A_STEP).enumerate() {
        let batches = batches(group);
        let (_, time, work) = training.step(&batches);
        if step > 0 {
            seconds += time;
            flops += work;
            count += group.len();
            computed += batches.iter().map(Batch::tokens).sum::<usize>();
            laid += group.iter().map(|row| row.ids.len()).sum::<usize>();
        }
    }
    json!({
        "rows_per_second": count as f64 / seconds, "tokens_per_second": laid as f64 / seconds,
        "flops_per_second": flops / seconds, "flops_a_row": flops / count as f64, "tokens_a_row": laid as f64 / count as f64,
        "computed_share": computed as f64 / laid as f64, "peak_rss_mib": status("VmHWM:"),
    })
}

/// Multiplies only: with the kernels of training, and with the crate that candle multiplies with.
fn probe_case(base: &str, storage: Storage) -> Value {
    let base = open(base);
    let config = base.config().clone();
    let model = Transformer::load(&base, storage, |_| ()).unwrap();
    let own = middle((0..PROBES).map(|_| per_second(|| model.products(config.layers, 512, 256))).collect()).unwrap();
    let other = candle_products(&config);
    json!({"flops_per_second": own.max(other), "own_kernels": own, "gemm_crate": other})
}

fn per_second(work: impl FnOnce() -> f64) -> f64 {
    let start = Instant::now();
    let done = work();
    done / start.elapsed().as_secs_f64()
}

/// Multiplies 512 tokens with matrices of a block's shapes, there and back, through candle.
fn candle_products(config: &ModelConfig) -> f64 {
    let ones = |rows: usize, columns: usize| Tensor::ones((rows, columns), DType::F32, &Device::Cpu).unwrap();
    let shapes = Projection::ALL.map(|projection| projection.shape(config));
    let matrices = shapes.map(|(inputs, outputs)| (ones(outputs, inputs), ones(512, inputs), ones(512, outputs)));
    let products = || {
        for (weight, x, back) in &matrices {
            x.matmul(&weight.t().unwrap()).unwrap();
            back.matmul(weight).unwrap();
        }
        shapes.iter().map(|(inputs, outputs)| 4.0 * 512.0 * (inputs * outputs) as f64).sum()
    };
    middle((0..8 * PROBES).map(|_| per_second(products)).collect()).unwrap()
}

/// One step of 512 tokens on random weights of Llama 3.1 8B's shape, quantised as `Q4_K_M` has them, or on some of its
/// blocks: activations then take their share of a gibibyte.
fn large_case(folder: &str, layers: u64) -> Value {
    let path = Path::new(folder).join("large.gguf");
    large::write(&path, layers);
    let base = open(path.to_str().unwrap());
    let model = Transformer::load(&base, Storage::AsStored, |_| ()).unwrap();
    let probe = per_second(|| model.products(1, 512, 128));
    let mut training = Training::new(base.config(), model, Activations::Within((layers << 30) / large::LAYERS));
    let ids = (0..512_u32).map(|token| token * 7919 % 100_000).collect();
    let row = TokenRow { ids, trained: (0..512).map(|token| token >= 256).collect() };
    let (loss, seconds, work) = training.step(&[Batch::new([(0, &row)])]);
    json!({
        "seconds": seconds, "tokens_per_second": 512.0 / seconds, "flops_per_second": work / seconds,
        "probe_flops_per_second": probe, "of_probe": work / seconds / probe, "loss": loss,
        "peak_rss_mib": status("VmHWM:"),
    })
}
