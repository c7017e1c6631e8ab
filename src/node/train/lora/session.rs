//! The run of `train.lora`: from the job to adapter and metrics.

use std::time::{Duration, Instant};

use serde_json::json;

use super::checkpoint::{Cursor, State, Trail};
use super::clock::{self, Clock};
use super::cost::{self, KnownSpeed, Work};
use super::evaluation::HeldOut;
use super::inputs::{self, Reader, Row};
use super::memory::{Choice, human};
use super::new_adapter;
use super::plan::{Epoch, longest, micro_batches};
use super::samples::{self, Question};
use super::settings::{Keep, Settings};
use super::warm::Warm;
use super::watch::Watched;
use crate::model::ModelError;
use crate::model::config::ModelConfig;
use crate::model::lora::{Adapter, random};
use crate::model::optimizer::{AdamW, clip};
use crate::model::transformer::{Activations, Backend, Batch, Dropout, GradientStep, Noise, Transformer};
use crate::model::weights::Base;
use crate::node::{Device, NodeError, Outcome, Run};

/// A training under way.
pub(super) struct Session<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) settings: &'a Settings,
    pub(super) reader: &'a Reader<'a>,
    pub(super) rows: &'a [Row],
    pub(super) held_out: HeldOut,
    pub(super) questions: Vec<Question>,
    pub(super) model: Backend,
    pub(super) activations: Activations,
    pub(super) adapter: Adapter,
    /// The parameters of the lowest loss on held-out rows, where they are kept.
    pub(super) best: Option<Vec<f32>>,
    pub(super) optimizer: AdamW,
    pub(super) cursor: Cursor,
    pub(super) trail: Trail<'a>,
    /// Steps of the whole training.
    pub(super) steps: u64,
}

/// Tokens that a GPU computes at once, at the least: it dequantises a block's weights for each micro-batch.
const GPU_MICRO_BATCH: usize = 4096;

/// Runs the node.
pub(super) fn train(run: &Run<'_>) -> Result<Outcome, NodeError> {
    train_with(run, |model| Backend::new(model, run.grant().device))
}

/// Returns the settings, as far as the device leaves a choice.
///
/// # Errors
/// Also a device that cannot be used.
pub(super) fn settings(run: &Run<'_>) -> Result<Settings, NodeError> {
    let mut settings: Settings = run.settings()?;
    let device = run.grant().device;
    device.check()?;
    if device != Device::Cpu {
        settings.training.micro_batch_tokens = settings.training.micro_batch_tokens.max(GPU_MICRO_BATCH);
    }
    Ok(settings)
}

/// Runs the node where `place` brings the base model.
pub(super) fn train_with(
    run: &Run<'_>,
    place: impl FnOnce(Transformer) -> Result<Backend, ModelError> + Send,
) -> Result<Outcome, NodeError> {
    let settings = settings(run)?;
    let base = Base::open(&run.weight_files()?)?;
    // What the adapter's settings mean for this base is told before anything takes long.
    let parameters = super::parameters(base.config(), &settings)?;
    let reader = Reader::new(&base, &settings)?;
    let warm = Warm::of(run, &settings, base.config())?;
    let data = inputs::read(run, &reader, warm.as_ref())?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(run.grant().threads.max(1)).build();
    let pool = pool.map_err(ModelError::Threads)?;
    pool.install(|| {
        let all_tokens = data.rows.iter().chain(&data.held_out).map(|row| row.tokens.ids.len()).sum();
        let rows = if data.rows.is_empty() { &data.held_out } else { &data.rows };
        let choice = cost::choose(run, &base, &settings, (rows, all_tokens, parameters))?;
        // The measurement is of the CPU's path.
        let on_cpu = run.grant().device == Device::Cpu;
        let speed = on_cpu.then(|| KnownSpeed::of(run, &base, choice.storage, &settings, rows)).transpose()?;
        let work = Work::of(&settings.training, &data.rows, &data.held_out, (1.0, 1.0));
        let config = base.config().clone();
        let seconds = speed.as_ref().map(|speed| speed.seconds(&work, &config, parameters, choice.again));
        let model = Transformer::load(&base, choice.storage, |blocks| {
            run.progress(blocks as u64, Some(config.layers as u64), "blocks", "reading the base model");
        })?;
        drop(base);
        let adapter = first_adapter(run, &config, &settings, (&model, warm.as_ref()))?;
        let model = place(model)?;
        let questions = samples::questions(&reader, &data.asked)?;
        let held_out = HeldOut::new(&data.held_out, &settings.training);
        let mut session = Session::new(run, &settings, &reader, &data.rows, model, adapter)?;
        (session.held_out, session.questions, session.activations) = (held_out, questions, choice.activations);
        session.resume();
        let row_tokens = work.tokens / data.rows.iter().map(|row| row.weight).sum::<f64>().max(1.0);
        let row_tokens = row_tokens / settings.training.epochs as f64;
        let flops = work.flops_per_token(&config, session.adapter.parameters().len(), row_tokens);
        let share_left = 1.0 - session.cursor.step as f64 / session.steps.max(1) as f64;
        session.rehearse(&choice, seconds.map(|seconds| seconds * share_left))?;
        let clock = session.run(Clock::start(speed.as_ref().map(|speed| speed.speed.peak), flops))?;
        if let (Some(speed), Some(seconds)) = (speed, seconds) {
            let (took, tokens) = clock.measured();
            let forecast = seconds * tokens as f64 / work.tokens.max(1.0);
            speed.correct(run, &config, choice.storage, (forecast, took))?;
        }
        session.finish(data.report, data.new_rows, warm.as_ref())
    })
}

/// Says how long the training takes.
fn in_about(seconds: f64) -> String {
    format!(" in about {}", humantime::format_duration(Duration::from_secs(seconds.ceil() as u64)))
}

/// Returns the adapter that the first step changes: a new one, or the pinned one.
fn first_adapter(
    run: &Run<'_>,
    config: &ModelConfig,
    settings: &Settings,
    (model, warm): (&Transformer, Option<&Warm>),
) -> Result<Adapter, NodeError> {
    let fresh = new_adapter(config, settings, model)?;
    let Some(warm) = warm else { return Ok(fresh) };
    warm.check(run, &fresh)?;
    Ok(warm.adapter.clone())
}

impl<'a> Session<'a> {
    /// Begins a training.
    fn new(
        run: &'a Run<'a>,
        settings: &'a Settings,
        reader: &'a Reader<'a>,
        rows: &'a [Row],
        model: Backend,
        adapter: Adapter,
    ) -> Result<Self, NodeError> {
        let epochs = 0..settings.training.epochs;
        let steps = epochs.map(|number| Epoch::new(rows, &settings.training, number).steps()).sum();
        Ok(Self {
            run,
            settings,
            reader,
            rows,
            held_out: HeldOut::new(&[], &settings.training),
            questions: Vec::new(),
            model,
            activations: Activations::Kept,
            best: None,
            optimizer: AdamW::new(adapter.parameters().len(), settings.optimizer.weight_decay),
            adapter,
            cursor: Cursor::default(),
            trail: Trail::of(run, settings)?,
            steps,
        })
    }

    /// Goes on from the last state of the trajectory, if it is one of this training.
    fn resume(&mut self) {
        let Some(State { cursor, mut numbers }) = self.trail.last(self.steps) else { return };
        let keeps_best = self.settings.training.keep == Keep::Best;
        let parameters = self.adapter.parameters().len();
        if numbers.len() != 3 + usize::from(keeps_best) || numbers.iter().any(|numbers| numbers.len() != parameters) {
            return;
        }
        self.run.note(format!("goes on after step {} of {}", cursor.step, self.steps));
        self.best = numbers.drain(3..).next();
        let (Some(second), Some(first)) = (numbers.pop(), numbers.pop()) else { return };
        self.adapter.parameters_mut().copy_from_slice(&numbers[0]);
        let weight_decay = self.settings.optimizer.weight_decay;
        self.optimizer = AdamW { first, second, steps: cursor.step, weight_decay };
        self.cursor = cursor;
    }

    /// Computes the largest micro-batch once and throws the result away, so that what does not fit is found before the
    /// first step; and says what the training is going to take.
    fn rehearse(&mut self, choice: &Choice, seconds: Option<f64>) -> Result<(), NodeError> {
        let rows = longest(self.rows, &self.settings.training);
        if rows.is_empty() || self.cursor.step >= self.steps {
            return Ok(());
        }
        let batch = Batch::new(rows.iter().map(|row| (0, &row.tokens)));
        self.run.progress(0, Some(self.steps), "steps", "rehearsing the longest micro-batch");
        let mut gradient = vec![0.0; self.adapter.parameters().len()];
        let plain = GradientStep::new(1.0, self.activations);
        let step = GradientStep { dropout: self.dropout(), noise: self.noise(), ..plain };
        let begun = Instant::now();
        self.model.loss_and_gradient(&self.adapter, &batch, &step, &mut gradient)?;
        let took = begun.elapsed().as_secs_f64();
        let peak = clock::peak_memory().unwrap_or_default();
        self.run.note(format!(
            "{} steps{}{}; the longest micro-batch, {} tokens, took {took:.1} s; memory {} of {} forecast",
            self.steps - self.cursor.step,
            seconds.map(in_about).unwrap_or_default(),
            cost::how(choice),
            batch.tokens(),
            human(peak),
            human(choice.needs.total()),
        ));
        if peak > cost::memory(self.run) && self.activations != Activations::Recomputed {
            self.run.warn("memory is short: from here on all activations are computed again, which takes longer");
            self.activations = Activations::Recomputed;
        }
        Ok(())
    }

    /// Trains all steps that are left.
    fn run(&mut self, mut clock: Clock) -> Result<Clock, NodeError> {
        if self.cursor.step == 0 && self.cursor.standing.last.is_none() {
            self.evaluate()?;
        }
        // A warm start without a new row has nothing to train.
        let epochs = if self.steps == 0 { 0 } else { self.settings.training.epochs };
        while self.cursor.epoch < epochs && !self.cursor.standing.stopped {
            let epoch = Epoch::new(self.rows, &self.settings.training, self.cursor.epoch);
            while self.cursor.step_in_epoch < epoch.steps() && !self.cursor.standing.stopped {
                if self.run.cancel.is_cancelled() {
                    self.save()?;
                    return Err(NodeError::cancelled());
                }
                let (loss, tokens) = self.step(&epoch)?;
                clock.step(self.run, loss, tokens, (self.cursor.step, self.steps));
                let every = self.settings.training.eval_steps;
                if every.is_some_and(|every| self.cursor.step.is_multiple_of(every)) {
                    self.evaluate()?;
                }
                if self.trail.is_due() && self.cursor.step_in_epoch < epoch.steps() {
                    self.save()?;
                }
            }
            if self.cursor.step_in_epoch == epoch.steps() {
                self.end_epoch()?;
            }
        }
        Ok(clock)
    }

    fn end_epoch(&mut self) -> Result<(), NodeError> {
        let cursor = &mut self.cursor;
        cursor.last_loss = cursor.loss / cursor.tokens.max(1) as f64;
        (cursor.loss, cursor.tokens, cursor.step_in_epoch) = (0.0, 0, 0);
        cursor.epoch += 1;
        if self.settings.training.eval_steps.is_none() && !self.cursor.standing.stopped {
            self.evaluate()?;
        }
        let is_last = self.cursor.epoch == self.settings.training.epochs;
        if self.trail.is_due() && !is_last { self.save() } else { Ok(()) }
    }

    /// Trains one step and returns its mean loss and its tokens.
    fn step(&mut self, epoch: &Epoch) -> Result<(f64, usize), NodeError> {
        let indices: Vec<(usize, usize)> = epoch.step(self.cursor.step_in_epoch).collect();
        // Below 2³² appearances, each has an identity that no other of the run has.
        let identity = |place: usize| self.cursor.epoch << 24 ^ place as u64;
        let rows = indices.iter().map(|(place, row)| (identity(*place), &self.rows[*row])).collect();
        let batches: Vec<Batch> = micro_batches(rows, self.settings.training.micro_batch_tokens)
            .into_iter()
            .map(|part| Batch::new(part.into_iter().map(|(identity, row)| (identity, &row.tokens))))
            .collect();
        let trained: usize = batches.iter().map(Batch::trained_tokens).sum();
        let mut gradient = vec![0.0; self.adapter.parameters().len()];
        let plain = GradientStep::new(1.0 / trained as f32, self.activations);
        let label_smoothing = self.settings.optimizer.label_smoothing as f32;
        let step = GradientStep { dropout: self.dropout(), noise: self.noise(), label_smoothing, ..plain };
        let mut loss = 0.0;
        for batch in &batches {
            loss += self.model.loss_and_gradient(&self.adapter, batch, &step, &mut gradient)?;
        }
        let rate = self.settings.optimizer.rate(self.cursor.step, self.steps);
        let norm = clip(&mut gradient, self.settings.optimizer.max_grad_norm);
        let mean = loss / trained as f64;
        let all = self.rows;
        let ids = indices.iter().map(|(_, row)| all[*row].id.as_str()).collect();
        let watched = Watched { step: self.cursor.step + 1, loss: mean, norm, rate, rows: ids };
        self.cursor.watch.check(&watched, self.settings.training.divergence)?;
        let groups = self.adapter.rate_groups(self.settings.optimizer.loraplus_ratio);
        self.optimizer.step(self.adapter.parameters_mut(), &gradient, rate, &groups);
        self.record(loss, trained as u64, norm, rate);
        Ok((mean, batches.iter().map(Batch::tokens).sum()))
    }

    /// Measures the loss on held-out rows, keeps the best, and generates answers.
    pub(super) fn evaluate(&mut self) -> Result<(), NodeError> {
        if self.settings.training.eval.is_none() {
            return Ok(());
        }
        let step = self.cursor.step;
        self.run.progress(step, Some(self.steps), "steps", &format!("evaluating {} tokens", self.held_out.tokens()));
        let loss = self.held_out.loss(self.run, &self.model, Some(&self.adapter))?;
        let is_best = self.cursor.standing.take(step, loss, self.settings.training.patience);
        if is_best && self.settings.training.keep == Keep::Best {
            self.best = Some(self.adapter.parameters().to_vec());
        }
        self.line(&json!({"step": step, "eval-loss": loss}));
        for question in &self.questions {
            let limit = self.settings.training.sample_tokens;
            let answer = samples::answer(self.run, self.reader, &self.model, &self.adapter, question, limit)?;
            let (row, text) = (&question.row, &question.text);
            let line = json!({"step": step, "row": row, "question": text, "answer": answer});
            self.cursor.metrics.push_str(&line.to_string());
            self.cursor.metrics.push('\n');
        }
        self.run
            .note(format!("step {step}: loss on held-out rows {loss:.4}{}", if is_best { ", the lowest" } else { "" }));
        Ok(())
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
        self.line(&line);
    }

    /// Adds a line to the metrics.
    fn line(&mut self, line: &serde_json::Value) {
        self.cursor.metrics.push_str(&line.to_string());
        self.cursor.metrics.push('\n');
    }

    /// Returns the dropout of the next step.
    fn dropout(&self) -> Option<Dropout> {
        let seed = random::mix(&[self.settings.training.seed, random::name("dropout")]);
        let rate = self.settings.adapter.dropout as f32;
        (rate > 0.0).then_some(Dropout { rate, seed })
    }

    /// Returns the noise on the embeddings.
    fn noise(&self) -> Option<Noise> {
        let seed = random::mix(&[self.settings.training.seed, random::name("noise")]);
        let alpha = self.settings.adapter.neftune_alpha as f32;
        (alpha > 0.0).then_some(Noise { alpha, seed })
    }

    /// Keeps the state.
    pub(super) fn save(&mut self) -> Result<(), NodeError> {
        let mut numbers = vec![self.adapter.parameters(), &self.optimizer.first, &self.optimizer.second];
        numbers.extend(self.best.as_deref());
        self.trail.save(&self.cursor, &numbers)
    }
}
