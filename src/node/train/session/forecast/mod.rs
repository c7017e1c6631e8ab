//! What a training is going to take: time and memory, from the base model, the rows and how fast this machine is.
//!
//! The speed is measured once for a base model and a number of threads, and kept outside of all keys. Each training then
//! corrects it by what it really took.

use serde::{Deserialize, Serialize};

use super::inputs::{self, Reader, Row};
use super::memory::{Beside, Choice, Shape};
use super::plan::{longest, micro_batches};
use super::settings::{AdapterSettings, Keep, LoopSettings, Settings};
use super::{Method, adapter, learner, training};
use crate::model::ModelError;
use crate::model::config::ModelConfig;
use crate::model::lora::{Adapter, LoraConfig, Module, TargetModules};
use crate::model::rows::TokenRow;
use crate::model::transformer::{MakeAdapter, Speed, Transformer};
use crate::model::weights::{Base, Storage, WeightFiles};
use crate::node::{Cost, Device, NodeError, Run};
use crate::record::{Record, RecordSet};
use crate::store::{Artifact, Digest};

/// What a run assumes to have when no limit is known, in bytes.
const USUAL_MEMORY: u64 = 8 << 30;
/// Rows of which a forecast reads the tokens.
const SAMPLED: usize = 200;
/// The longest of them, which memory depends on.
const LONGEST: usize = 8;
/// A training of fewer seconds says nothing about the speed.
const TELLING: f64 = 10.0;
/// A correction beyond this is of a machine that did something else meanwhile.
const CORRECTIONS: (f64, f64) = (0.5, 2.5);

/// How much a training computes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Work {
    /// Steps of all epochs.
    steps: f64,
    /// Micro-batches of all epochs.
    micro_batches: f64,
    /// Their tokens.
    pub(super) tokens: f64,
    /// Their trained tokens.
    trained: f64,
    /// Tokens and trained tokens of the longest micro-batch, which is rehearsed.
    longest: (f64, f64),
    /// Evaluations.
    evaluations: f64,
    /// Tokens, trained tokens and micro-batches of one.
    held_out: (f64, f64, f64),
    /// Tokens that a generated answer computes, over all samples and evaluations.
    sampled: f64,
}

impl Work {
    /// Counts the work of some of the rows, which stand for `scale` times as many.
    pub(super) fn of(settings: &LoopSettings, rows: &[Row], held_out: &[Row], scales: (f64, f64)) -> Self {
        let epochs = settings.epochs as f64;
        let sum = |rows: &[Row], number: fn(&Row) -> usize| {
            rows.iter().map(|row| number(row) as f64 * row.weight).sum::<f64>()
        };
        let appearances: f64 = rows.iter().map(|row| row.weight).sum();
        let tokens = |row: &Row| row.tokens.ids.len();
        let trained = |row: &Row| row.tokens.trained_tokens();
        let scale = scales.0 * epochs;
        let steps = (appearances * scale / settings.batch_size as f64).ceil();
        let per_step = parts_of(settings, rows);
        let longest = longest(rows, settings);
        let of_longest = |number: fn(&Row) -> usize| longest.iter().map(|row| number(row)).sum::<usize>() as f64;
        let evaluations = match (settings.eval.is_some(), settings.eval_steps) {
            (false, _) => 0.0,
            (true, None) => 1.0 + epochs,
            (true, Some(every)) => 1.0 + (steps / every as f64).ceil(),
        };
        let once: f64 = held_out.iter().map(|row| tokens(row) as f64).sum::<f64>() * scales.1;
        let once_trained: f64 = held_out.iter().map(|row| trained(row) as f64).sum::<f64>() * scales.1;
        let prompt = if held_out.is_empty() { 0.0 } else { once / scales.1 / held_out.len() as f64 };
        let answers = settings.samples as f64 * evaluations * settings.sample_tokens as f64;
        Self {
            steps,
            micro_batches: steps * per_step,
            tokens: sum(rows, tokens) * scale,
            trained: sum(rows, trained) * scale,
            longest: (of_longest(tokens), of_longest(trained)),
            evaluations,
            held_out: (once, once_trained, (once / settings.micro_batch_tokens as f64).ceil()),
            sampled: answers * (prompt + settings.sample_tokens as f64 / 2.0),
        }
    }

    /// Returns the mean trained share of the tokens.
    fn trained_share(&self) -> f64 {
        if self.tokens > 0.0 { self.trained / self.tokens } else { 0.0 }
    }

    /// Returns the seconds that it takes when so many blocks are computed again.
    pub(super) fn seconds(&self, speed: &Speed, config: &ModelConfig, parameters: usize, again: usize) -> f64 {
        let parts = self.micro_batches.max(1.0);
        let training = parts * speed.micro_batch(config.layers, again, (self.tokens / parts, self.trained / parts));
        let optimizer = self.steps * parameters as f64 * speed.parameter * 1.5;
        let (tokens, trained, parts) = self.held_out;
        let forward = |tokens: f64, trained: f64, parts: f64| {
            let parts = parts.max(1.0);
            let whole = speed.micro_batch(config.layers, 0, (tokens / parts, trained / parts));
            parts * whole * speed.forward
        };
        let evaluating = self.evaluations * forward(tokens, trained, parts);
        let sampling = if self.sampled > 0.0 { forward(self.sampled, self.sampled, 1.0) } else { 0.0 };
        let rehearsal = speed.micro_batch(config.layers, again, self.longest);
        if self.tokens == 0.0 { evaluating } else { training + rehearsal + optimizer + evaluating + sampling }
    }

    /// Returns the floating-point operations that training one token takes (4 for each frozen weight, 6 for each trained
    /// one, attention over half a row, and the output projection for the trained share), from the parameters of the adapter;
    /// without one all weights are trained.
    pub(super) fn flops_per_token(&self, config: &ModelConfig, adapter: Option<usize>, row_tokens: f64) -> f64 {
        let attention = 6.0 * row_tokens * (config.layers * config.heads * config.head_dim) as f64;
        let head = (config.vocabulary * config.hidden) as f64 * self.trained_share();
        let a_weight = if adapter.is_some() { 4.0 } else { 6.0 };
        a_weight * (config.block_weights() as f64 + head) + 6.0 * adapter.unwrap_or(0) as f64 + attention
    }
}

/// Returns the micro-batches of a step, on average over some steps of neighbouring rows.
fn parts_of(settings: &LoopSettings, rows: &[Row]) -> f64 {
    let steps: Vec<usize> = rows
        .chunks(settings.batch_size)
        .filter(|step| step.len() == settings.batch_size.min(rows.len()))
        .take(100)
        .map(|step| micro_batches(step.iter().map(|row| (0, row)).collect(), settings.micro_batch_tokens).len())
        .collect();
    if steps.is_empty() { 1.0 } else { steps.iter().sum::<usize>() as f64 / steps.len() as f64 }
}

/// Returns the memory that a run may use.
pub(super) fn memory(run: &Run<'_>) -> u64 {
    run.grant().memory.unwrap_or(USUAL_MEMORY)
}

/// Returns how the training is done within the memory that there is.
///
/// # Errors
/// [`super::error::TrainError::Memory`] when it does not fit.
pub(super) fn choose(
    run: &Run<'_>,
    base: &Base,
    settings: &Settings,
    (rows, all_tokens, parameters): (&[Row], usize, usize),
) -> Result<Choice, NodeError> {
    let (largest, a_step) = (longest(rows, &settings.training), longest_step(rows, &settings.training));
    let sum = |number: fn(&TokenRow) -> usize| largest.iter().map(|row| number(&row.tokens)).sum::<usize>();
    // Other rows may fill a micro-batch better than the longest do.
    let tokens = sum(|row| row.ids.len()).max(a_step.min(settings.training.micro_batch_tokens));
    let file = match run.weight_files()? {
        WeightFiles::Gguf(path) => Some(fs_err::metadata(path).map_err(ModelError::from)?.len()),
        WeightFiles::Folder(_) => None,
    };
    let shape = Shape {
        config: base.config(),
        file,
        parameters,
        beside: settings.adapter.as_ref().map(|adapter| beside(base.config(), adapter)).transpose()?,
        tokens,
        trained: sum(TokenRow::trained_tokens),
        all_tokens,
        copies: usize::from(settings.training.keep == Keep::Best),
        on_gpu: run.grant().device != Device::Cpu,
    };
    Ok(shape.choose(memory(run))?)
}

/// Returns what memory depends on of an adapter.
fn beside(config: &ModelConfig, settings: &AdapterSettings) -> Result<Beside, ModelError> {
    let modules = adapter::lora(settings).modules(config)?;
    let of = |layer| modules.iter().filter(|module| module.layer == layer).map(Module::kept_features).sum();
    let adapted = (0..config.layers).map(of).max().unwrap_or(0);
    Ok(Beside { rank: settings.rank, adapted, has_dropout: settings.dropout > 0.0 })
}

/// Returns the tokens of the longest rows that a step can have.
fn longest_step(rows: &[Row], settings: &LoopSettings) -> usize {
    let mut lengths: Vec<usize> = rows.iter().map(|row| row.tokens.ids.len()).collect();
    lengths.sort_unstable();
    lengths.iter().rev().take(settings.batch_size).sum()
}

/// What is known of the speed of this machine with one base model.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct KnownSpeed {
    pub(super) speed: Speed,
    /// What trainings took over what was forecast.
    correction: f64,
}

impl KnownSpeed {
    /// Returns what is known, or measures it.
    pub(super) fn of(
        run: &Run<'_>,
        base: &Base,
        storage: Storage,
        settings: &Settings,
        rows: &[Row],
    ) -> Result<Self, NodeError> {
        let name = name(run, base.config(), storage);
        if let Some(known) = run.store.state::<Self>(&name)? {
            return Ok(known);
        }
        run.progress(0, None, "", "measuring how fast this machine trains");
        // What is said of single blocks has no meaning in a part of the model.
        let like = settings.adapter.as_ref().map(|shape| {
            let like = LoraConfig { rank: shape.rank, dora: shape.dora, ..LoraConfig::default() };
            LoraConfig { targets: shape.targets.clone(), ..like }
        });
        let adapter = |config: &ModelConfig, model: &Transformer| -> Result<Adapter, ModelError> {
            let like = like.clone().unwrap_or_default();
            let all = LoraConfig { targets: TargetModules::AllLinear, ..like.clone() };
            let weight = |layer, projection| model.weight(layer, projection);
            let adapter = Adapter::new(config, &like, 0, weight);
            Ok(adapter.or_else(|_| Adapter::new(config, &all, 0, weight))?)
        };
        let make: Option<MakeAdapter<'_>> = if like.is_some() { Some(&adapter) } else { None };
        let known = Self { speed: Speed::measure(base, storage, make, &typical(rows))?, correction: 1.0 };
        run.store.put_state(&name, &known)?;
        Ok(known)
    }

    /// Returns the seconds of some work.
    pub(super) fn seconds(&self, work: &Work, config: &ModelConfig, parameters: usize, again: usize) -> f64 {
        self.correction * work.seconds(&self.speed, config, parameters, again)
    }

    /// Notes what a training took.
    pub(super) fn correct(
        mut self,
        run: &Run<'_>,
        config: &ModelConfig,
        storage: Storage,
        (forecast, took): (f64, f64),
    ) -> Result<(), NodeError> {
        if took > TELLING && forecast > 0.0 {
            self.correction = (self.correction * took / forecast).clamp(CORRECTIONS.0, CORRECTIONS.1);
            run.store.put_state(&name(run, config, storage), &self)?;
        }
        Ok(())
    }
}

/// Names a speed: the processor, the threads, the model's shape, and the program, whose kernels may be others.
fn name(run: &Run<'_>, config: &ModelConfig, storage: Storage) -> String {
    let text = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = text.lines().find(|line| line.starts_with("model name")).unwrap_or(std::env::consts::ARCH);
    let parts = format!(
        "{processor} {} {} {} {} {} {} {storage:?} {}",
        run.grant().threads,
        config.hidden,
        config.intermediate,
        config.vocabulary,
        config.heads,
        config.kv_heads,
        env!("CARGO_PKG_VERSION")
    );
    format!("{} speed {}", run.job.kind, Digest::of(parts.as_bytes()))
}

/// Returns a row of the mean length; the speed is measured with its like.
fn typical(rows: &[Row]) -> TokenRow {
    let mean = rows.iter().map(|row| row.tokens.ids.len()).sum::<usize>() / rows.len().max(1);
    let nearest = rows.iter().min_by_key(|row| row.tokens.ids.len().abs_diff(mean));
    nearest.map_or_else(|| TokenRow { ids: vec![0; 64], trained: vec![true; 64] }, |row| row.tokens.clone())
}

/// Returns what a run is going to take.
///
/// # Errors
/// What would end it before the first step, as far as it is found within seconds.
pub(in super::super) fn cost(run: &Run<'_>, method: Method) -> Result<Option<Cost>, NodeError> {
    let settings = training::settings(run, method)?;
    let base = Base::open(&run.weight_files()?)?;
    let reader = Reader::new(&base, &settings)?;
    let (training, held_out) = inputs::parted(run, &settings)?;
    let (rows, count) = sampled(run, &reader, &training)?;
    let (held_out, held_out_count) = sampled(run, &reader, &held_out)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let scale = |count: u64, rows: &[Row]| if rows.is_empty() { 0.0 } else { count as f64 / rows.len() as f64 };
    let scales = (scale(count, &rows), scale(held_out_count, &held_out).max(1.0));
    let work = Work::of(&settings.training, &rows, &held_out, scales);
    let all_tokens = (work.tokens / settings.training.epochs as f64) as usize;
    let parameters = learner::parameters(base.config(), &settings)?;
    let choice = choose(run, &base, &settings, (&rows, all_tokens, parameters))?;
    // The measurement is of the CPU's path.
    if run.grant().device != Device::Cpu {
        return Ok(None);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(run.grant().threads.max(1)).build();
    let pool = pool.map_err(ModelError::Threads)?;
    let speed = pool.install(|| KnownSpeed::of(run, &base, choice.storage, &settings, &rows))?;
    let seconds = speed.seconds(&work, base.config(), parameters, choice.again);
    Ok(Some(Cost {
        seconds: seconds.ceil() as u64,
        memory: choice.needs.total(),
        note: format!(
            "{:.0} steps over some {:.0} tokens at {:.0} tokens/s{}",
            work.steps,
            work.tokens,
            work.tokens / seconds.max(1e-9),
            how(&choice)
        ),
    }))
}

/// Says what memory made necessary.
pub(super) fn how(choice: &Choice) -> String {
    let weights = match choice.storage {
        Storage::Dense => None,
        Storage::AsStored => Some("weights dequantised at each use".to_owned()),
    };
    let all = choice.layers;
    let again = match choice.again {
        0 => None,
        again if again == all => Some("activations computed again".to_owned()),
        again => Some(format!("activations computed again in {again} of {all} blocks")),
    };
    let made: Vec<String> = weights.into_iter().chain(again).collect();
    if made.is_empty() { String::new() } else { format!(", {} to save memory", made.join(" and ")) }
}

/// Reads some rows of inputs, the longest among them, and the number of all rows.
fn sampled(
    run: &Run<'_>,
    reader: &Reader<'_>,
    inputs: &[&crate::node::JobInput],
) -> Result<(Vec<Row>, u64), NodeError> {
    let (mut rows, mut all) = (Vec::new(), 0);
    for input in inputs {
        let Artifact::Records(records) = &input.artifact else { continue };
        let set = RecordSet::open(run.store, records)?;
        let every = (set.count() as usize).div_ceil(SAMPLED).max(1);
        let mut longest: Vec<(usize, Record)> = Vec::new();
        for (place, line) in set.lines().enumerate() {
            let line = line?;
            let length = line.json().len();
            let is_long = longest.len() < LONGEST || longest.iter().any(|(other, _)| *other < length);
            if is_long {
                longest.push((length, line.record()?));
                longest.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
                longest.truncate(LONGEST);
            }
            if place.is_multiple_of(every) {
                rows.extend(row(reader, &line.record()?)?);
            }
        }
        all += set.count();
        // The longest are there for memory alone: their weight is nearly nothing, so that they do not count for time.
        for (_, record) in &longest {
            rows.extend(row(reader, record)?.map(|row| Row { weight: f64::MIN_POSITIVE, ..row }));
        }
    }
    let counted = rows.iter().filter(|row| row.weight > f64::MIN_POSITIVE).count().max(1);
    let scale = rows.len() as f64 / counted as f64;
    Ok((rows, (all as f64 * scale) as u64))
}

fn row(reader: &Reader<'_>, record: &Record) -> Result<Option<Row>, NodeError> {
    let Some(conversation) = record.conversation() else { return Ok(None) };
    Ok(reader.row(conversation)?.0)
}
