//! The run of `train.lora`: from the job to adapter and metrics.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::checkpoint::{self, Checkpoint, Cursor};
use super::error::TrainError;
use super::inputs::{self, Row};
use super::plan::{Epoch, MICRO_BATCH_TOKENS, micro_batches};
use super::settings::Settings;
use crate::model::config::ModelConfig;
use crate::model::lora::{Adapter, random};
use crate::model::optimizer::{AdamW, clip};
use crate::model::transformer::{Activations, Batch, Dropout, GradientStep, Transformer};
use crate::model::weights::{Base, Storage};
use crate::model::{ModelError, transformer};
use crate::node::{Count, NodeError, Outcome, Run};
use crate::store::Artifact;

/// How long a training goes on before its state is kept.
const CHECKPOINT_EVERY: Duration = Duration::from_mins(1);
/// What a run assumes to have when no limit is known, in bytes.
const USUAL_MEMORY: u64 = 8 << 30;

/// A training under way.
struct Session<'a> {
    run: &'a Run<'a>,
    settings: Settings,
    rows: Vec<Row>,
    model: Transformer,
    activations: Activations,
    adapter: Adapter,
    optimizer: AdamW,
    cursor: Cursor,
    checkpoint: String,
    /// Steps of the whole training.
    steps: u64,
}

/// Runs the node.
pub(super) fn train(run: &Run<'_>) -> Result<Outcome, NodeError> {
    let settings: Settings = run.settings()?;
    let base = Base::open(&run.weight_files()?)?;
    let (rows, report) = inputs::rows(run, &base, &settings)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(run.grant().threads.max(1)).build();
    let pool = pool.map_err(ModelError::Threads)?;
    pool.install(|| {
        let mut session = Session::open(run, settings, &base, rows)?;
        drop(base);
        session.run()?;
        session.finish(report)
    })
}

impl<'a> Session<'a> {
    /// Loads the weights, and the trajectory's last state if there is one.
    fn open(run: &'a Run<'a>, settings: Settings, base: &Base, rows: Vec<Row>) -> Result<Self, NodeError> {
        let config = base.config();
        let memory = run.grant().memory.unwrap_or(USUAL_MEMORY);
        let storage = storage(config, memory);
        let model = Transformer::load(base, storage, |blocks| {
            run.progress(blocks as u64, Some(config.layers as u64), "blocks", "reading the base model");
        })?;
        let adapter = Adapter::new(config, &settings.targets, settings.rank, settings.alpha, settings.seed);
        let optimizer = AdamW::new(adapter.parameters().len(), settings.weight_decay);
        let steps = (0..settings.epochs).map(|number| Epoch::new(&rows, &settings, number).steps()).sum();
        let longest = rows.iter().map(|row| row.tokens.ids.len()).max().unwrap_or(0);
        let checkpoint = checkpoint::name(run, &settings);
        let mut session = Self {
            run,
            activations: activations(config, longest, memory),
            model,
            adapter,
            optimizer,
            cursor: Cursor::default(),
            checkpoint,
            steps,
            settings,
            rows,
        };
        session.resume()?;
        Ok(session)
    }

    /// Goes on from the last state of the trajectory, if it is one of this training.
    fn resume(&mut self) -> Result<(), NodeError> {
        let Some(Checkpoint { cursor, numbers }) = Checkpoint::load(self.run, &self.checkpoint)? else {
            return Ok(());
        };
        let [parameters, first, second] = numbers;
        if parameters.len() != self.adapter.parameters().len() || cursor.step > self.steps {
            return Ok(());
        }
        self.run.note(format!("goes on after step {} of {}", cursor.step, self.steps));
        self.adapter.parameters_mut().copy_from_slice(&parameters);
        self.optimizer = AdamW { first, second, steps: cursor.step, weight_decay: self.settings.weight_decay };
        self.cursor = cursor;
        Ok(())
    }

    /// Trains all steps that are left.
    fn run(&mut self) -> Result<(), NodeError> {
        let mut clock = Clock::start();
        while self.cursor.epoch < self.settings.epochs {
            let epoch = Epoch::new(&self.rows, &self.settings, self.cursor.epoch);
            while self.cursor.step_in_epoch < epoch.steps() {
                if self.run.cancel.is_cancelled() {
                    self.save()?;
                    return Err(NodeError::cancelled());
                }
                let (loss, tokens) = self.step(&epoch)?;
                clock.step(tokens);
                let detail = clock.detail(loss);
                self.run.progress(self.cursor.step, Some(self.steps), "steps", &detail);
                if clock.saved.elapsed() > CHECKPOINT_EVERY {
                    self.save()?;
                    clock.saved = Instant::now();
                }
            }
            let cursor = &mut self.cursor;
            cursor.last_loss = cursor.loss / cursor.tokens.max(1) as f64;
            (cursor.loss, cursor.tokens, cursor.step_in_epoch) = (0.0, 0, 0);
            cursor.epoch += 1;
        }
        Ok(())
    }

    /// Trains one step and returns its mean loss and its tokens.
    fn step(&mut self, epoch: &Epoch) -> Result<(f64, usize), NodeError> {
        let rows = epoch.step(self.cursor.step_in_epoch);
        // Below 2³² appearances, each has an identity that no other of the run has.
        let rows = rows.map(|(place, row)| (self.cursor.epoch << 24 ^ place as u64, &self.rows[row])).collect();
        let batches: Vec<Batch> = micro_batches(rows)
            .into_iter()
            .map(|part| Batch::new(part.into_iter().map(|(identity, row)| (identity, &row.tokens))))
            .collect();
        let trained: usize = batches.iter().map(Batch::trained_tokens).sum();
        let mut gradient = vec![0.0; self.adapter.parameters().len()];
        let step =
            GradientStep { weight: 1.0 / trained as f32, dropout: self.dropout(), activations: self.activations };
        let mut loss = 0.0;
        for batch in &batches {
            loss += self.model.loss_and_gradient(&self.adapter, batch, &step, &mut gradient)?;
        }
        let rate = self.settings.schedule.rate(
            self.settings.learning_rate,
            self.cursor.step,
            self.steps,
            self.settings.warmup(self.steps),
        );
        let norm = clip(&mut gradient, self.settings.max_grad_norm);
        let mean = loss / trained as f64;
        if !mean.is_finite() || !norm.is_finite() {
            return Err(TrainError::Diverged { step: self.cursor.step + 1, loss: mean, norm, rate }.into());
        }
        self.optimizer.step(self.adapter.parameters_mut(), &gradient, rate);
        self.record(loss, trained as u64, norm, rate);
        Ok((mean, batches.iter().map(Batch::tokens).sum()))
    }

    /// Notes a step that was taken.
    fn record(&mut self, loss: f64, trained: u64, norm: f64, rate: f64) {
        let cursor = &mut self.cursor;
        cursor.step += 1;
        cursor.step_in_epoch += 1;
        cursor.loss += loss;
        cursor.tokens += trained;
        cursor.all_tokens += trained;
        let line = json!({
            "step": cursor.step,
            "epoch": cursor.epoch + 1,
            "loss": loss / trained as f64,
            "learning-rate": rate,
            "grad-norm": norm,
            "trained-tokens": trained,
        });
        cursor.metrics.push_str(&line.to_string());
        cursor.metrics.push('\n');
    }

    /// Returns the dropout of the next step.
    fn dropout(&self) -> Option<Dropout> {
        let seed = random::mix(&[self.settings.seed, random::name("dropout")]);
        (self.settings.dropout > 0.0).then_some(Dropout { rate: self.settings.dropout as f32, seed })
    }

    /// Keeps the state.
    fn save(&self) -> Result<(), NodeError> {
        let numbers = [self.adapter.parameters().to_vec(), self.optimizer.first.clone(), self.optimizer.second.clone()];
        Checkpoint { cursor: self.cursor.clone(), numbers }.save(self.run, &self.checkpoint)
    }

    /// Puts adapter and metrics into the store.
    fn finish(self, mut report: Vec<Count>) -> Result<Outcome, NodeError> {
        if self.settings.depends_on_length() {
            self.run.store.put_state(&self.checkpoint, &None::<()>)?;
        } else {
            self.save()?;
        }
        let mut files = BTreeMap::new();
        for (name, bytes) in self.adapter.to_peft(self.settings.dropout)? {
            files.insert(name.to_owned(), self.run.store.put_file_bytes(&bytes)?);
        }
        let metrics = self.run.store.put_file_bytes(self.cursor.metrics.as_bytes())?;
        report.push(Count { what: "rows trained".into(), count: self.rows.len() as u64 });
        let fields = [
            ("loss", json!(self.cursor.last_loss)),
            ("steps", json!(self.cursor.step)),
            ("rows", json!(self.rows.len())),
            ("trained-tokens", json!(self.cursor.all_tokens)),
            ("parameters", json!(self.adapter.parameters().len())),
        ];
        Ok(Outcome {
            outputs: [
                ("adapter".to_owned(), Artifact::Folder { files }),
                ("metrics".to_owned(), Artifact::File(metrics)),
            ]
            .into(),
            fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            report,
        })
    }
}

/// Returns how weights are kept: dense where they take at most half of the memory.
fn storage(config: &ModelConfig, memory: u64) -> Storage {
    let tables = if config.tied { 1 } else { 2 } * config.vocabulary * config.hidden;
    let bytes = 4 * (config.block_weights() + tables) as u64;
    if bytes <= memory / 2 { Storage::Dense } else { Storage::AsStored }
}

/// Returns whether activations are kept: where those of the longest row, and of a usual part, take at most a quarter of
/// the memory.
fn activations(config: &ModelConfig, longest: usize, memory: u64) -> Activations {
    let bytes = transformer::activation_bytes(config, longest.max(MICRO_BATCH_TOKENS));
    if bytes <= memory / 4 { Activations::Kept } else { Activations::Recomputed }
}

/// Measures a training for people; nothing of it enters a result.
struct Clock {
    started: Instant,
    saved: Instant,
    tokens: usize,
}

impl Clock {
    fn start() -> Self {
        Self { started: Instant::now(), saved: Instant::now(), tokens: 0 }
    }

    fn step(&mut self, tokens: usize) {
        self.tokens += tokens;
    }

    /// Returns the live text, such as `loss 1.234 · 95 tokens/s`; the time that is left follows from the steps.
    fn detail(&self, loss: f64) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        format!("loss {loss:.3} · {:.0} tokens/s", self.tokens as f64 / seconds)
    }
}
