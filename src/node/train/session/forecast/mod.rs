//! What a training is going to take, and how it is done within the memory that there is.
//!
//! ```text
//! rows ─→ sample ─→ work: what is computed ──────────┐
//! base model ─→ speed: what that takes here ─────────┴─→ seconds
//!               memory: how it fits, or what would fit
//! ```

mod memory;
mod sample;
mod speed;
mod ways_out;
mod work;

use super::inputs::{self, Reader};
use super::settings::{Keep, Settings};
use super::warm::Warm;
use super::{Method, adapter, training};
use crate::model::ModelError;
use crate::model::config::ModelConfig;
use crate::model::weights::{Base, Storage, WeightFiles};
use crate::node::{Cost, Device, NodeError, Run};
use memory::{Beside, Shape};
use speed::KnownSpeed;
use work::{Seconds, Work};

pub(super) use memory::{Choice, human};
pub(super) use sample::Sample;

/// What a run assumes to have when no limit is known, in bytes.
const USUAL_MEMORY: u64 = 8 << 30;

/// What a training is going to take, and how it is done.
#[derive(Debug)]
pub(super) struct Forecast {
    pub(super) work: Work,
    pub(super) choice: Choice,
    config: ModelConfig,
    parameters: usize,
    is_beside: bool,
    /// Known of the CPU alone.
    speed: Option<KnownSpeed>,
}

impl Forecast {
    /// Makes it from the rows, or some that stand for them. To be called on the threads that train.
    ///
    /// # Errors
    /// [`super::error::TrainError::Memory`] when it does not fit; those of a base that cannot be read.
    pub(super) fn new(
        run: &Run<'_>,
        base: &Base,
        settings: &Settings,
        training: &Sample<'_>,
        held_out: &Sample<'_>,
    ) -> Result<Self, NodeError> {
        let config = base.config();
        let work = Work::of(&settings.training, training, held_out);
        let kind = settings.adapter.as_ref();
        let beside = kind.map(|kind| Beside::new(config, adapter::lora(kind), kind.dropout > 0.0)).transpose();
        let shape = Shape {
            config,
            stored: stored_bytes(&run.weight_files()?)?,
            beside: beside.map_err(ModelError::from)?,
            tokens: work.largest.tokens(),
            trained: work.largest.trained_tokens(),
            all_tokens: (training.tokens + held_out.tokens) as usize,
            copies: usize::from(settings.training.keep == Keep::Best),
            on_gpu: run.grant().device != Device::Cpu,
        };
        let choice = shape.choose(memory(run))?;
        let on_cpu = run.grant().device == Device::Cpu;
        let speed = on_cpu.then(|| KnownSpeed::of(run, base, choice.storage, settings)).transpose()?;
        let parameters = shape.parameters();
        Ok(Self { work, choice, config: config.clone(), parameters, is_beside: kind.is_some(), speed })
    }

    /// Returns the seconds that it takes.
    pub(super) fn seconds(&self) -> Option<Seconds> {
        let speed = self.speed.as_ref()?;
        let model = (&self.config, &self.choice.passes);
        let memory = (self.parameters, self.choice.needs.beside_weights());
        let measured = self.work.seconds(speed.measured(), model, memory);
        Some(Seconds { steps: speed.correction() * measured.steps, ..measured })
    }

    /// Returns the floating-point operations of a second that a matrix product reaches here.
    pub(super) fn peak(&self) -> Option<f64> {
        Some(self.speed.as_ref()?.measured().peak)
    }

    /// Returns the floating-point operations of training a token, on average.
    pub(super) fn flops_per_token(&self) -> f64 {
        self.work.flops_per_token(&self.config, &self.choice.passes, self.is_beside.then_some(self.parameters))
    }

    /// Notes what so many tokens of it took.
    pub(super) fn correct(&self, run: &Run<'_>, (took, tokens): (f64, usize)) -> Result<(), NodeError> {
        match (&self.speed, self.seconds()) {
            (Some(speed), Some(seconds)) if self.work.training.tokens > 0.0 => {
                speed.correct(run, seconds.steps * tokens as f64 / self.work.training.tokens, took)
            }
            _ => Ok(()),
        }
    }
}

/// Returns the memory that a run may use.
pub(super) fn memory(run: &Run<'_>) -> u64 {
    run.grant().memory.unwrap_or(USUAL_MEMORY)
}

/// Returns the bytes of a base's tensors as its files have them.
fn stored_bytes(files: &WeightFiles) -> Result<u64, ModelError> {
    let tensors: Vec<_> = match files {
        WeightFiles::Gguf(path) => vec![path],
        WeightFiles::Folder(files) => {
            files.iter().filter(|(name, _)| name.ends_with(".safetensors")).map(|(_, path)| path).collect()
        }
    };
    tensors.into_iter().map(|path| Ok(fs_err::metadata(path)?.len())).sum()
}

/// Returns what a run is going to take; nothing when that is not known.
///
/// # Errors
/// What would end it before the first step, as far as it is found within seconds.
pub(in super::super) fn cost(run: &Run<'_>, method: Method) -> Result<Option<Cost>, NodeError> {
    let settings = training::settings(run, method)?;
    let base = Base::open(&run.weight_files()?)?;
    let reader = Reader::new(&base, &settings)?;
    let warm = Warm::of(run, &settings, base.config())?;
    let (training, held_out) = inputs::parted(run, &settings)?;
    let training = Sample::of(run, &reader, &training, warm.as_ref())?;
    let held_out = Sample::of(run, &reader, &held_out, None)?;
    if training.is_empty() && (warm.is_none() || held_out.is_empty()) {
        return Ok(None);
    }
    let forecast = training::threads(run)?.install(|| Forecast::new(run, &base, &settings, &training, &held_out))?;
    let Some(seconds) = forecast.seconds() else { return Ok(None) };
    let (seconds, tokens) = (seconds.total(), forecast.work.training.tokens);
    Ok(Some(Cost {
        seconds: seconds.ceil() as u64,
        memory: forecast.choice.needs.total(),
        note: format!(
            "{:.0} steps over some {tokens:.0} tokens at {:.0} tokens/s{}",
            forecast.work.steps,
            tokens / seconds.max(1e-9),
            how(&forecast.choice)
        ),
    }))
}

/// Says what memory made necessary.
pub(super) fn how(choice: &Choice) -> String {
    let weights = match choice.storage {
        Storage::Dense => None,
        Storage::AsStored => Some("weights decoded at each use".to_owned()),
    };
    let all = choice.passes.trained + choice.passes.frozen;
    let again = match choice.passes.again {
        0 => None,
        again if again == all => Some("activations computed again".to_owned()),
        again => Some(format!("activations computed again in {again} of {all} blocks")),
    };
    let made: Vec<String> = weights.into_iter().chain(again).collect();
    if made.is_empty() { String::new() } else { format!(", {} to save memory", made.join(" and ")) }
}
