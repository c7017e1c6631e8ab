//! Trains some steps from PEFT's own initial adapter and compares each loss with PEFT's:
//! `cargo bench --bench parity -- BASE ROWS ADAPTER LOG`.
//!
//! BASE is a GGUF, ROWS are conversations as JSON lines, ADAPTER is the folder that PEFT wrote before its first step,
//! and LOG has one line a step with `step` and `loss`: one whole row a step, AdamW at 2e-4 without decay, clipped at 1.
//! Prints one JSON object a step, and the largest relative difference as the last line.

#![expect(clippy::print_stdout, reason = "a benchmark's result goes to standard output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use tunesmith::model::lora::Adapter;
use tunesmith::model::optimizer::{AdamW, clip};
use tunesmith::model::rows::{OverLength, RowMaker, TokenRow};
use tunesmith::model::transformer::{Activations, Batch, GradientStep, Transformer};
use tunesmith::model::weights::{Base, Storage, WeightFiles};
use tunesmith::record::{Conversation, Role, Turn};

/// The longest row, in tokens.
const MAX_TOKENS: usize = 2_048;
const LEARNING_RATE: f64 = 2e-4;

fn conversation(line: &str) -> Conversation {
    let json: Value = serde_json::from_str(line).unwrap();
    let turns = json["conversations"].as_array().unwrap().iter().map(|turn| {
        let role = match turn["from"].as_str().unwrap() {
            "system" => Role::System,
            "human" | "user" => Role::User,
            _ => Role::Assistant,
        };
        Turn { role, text: turn["value"].as_str().unwrap().to_owned() }
    });
    Conversation { turns: turns.collect(), ..Conversation::default() }
}

/// Returns the first `count` rows, which must all be of use: PEFT's run trains each line.
fn rows(base: &Base, path: &Path, count: usize) -> Vec<TokenRow> {
    let (tokenizer, template) = (base.tokenizer().unwrap(), base.template().unwrap());
    let over_length = OverLength::Truncate;
    let maker = RowMaker { tokenizer: &tokenizer, template: &template, max_tokens: MAX_TOKENS, over_length };
    let text = fs_err::read_to_string(path).unwrap();
    text.lines().take(count).map(|line| maker.row(&conversation(line)).unwrap().0.unwrap()).collect()
}

fn main() {
    let paths: Vec<PathBuf> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).map(Into::into).collect();
    let [base, data, adapter, log] = paths.as_slice() else {
        println!("{}", json!({"skipped": "usage: cargo bench --bench parity -- BASE.gguf ROWS.jsonl ADAPTER LOG"}));
        return;
    };
    let base = Base::open(&WeightFiles::Gguf(base.clone())).unwrap();
    let log = fs_err::read_to_string(log).unwrap();
    let steps = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let steps: Vec<Value> = steps.filter(|step| step.get("loss").is_some()).collect();
    let rows = rows(&base, data, steps.len());
    let (config, tensors) = (adapter.join("adapter_config.json"), adapter.join("adapter_model.safetensors"));
    let mut adapter = Adapter::from_peft(base.config(), &config, &tensors).unwrap();
    let model = Transformer::load(&base, Storage::Dense, |_| ()).unwrap();
    let mut optimizer = AdamW::new(adapter.parameters().len(), 0.0);
    let mut worst = 0.0_f64;
    for expected in steps {
        let start = Instant::now();
        let step = expected["step"].as_u64().unwrap();
        let batch = Batch::new([(step, &rows[(step as usize - 1) % rows.len()])]);
        let weight = 1.0 / batch.trained_tokens() as f32;
        let mut gradient = vec![0.0; adapter.parameters().len()];
        let how = GradientStep { weight, dropout: None, activations: Activations::Kept };
        let loss = model.loss_and_gradient(&adapter, &batch, &how, &mut gradient).unwrap() * f64::from(weight);
        clip(&mut gradient, 1.0);
        optimizer.step(adapter.parameters_mut(), &gradient, LEARNING_RATE);
        let peer = expected["loss"].as_f64().unwrap();
        let difference = (loss / peer - 1.0).abs();
        worst = worst.max(difference);
        let seconds = start.elapsed().as_secs_f64();
        println!("{}", json!({"step": step, "loss": loss, "peft": peer, "difference": difference, "seconds": seconds}));
    }
    println!("{}", json!({"largest_relative_difference": worst}));
}
