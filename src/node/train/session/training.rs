//! The run of a training: from the job to what was trained and its metrics.

use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde_json::json;

use super::Method;
use super::checkpoint::{Cursor, State, Trail};
use super::clock::{self, Clock};
use super::evaluation::HeldOut;
use super::forecast::{self, Forecast, Sample, human};
use super::inputs::{self, Reader, Row};
use super::learner::{self, Learner};
use super::plan::Epoch;
use super::samples::{self, Question};
use super::settings::{Keep, Settings};
use super::warm::Warm;
use super::watch::Watched;
use crate::model::ModelError;
use crate::model::lora::random;
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
    pub(super) learner: Learner,
    /// How many parameters are trained.
    pub(super) parameters: usize,
    pub(super) activations: Activations,
    /// The gradient of a step; it keeps its memory.
    pub(super) gradient: Vec<f32>,
    /// The numbers of the lowest loss on held-out rows, where they are kept.
    pub(super) best: Option<Vec<f32>>,
    pub(super) optimizer: AdamW,
    pub(super) cursor: Cursor,
    pub(super) trail: Trail<'a>,
    /// Steps of the whole training.
    pub(super) steps: u64,
}

/// Numbers of the gradient that one task clears.
const CLEARED: usize = 1 << 16;
/// Tokens that a GPU computes at once, at the least: it dequantises a block's weights for each micro-batch.
const GPU_MICRO_BATCH: usize = 4096;

/// Runs the node.
pub(in super::super) fn train(run: &Run<'_>, method: Method) -> Result<Outcome, NodeError> {
    train_with(run, method, |model| Backend::new(model, run.grant().device))
}

/// Returns the settings, as far as the device leaves a choice.
///
/// # Errors
/// Also a device, or a base model, that cannot be used.
pub(super) fn settings(run: &Run<'_>, method: Method) -> Result<Settings, NodeError> {
    let settings = Settings::read(method, &run.job.settings);
    let mut settings = settings.map_err(|error| run.bad_job(error.to_string()))?;
    let device = run.grant().device;
    learner::check(&settings, &run.weight_files()?, device)?;
    device.check()?;
    if device != Device::Cpu {
        settings.training.micro_batch_tokens = settings.training.micro_batch_tokens.max(GPU_MICRO_BATCH);
    }
    Ok(settings)
}

/// Runs the node where `place` brings the base model.
pub(in super::super) fn train_with(
    run: &Run<'_>,
    method: Method,
    place: impl FnOnce(Transformer) -> Result<Backend, ModelError> + Send,
) -> Result<Outcome, NodeError> {
    let settings = settings(run, method)?;
    let base = Base::open(&run.weight_files()?)?;
    // What an adapter's settings mean for this base is told before anything takes long.
    let parameters = learner::parameters(base.config(), &settings)?;
    let reader = Reader::new(&base, &settings)?;
    let warm = Warm::of(run, &settings, base.config())?;
    let data = inputs::read(run, &reader, warm.as_ref())?;
    threads(run)?.install(|| {
        let forecast = Forecast::new(run, &base, &settings, &Sample::all(&data.rows), &Sample::all(&data.held_out))?;
        let learner = Learner::new(run, base, (&settings, forecast.choice.storage), warm.as_ref(), place)?;
        let questions = samples::questions(&reader, &data.asked)?;
        let held_out = HeldOut::new(&data.held_out, &settings.training);
        let mut session = Session::new(run, &settings, &reader, &data.rows, (learner, parameters))?;
        (session.held_out, session.questions, session.activations) = (held_out, questions, forecast.choice.activations);
        session.resume();
        session.rehearse(&forecast)?;
        let clock = session.run(Clock::start(forecast.peak(), forecast.flops_per_token()))?;
        forecast.correct(run, clock.measured())?;
        session.finish(data.report, data.new_rows, warm.as_ref())
    })
}

/// Returns the threads that a run is computed on.
pub(super) fn threads(run: &Run<'_>) -> Result<rayon::ThreadPool, ModelError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(run.grant().threads.max(1)).build();
    pool.map_err(ModelError::Threads)
}

/// Says how long the training takes.
fn in_about(seconds: f64) -> String {
    format!(" in about {}", humantime::format_duration(Duration::from_secs(seconds.ceil() as u64)))
}

impl<'a> Session<'a> {
    /// Begins a training.
    fn new(
        run: &'a Run<'a>,
        settings: &'a Settings,
        reader: &'a Reader<'a>,
        rows: &'a [Row],
        (learner, parameters): (Learner, usize),
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
            parameters,
            activations: Activations::Kept,
            gradient: vec![0.0; learner.len()],
            best: None,
            optimizer: AdamW::new(learner.len(), settings.optimizer.weight_decay),
            learner,
            cursor: Cursor::default(),
            trail: Trail::of(run, settings)?,
            steps,
        })
    }

    /// Goes on from the last state of the trajectory, if it is one of this training.
    fn resume(&mut self) {
        let Some(State { cursor, mut numbers }) = self.trail.last(self.steps) else { return };
        let keeps_best = self.settings.training.keep == Keep::Best;
        let length = self.learner.len();
        if numbers.len() != 3 + usize::from(keeps_best) || numbers.iter().any(|numbers| numbers.len() != length) {
            return;
        }
        self.run.note(format!("goes on after step {} of {}", cursor.step, self.steps));
        self.best = numbers.drain(3..).next();
        let (Some(second), Some(first)) = (numbers.pop(), numbers.pop()) else { return };
        self.learner.set(&numbers[0]);
        let weight_decay = self.settings.optimizer.weight_decay;
        self.optimizer = AdamW { first, second, steps: cursor.step, weight_decay };
        self.cursor = cursor;
    }

    /// Computes the largest micro-batch once and throws the result away, so that what does not fit is found before the
    /// first step; and says what the training is going to take.
    fn rehearse(&mut self, forecast: &Forecast) -> Result<(), NodeError> {
        let batch = &forecast.work.largest;
        if batch.tokens() == 0 || self.cursor.step >= self.steps {
            return Ok(());
        }
        let share_left = 1.0 - self.cursor.step as f64 / self.steps.max(1) as f64;
        let seconds = forecast.seconds().map(|seconds| seconds.steps * share_left);
        self.run.progress(0, Some(self.steps), "steps", "rehearsing the longest micro-batch");
        let plain = GradientStep::new(1.0, self.activations);
        let step = GradientStep { dropout: self.dropout(), noise: self.noise(), ..plain };
        let begun = Instant::now();
        self.learner.loss_and_gradient(batch, &step, &mut self.gradient)?;
        let took = begun.elapsed().as_secs_f64();
        let peak = clock::peak_memory().unwrap_or_default();
        self.run.note(format!(
            "{} steps{}{}; the longest micro-batch, {} tokens, took {took:.1} s; memory {} of {} forecast",
            self.steps - self.cursor.step,
            seconds.map(in_about).unwrap_or_default(),
            forecast::how(&forecast.choice),
            batch.tokens(),
            human(peak),
            human(forecast.choice.needs.total()),
        ));
        if peak > forecast::memory(self.run) && self.activations != Activations::Recomputed {
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
        let limit = self.settings.training.micro_batch_tokens;
        let batches = epoch.micro_batches(self.rows, self.cursor.step_in_epoch, limit);
        let trained: usize = batches.iter().map(Batch::trained_tokens).sum();
        self.gradient.par_chunks_mut(CLEARED).for_each(|part| part.fill(0.0));
        let plain = GradientStep::new(1.0 / trained as f32, self.activations);
        let label_smoothing = self.settings.optimizer.label_smoothing as f32;
        let step = GradientStep { dropout: self.dropout(), noise: self.noise(), label_smoothing, ..plain };
        let mut loss = 0.0;
        for batch in &batches {
            loss += self.learner.loss_and_gradient(batch, &step, &mut self.gradient)?;
        }
        let rate = self.settings.optimizer.rate(self.cursor.step, self.steps);
        let norm = clip(&mut self.gradient, self.settings.optimizer.max_grad_norm);
        let mean = loss / trained as f64;
        let all = self.rows;
        let ids = epoch.step(self.cursor.step_in_epoch).map(|(_, row)| all[row].id.as_str()).collect();
        let watched = Watched { step: self.cursor.step + 1, loss: mean, norm, rate, rows: ids };
        self.cursor.watch.check(&watched, self.settings.training.divergence)?;
        self.optimizer.step(self.learner.parts(self.settings), &self.gradient, rate);
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
        let loss = self.held_out.loss(self.run, |batch| self.learner.loss(batch))?;
        let is_best = self.cursor.standing.take(step, loss, self.settings.training.patience);
        if is_best && self.settings.training.keep == Keep::Best {
            // Never two of them: all weights may be what is kept.
            drop(self.best.take());
            self.best = Some(self.learner.numbers().concat());
        }
        self.line(&json!({"step": step, "eval-loss": loss}));
        for question in &self.questions {
            let limit = self.settings.training.sample_tokens;
            let answer = samples::answer(self.run, self.reader, &self.learner, question, limit)?;
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
        let rate = self.settings.adapter.as_ref().map_or(0.0, |adapter| adapter.dropout) as f32;
        (rate > 0.0).then_some(Dropout { rate, seed })
    }

    /// Returns the noise on the embeddings.
    fn noise(&self) -> Option<Noise> {
        let seed = random::mix(&[self.settings.training.seed, random::name("noise")]);
        let alpha = self.settings.training.neftune_alpha as f32;
        (alpha > 0.0).then_some(Noise { alpha, seed })
    }

    /// Keeps the state.
    pub(super) fn save(&mut self) -> Result<(), NodeError> {
        let mut numbers = vec![self.learner.numbers(), vec![&self.optimizer.first], vec![&self.optimizer.second]];
        numbers.extend(self.best.as_deref().map(|best| vec![best]));
        self.trail.save(&self.cursor, &numbers)
    }
}
