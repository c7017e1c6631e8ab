//! The two ways of computing a training, and which device takes which.

use super::super::lora::Adapter;
use super::super::{Device, Result};
use super::{Batch, GradientStep, GrowingText, Portable, Transformer};

/// A frozen base model where it is computed.
#[derive(Debug)]
pub enum Backend {
    /// On the CPU: our own kernels with a backward pass written by hand.
    Fused(Box<Transformer>),
    /// On a GPU: candle's operations and their graph.
    Portable(Box<Portable>),
}

impl Backend {
    /// Brings a model to its device.
    ///
    /// # Errors
    /// A device that the program was not built for, that is not there, or whose memory is too small.
    pub fn new(model: Transformer, device: Device) -> Result<Self> {
        match device {
            Device::Cpu => Ok(Self::Fused(Box::new(model))),
            Device::Cuda(_) => Ok(Self::Portable(Box::new(Portable::new(model, device)?))),
        }
    }

    /// Returns the summed negative log-likelihood, in nats, of the trained tokens of `batch`.
    ///
    /// # Errors
    /// A token outside the vocabulary; a device that fails.
    pub fn loss(&self, adapter: Option<&Adapter>, batch: &Batch) -> Result<f64> {
        match self {
            Self::Fused(model) => model.loss(adapter, batch),
            Self::Portable(model) => model.loss(adapter, batch),
        }
    }

    /// As [`Transformer::loss_and_gradient`].
    ///
    /// # Errors
    /// A token outside the vocabulary; a device that fails.
    pub fn loss_and_gradient(
        &self,
        adapter: &Adapter,
        batch: &Batch,
        step: &GradientStep,
        gradient: &mut [f32],
    ) -> Result<f64> {
        match self {
            Self::Fused(model) => model.loss_and_gradient(adapter, batch, step, gradient),
            Self::Portable(model) => model.loss_and_gradient(adapter, batch, step, gradient),
        }
    }

    /// Returns a text that begins with some tokens, to go on with.
    pub fn text<'a>(&'a self, adapter: Option<&'a Adapter>, ids: &[u32]) -> GrowingText<'a> {
        match self {
            Self::Fused(model) => model.text(adapter, ids),
            Self::Portable(model) => GrowingText::portable(model, adapter, ids),
        }
    }
}
