//! What a training changes, with the model that computes it.

use super::error::TrainError;
use super::settings::Settings;
use super::{adapter, warm::Warm};
use crate::model::ModelError;
use crate::model::config::ModelConfig;
use crate::model::lora::{Adapter, Module};
use crate::model::optimizer::Part;
use crate::model::transformer::{Backend, Batch, GradientStep, GrowingText, Transformer, WholeModel};
use crate::model::weights::{self, Base, Storage, WeightFiles};
use crate::node::{Device, NodeError, Run};

/// What a training changes.
#[derive(Debug)]
pub(super) enum Learner {
    /// An adapter, beside a frozen base model.
    Adapter {
        /// The base model.
        model: Backend,
        adapter: Adapter,
    },
    /// All weights.
    Whole(Box<WholeModel>),
}

impl Learner {
    /// Reads the model, which `place` brings to its device where it is frozen, and makes what the first step changes.
    pub(super) fn new(
        run: &Run<'_>,
        base: Base,
        (settings, storage): (&Settings, Storage),
        warm: Option<&Warm>,
        place: impl FnOnce(Transformer) -> Result<Backend, ModelError>,
    ) -> Result<Self, NodeError> {
        let config = base.config().clone();
        let told = |blocks| run.progress(blocks as u64, Some(config.layers as u64), "blocks", "reading the base model");
        let Some(kind) = &settings.adapter else { return Ok(Self::Whole(Box::new(WholeModel::load(&base, told)?))) };
        let model = Transformer::load(&base, storage, told)?;
        drop(base);
        let weight = |layer, projection| model.weight(layer, projection);
        let fresh =
            Adapter::new(&config, &adapter::lora(kind), settings.training.seed, weight).map_err(ModelError::from)?;
        let adapter = match warm {
            None => fresh,
            Some(warm) => {
                warm.check(run, &fresh)?;
                warm.adapter.clone()
            }
        };
        Ok(Self::Adapter { model: place(model)?, adapter })
    }

    /// Returns how many numbers a gradient has.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Adapter { adapter, .. } => adapter.parameters().len(),
            Self::Whole(model) => model.numbers(),
        }
    }

    /// Returns all numbers that are trained, in the order of the gradient.
    pub(super) fn numbers(&self) -> Vec<&[f32]> {
        match self {
            Self::Adapter { adapter, .. } => vec![adapter.parameters()],
            Self::Whole(model) => model.tensors().iter().map(|tensor| tensor.numbers).collect(),
        }
    }

    /// Takes other numbers, as many as [`Self::len`] says.
    pub(super) fn set(&mut self, numbers: &[f32]) {
        match self {
            Self::Adapter { adapter, .. } => adapter.parameters_mut().copy_from_slice(numbers),
            Self::Whole(model) => model.set(numbers),
        }
    }

    /// Returns all that is trained in parts, to be changed by a step.
    pub(super) fn parts(&mut self, settings: &Settings) -> Vec<Part<'_>> {
        match self {
            Self::Adapter { adapter, .. } => {
                adapter.parts(settings.adapter.as_ref().map_or(1.0, |adapter| adapter.loraplus_ratio))
            }
            Self::Whole(model) => model.parts(),
        }
    }

    /// Returns the summed loss of the trained tokens of `batch`.
    pub(super) fn loss(&self, batch: &Batch) -> Result<f64, ModelError> {
        match self {
            Self::Adapter { model, adapter } => model.loss(Some(adapter), batch),
            Self::Whole(model) => model.model().loss(None, batch),
        }
    }

    /// Returns the base model, where it is as it was.
    pub(super) fn base(&self) -> Option<&Backend> {
        match self {
            Self::Adapter { model, .. } => Some(model),
            Self::Whole(_) => None,
        }
    }

    /// Returns the summed loss, and adds its gradient, times the step's weight, to `gradient`.
    pub(super) fn loss_and_gradient(
        &self,
        batch: &Batch,
        step: &GradientStep,
        gradient: &mut [f32],
    ) -> Result<f64, ModelError> {
        match self {
            Self::Adapter { model, adapter } => model.loss_and_gradient(adapter, batch, step, gradient),
            Self::Whole(model) => model.loss_and_gradient(batch, step, gradient),
        }
    }

    /// Returns a text that begins with some tokens, to go on with.
    pub(super) fn text(&self, ids: &[u32]) -> GrowingText<'_> {
        match self {
            Self::Adapter { model, adapter } => model.text(Some(adapter), ids),
            Self::Whole(model) => model.model().text(None, ids),
        }
    }
}

/// Refuses a base or a device with which all weights cannot be trained.
pub(super) fn check(settings: &Settings, files: &WeightFiles, device: Device) -> Result<(), TrainError> {
    match (&settings.adapter, files, device) {
        (Some(_), ..) | (None, WeightFiles::Folder(_), Device::Cpu) => Ok(()),
        (None, _, device @ Device::Cuda(_)) => Err(TrainError::WholeOnDevice { device }),
        (None, WeightFiles::Gguf(_), Device::Cpu) => Err(TrainError::WholeGguf),
    }
}

/// Returns how many parameters are trained.
///
/// # Errors
/// What the settings name and the base model does not have.
pub(super) fn parameters(config: &ModelConfig, settings: &Settings) -> Result<usize, ModelError> {
    let Some(kind) = &settings.adapter else { return Ok(weights::parameters(config)) };
    Ok(adapter::lora(kind).modules(config)?.iter().map(Module::numbers).sum())
}
