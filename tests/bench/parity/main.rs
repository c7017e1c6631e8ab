//! Trains what PEFT trained, from the same adapters on the same rows, and compares each step's loss and the adapter at the
//! end; and likewise all weights that transformers trained: `make bench-parity`, or `cargo bench --bench parity -- OUT` after
//! `tests/bench/peft_parity.py train BASE OUT`. `cargo bench --features cuda --bench parity -- OUT cuda` trains the adapters
//! on the GPU, with products of 32 bits and, as trainings there have them, of 16.
//!
//! Prints one JSON object a case: the largest relative difference of a loss; how far the two adapters ended from each
//! other, over how far PEFT's moved; and how far PEFT's own runs with one and with two threads ended from each other, where
//! there are two. Fails when a loss differs by more than 2e-4, or the adapters by more than 1e-3 and three times PEFT's own
//! distance; with products of 16 bits, when a loss differs by more than 5e-3. PiSSA trains from PEFT's start as well; how
//! far our own decomposition is from that is told beside it.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod whole;

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::DType;
use serde_json::{Value, json};
use tunesmith::model::Device;
use tunesmith::model::lora::{Adapter, Init, LoraConfig, Module};
use tunesmith::model::optimizer::{AdamW, Schedule, clip};
use tunesmith::model::rows::{OverLength, RowMaker, TokenRow};
use tunesmith::model::transformer::{Activations, Backend, Batch, GradientStep, Portable, Transformer};
use tunesmith::model::weights::{Base, Storage, WeightFiles};
use tunesmith::record::{Conversation, Role, Turn};

/// How much a loss may differ, relatively.
const LOSS_LIMIT: f64 = 2e-4;
/// The same with products of 16 bits, whose rounding error is 2⁻⁹.
const SHORT_LOSS_LIMIT: f64 = 5e-3;
/// How far from PEFT's the adapter may end, over how far it moved.
const ADAPTER_LIMIT: f64 = 1e-3;

/// How often our PiSSA multiplies its estimate with the weight.
const ITERATIONS: u32 = 16;

/// What PEFT did.
struct Case {
    folder: PathBuf,
    how: Value,
    rows: Vec<TokenRow>,
    losses: Vec<f64>,
}

fn lines(path: &Path) -> Vec<Value> {
    fs_err::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

impl Case {
    fn read(folder: &Path) -> Self {
        let how = serde_json::from_slice(&fs_err::read(folder.join("case.json")).unwrap()).unwrap();
        let row = |line: &Value| {
            let labels = line["labels"].as_array().unwrap();
            TokenRow {
                ids: serde_json::from_value(line["ids"].clone()).unwrap(),
                trained: labels.iter().map(|label| label.as_i64() != Some(-100)).collect(),
            }
        };
        Self {
            rows: lines(&folder.join("rows.jsonl")).iter().map(row).collect(),
            losses: lines(&folder.join("losses-1.jsonl")).iter().map(|step| step["loss"].as_f64().unwrap()).collect(),
            folder: folder.to_owned(),
            how,
        }
    }

    fn number(&self, key: &str) -> f64 {
        self.how[key].as_f64().unwrap()
    }

    fn base(&self) -> Base {
        let path = PathBuf::from(self.how["path"].as_str().unwrap());
        if self.how["base"] == "gguf" {
            return Base::open(&WeightFiles::Gguf(path)).unwrap();
        }
        let files = fs_err::read_dir(&path).unwrap().map(|entry| entry.unwrap());
        let named = files.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
        Base::open(&WeightFiles::Folder(named.collect())).unwrap()
    }

    fn adapter(&self, base: &Base, name: &str) -> Adapter {
        let files = ["adapter_config.json", "adapter_model.safetensors"].map(|file| self.folder.join(name).join(file));
        Adapter::from_peft(base.config(), &files[0], &files[1]).unwrap()
    }

    fn is_pissa(&self) -> bool {
        self.how["peft"]["init_lora_weights"] == "pissa"
    }

    /// Returns the adapter before the first step: PEFT's own.
    fn start(&self, base: &Base) -> Adapter {
        let initial = self.adapter(base, "initial");
        if self.is_pissa() { initial.out_of_base() } else { initial }
    }

    /// Returns how far what our PiSSA takes out of the base is from what PEFT's takes, over its size.
    fn start_distance(&self, base: &Base, model: &Transformer) -> f64 {
        let config = LoraConfig { init: Init::Pissa { iterations: ITERATIONS }, ..LoraConfig::default() };
        let weight = |layer, projection| model.weight(layer, projection);
        let [ours, theirs] = [Adapter::new(base.config(), &config, 42, weight).unwrap(), self.adapter(base, "initial")]
            .map(|start| added(&start));
        distance(&ours, &theirs) / distance(&theirs, &vec![0.0; theirs.len()])
    }

    /// Refuses rows that are rendered or cut into tokens otherwise than PEFT's.
    fn check_rows(&self, base: &Base) {
        let (tokenizer, template) = (base.tokenizer().unwrap(), base.template().unwrap());
        let over_length = OverLength::Truncate;
        let maker = RowMaker { tokenizer: &tokenizer, template: &template, max_tokens: 2_048, over_length };
        for (line, row) in lines(&self.folder.join("rows.jsonl")).iter().zip(&self.rows) {
            let turn = |role, key: &str| Turn { role, text: line[key].as_str().unwrap().to_owned() };
            let turns = vec![turn(Role::User, "question"), turn(Role::Assistant, "answer")];
            let made = maker.row(&Conversation { turns, ..Conversation::default() }).unwrap().0.unwrap();
            assert_eq!(made.ids, row.ids, "tokens of {line}");
        }
    }

    /// Trains an adapter, and returns each step's loss.
    fn train_adapter(&self, model: &Backend, adapter: &mut Adapter) -> Vec<f64> {
        let mut optimizer = AdamW::new(adapter.parameters().len(), self.number("weight-decay"));
        self.train(adapter.parameters().len(), |batches, how, gradient, rate| {
            let sum = batches.iter().map(|batch| model.loss_and_gradient(adapter, batch, how, gradient).unwrap()).sum();
            clip(gradient, 1.0);
            optimizer.step(adapter.parts(self.number("loraplus-ratio")), gradient, rate);
            sum
        })
    }

    /// Takes all steps, each by `step` from its rows, the weight of a token, a gradient of so many zeros and the learning
    /// rate to its summed loss; returns each one's mean loss.
    fn train(&self, numbers: usize, mut step: impl FnMut(&[Batch], &GradientStep, &mut [f32], f64) -> f64) -> Vec<f64> {
        let schedule: Schedule = serde_json::from_value(self.how["schedule"].clone()).unwrap();
        let (steps, warmup) = (self.losses.len() as u64, self.number("warmup-steps") as u64);
        let rows_a_step = self.number("rows-a-step") as usize;
        let mut losses = Vec::new();
        for number in 0..steps {
            let first = number as usize * rows_a_step;
            let batches: Vec<Batch> = (first..first + rows_a_step)
                .map(|place| Batch::new([(place as u64, &self.rows[place % self.rows.len()])]))
                .collect();
            let weight = 1.0 / batches.iter().map(Batch::trained_tokens).sum::<usize>() as f32;
            let how = GradientStep {
                label_smoothing: self.number("label-smoothing") as f32,
                ..GradientStep::new(weight, Activations::Kept)
            };
            let rate = schedule.rate(self.number("learning-rate"), number, steps, warmup);
            let sum = step(&batches, &how, &mut vec![0.0; numbers], rate);
            losses.push(sum * f64::from(weight));
        }
        losses
    }

    fn load(&self, base: &Base) -> Transformer {
        let storage = if self.how["base"] == "gguf" { Storage::AsStored } else { Storage::Dense };
        Transformer::load(base, storage, |_| ()).unwrap()
    }

    /// Runs the case on the CPU, leaves the adapter for PEFT, and returns whether all is within its limits.
    fn run(&self, name: &str) -> bool {
        let begun = Instant::now();
        let base = self.base();
        self.check_rows(&base);
        let model = Backend::Fused(Box::new(self.load(&base)));
        let mut adapter = self.start(&base);
        let losses = self.train_adapter(&model, &mut adapter);
        self.write(&adapter, &model);
        let is_within = self.tell((name, begun), &losses, self.distances(&base, &adapter), (LOSS_LIMIT, ADAPTER_LIMIT));
        if self.is_pissa() {
            let apart = self.start_distance(&base, &self.load(&base));
            println!("{}", json!({"case": name, "iterations": ITERATIONS, "distance_of_starts": apart}));
        }
        is_within
    }

    /// Runs the case on the GPU, with products of 32 and of 16 bits, and returns whether all is within its limits.
    fn run_on_gpu(&self, name: &str) -> bool {
        let base = self.base();
        self.check_rows(&base);
        let limits = [(DType::F32, (LOSS_LIMIT, ADAPTER_LIMIT)), (DType::BF16, (SHORT_LOSS_LIMIT, f64::INFINITY))];
        let within = limits.map(|(numbers, limits)| {
            let begun = Instant::now();
            let model = Portable::with_numbers(self.load(&base), Device::Cuda(0), numbers).unwrap();
            let mut adapter = self.start(&base);
            let losses = self.train_adapter(&Backend::Portable(Box::new(model)), &mut adapter);
            let name = format!("{name} on the GPU, {}", numbers.as_str());
            self.tell((&name, begun), &losses, self.distances(&base, &adapter), limits)
        });
        within == [true; 2]
    }

    /// Returns how far an adapter ended from PEFT's, and how far PEFT's own runs did from each other, over how far they moved.
    fn distances(&self, base: &Base, adapter: &Adapter) -> (f64, Option<f64>) {
        let theirs = self.adapter(base, "final-1");
        let moved = distance(theirs.parameters(), self.start(base).parameters());
        let apart = |other: &Adapter| distance(other.parameters(), theirs.parameters()) / moved;
        let own = self.folder.join("final-2").is_dir().then(|| apart(&self.adapter(base, "final-2")));
        (apart(adapter), own)
    }

    /// Prints how far losses are from those of the peer, and what was trained from its own, over how far that moved; and
    /// returns whether all is within the limits.
    fn tell(
        &self,
        (name, begun): (&str, Instant),
        losses: &[f64],
        (apart, own): (f64, Option<f64>),
        (loss_limit, distance_limit): (f64, f64),
    ) -> bool {
        let differences = losses.iter().zip(&self.losses).map(|(ours, theirs)| (ours / theirs - 1.0).abs());
        let loss_difference = differences.fold(0.0, f64::max);
        let within = loss_difference <= loss_limit && apart <= distance_limit.max(3.0 * own.unwrap_or(0.0));
        println!(
            "{}",
            json!({
                "case": name,
                "steps": losses.len(),
                "largest_loss_difference": loss_difference,
                "distance": apart,
                "peft_threads_distance": own,
                "first_loss": [losses.first(), self.losses.first()],
                "last_loss": [losses.last(), self.losses.last()],
                "within": within,
                "seconds": begun.elapsed().as_secs_f64(),
            })
        );
        within
    }

    /// Writes the adapter and the loss that it has on all rows.
    fn write(&self, adapter: &Adapter, model: &Backend) {
        let folder = self.folder.join("ours");
        fs_err::create_dir_all(&folder).unwrap();
        for (name, bytes) in adapter.to_peft(0.0).unwrap() {
            fs_err::write(folder.join(name), bytes).unwrap();
        }
        let batches: Vec<Batch> = self.rows.iter().map(|row| Batch::new([(0, row)])).collect();
        let sum: f64 = batches.iter().map(|batch| model.loss(Some(adapter), batch).unwrap()).sum();
        let loss = sum / batches.iter().map(Batch::trained_tokens).sum::<usize>() as f64;
        fs_err::write(folder.join("loss.json"), json!({ "loss": loss }).to_string()).unwrap();
    }
}

/// Returns the Euclidean distance.
fn distance(left: &[f32], right: &[f32]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| f64::from(left - right).powi(2)).sum::<f64>().sqrt()
}

/// Returns all that an adapter adds to its base's weights.
fn added(adapter: &Adapter) -> Vec<f32> {
    let added = |module: &Module| {
        let (a, b) = (&adapter.parameters()[module.a()], &adapter.parameters()[module.b()]);
        let mut sums = vec![0.0; module.inputs * module.outputs];
        for (sums, b) in sums.chunks_mut(module.inputs).zip(b.chunks(module.rank())) {
            for (share, a) in b.iter().zip(a.chunks(module.inputs)) {
                sums.iter_mut().zip(a).for_each(|(sum, a)| *sum += module.scale() * share * a);
            }
        }
        sums
    };
    adapter.modules().iter().flat_map(added).collect()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let (out, on_gpu) = match words.as_slice() {
        [out] => (out, false),
        [out, device] if device == "cuda" => (out, true),
        _ => {
            let usage = "usage: cargo bench --bench parity -- OUT [cuda], where peft_parity.py has trained";
            println!("{}", json!({ "skipped": usage }));
            return;
        }
    };
    let cases = fs_err::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = cases.filter(|path| path.join("final-1").is_dir()).collect();
    cases.sort();
    let mut outside = Vec::new();
    for folder in &cases {
        let name = folder.file_name().unwrap().to_string_lossy();
        let case = Case::read(folder);
        let within = match (case.how["method"] == "full", on_gpu) {
            (true, true) => continue,
            (true, false) => case.run_whole(&name),
            (false, true) => case.run_on_gpu(&name),
            (false, false) => case.run(&name),
        };
        if !within {
            outside.push(name);
        }
    }
    assert!(!cases.is_empty(), "no case lies in {out}");
    assert!(outside.is_empty(), "{outside:?} did not train as PEFT does");
}
