//! The transformer in candle's own operations, on any device: the same recipe as the fused path's.
//!
//! Candle keeps the graph of one block at a time: blocks run forward without one, and the backward pass computes each
//! block again from its input, from the last to the first that is trained. Frozen weights are dequantised for one block
//! at a time; they have no gradients. On a GPU products are of 16 bits (bfloat16) with sums of 32, and what an adapter
//! adds to one is added as it is; all else is of 32.
//! Embeddings stay in the host's memory; parameters and gradients go there and back with each micro-batch, all at once.

mod attention;
mod block;
mod frozen;
mod head;
mod linear;
mod weight;

use candle_core::{DType, Tensor, Var};

use super::super::lora::{Adapter, Module, Projection};
use super::super::weights::Matrix;
use super::super::{Device, ModelError, Result};
use super::head::Objective;
use super::{Activations, Batch, Dropout, GradientStep, Noise, Transformer, embedded};
use attention::Attention;
use block::{Block, BlockGraph, found, rms_norm};
use frozen::times;
use weight::Weight;

/// The frozen base model on a device.
#[derive(Debug)]
pub struct Portable {
    name: Device,
    device: candle_core::Device,
    /// What products are computed in.
    numbers: DType,
    /// In the host's memory.
    embedding: Matrix,
    blocks: Vec<Block>,
    norm: Tensor,
    head: Weight,
    epsilon: f64,
    frequencies: Vec<f64>,
}

/// What is kept of a block for its backward pass.
enum Saved {
    Graph(BlockGraph),
    Input(Tensor),
}

/// An adapter, and its parameters on the device, one after the other.
struct OnDevice<'a> {
    adapter: &'a Adapter,
    parameters: Tensor,
}

/// What all blocks of one computation share.
struct Pass<'a> {
    adapter: Option<OnDevice<'a>>,
    batch: &'a Batch,
    dropout: Option<Dropout>,
    attention: Attention,
    /// `tokens × 1 × pairs of features`.
    cosines: Tensor,
    sines: Tensor,
    epsilon: f64,
    numbers: DType,
    device: candle_core::Device,
}

impl Portable {
    /// Brings a model to a device, block after block.
    ///
    /// # Errors
    /// [`ModelError::NoCuda`] or [`ModelError::Device`].
    pub fn new(model: Transformer, device: Device) -> Result<Self> {
        // Most GPUs multiply numbers of 16 bits many times faster; the CPU converts them first.
        let numbers = if device == Device::Cpu { DType::F32 } else { DType::BF16 };
        Self::with_numbers(model, device, numbers)
    }

    /// Brings a model to a device where products are computed in `numbers`, of 32 or of 16 bits.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_numbers(model: Transformer, name: Device, numbers: DType) -> Result<Self> {
        let device = name.open()?;
        let told = |cause| ModelError::Device { device: name, cause: Box::new(cause) };
        let Transformer { embedding, blocks, norm, head, epsilon, frequencies, .. } = model;
        let head = Weight::new(head.as_ref().unwrap_or(&embedding), numbers, &device).map_err(told)?;
        let blocks = blocks.into_iter().map(|block| Block::new(block, numbers, &device));
        let blocks = blocks.collect::<candle_core::Result<_>>().map_err(told)?;
        let norm = Tensor::from_slice(&norm, norm.len(), &device).map_err(told)?;
        Ok(Self { name, device, numbers, embedding, blocks, norm, head, epsilon: f64::from(epsilon), frequencies })
    }

    /// Returns the summed negative log-likelihood, in nats, of the trained tokens of `batch`.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] for a token outside the vocabulary, [`ModelError::Device`].
    pub fn loss(&self, adapter: Option<&Adapter>, batch: &Batch) -> Result<f64> {
        if batch.trained_tokens() == 0 {
            return Ok(0.0);
        }
        let x = self.embedded(batch, None)?;
        self.told(self.loss_of(adapter, batch, x))
    }

    /// Returns the summed negative log-likelihood, with the step's noise and smoothing, and adds the gradient of `weight`
    /// times it to `gradient`, which has one number for each of the adapter's parameters. Whatever
    /// [`Activations::Within`] allows, blocks are computed again: their graphs are larger than the fused path's states.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] for a token outside the vocabulary, [`ModelError::Device`].
    pub fn loss_and_gradient(
        &self,
        adapter: &Adapter,
        batch: &Batch,
        step: &GradientStep,
        gradient: &mut [f32],
    ) -> Result<f64> {
        if batch.trained_tokens() == 0 {
            return Ok(0.0);
        }
        let x = self.embedded(batch, step.noise)?;
        self.told(self.gradient_of(adapter, batch, step, x, gradient))
    }

    /// Returns the logits after each token of `batch`, token after token: for comparisons.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] for a token outside the vocabulary, [`ModelError::Device`].
    pub fn logits(&self, adapter: Option<&Adapter>, batch: &Batch) -> Result<Vec<Vec<f32>>> {
        self.logits_after(adapter, batch, &(0..batch.tokens()).collect::<Vec<_>>())
    }

    /// Returns the logits after the last token of `batch`; none where there is none.
    pub(super) fn last_logits(&self, adapter: Option<&Adapter>, batch: &Batch) -> Result<Vec<f32>> {
        let last = batch.tokens().checked_sub(1);
        Ok(self.logits_after(adapter, batch, last.as_slice())?.pop().unwrap_or_default())
    }

    fn logits_after(&self, adapter: Option<&Adapter>, batch: &Batch, tokens: &[usize]) -> Result<Vec<Vec<f32>>> {
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let x = self.embedded(batch, None)?;
        self.told(self.logits_of(adapter, batch, tokens, x))
    }

    fn loss_of(&self, adapter: Option<&Adapter>, batch: &Batch, x: Tensor) -> candle_core::Result<f64> {
        let pass = self.pass(adapter, batch, None)?;
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward(&pass, &x))?;
        let (targets, positions) = batch.targets();
        let last = rms_norm(&x.index_select(&self.places(positions)?, 0)?, &self.norm, self.epsilon)?;
        Ok(head::loss(&self.head.numbers(self.numbers)?, &last, targets, None)?.0)
    }

    fn logits_of(
        &self,
        adapter: Option<&Adapter>,
        batch: &Batch,
        tokens: &[usize],
        x: Tensor,
    ) -> candle_core::Result<Vec<Vec<f32>>> {
        let pass = self.pass(adapter, batch, None)?;
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward(&pass, &x))?;
        let last = rms_norm(&x.index_select(&self.places(tokens)?, 0)?, &self.norm, self.epsilon)?;
        head::logits(&self.head.numbers(self.numbers)?, &last)?.to_vec2()
    }

    fn gradient_of(
        &self,
        adapter: &Adapter,
        batch: &Batch,
        step: &GradientStep,
        mut x: Tensor,
        gradient: &mut [f32],
    ) -> candle_core::Result<f64> {
        let pass = self.pass(Some(adapter), batch, step.dropout)?;
        // What is below the first trained block needs no gradient.
        let first = adapter.modules().first().map_or(self.blocks.len(), |module| module.layer);
        let mut saved = Vec::with_capacity(self.blocks.len());
        for (layer, block) in self.blocks.iter().enumerate() {
            let next = if layer < first {
                block.forward(&pass, &x)?
            } else if step.activations == Activations::Kept {
                let graph = block.graph(&pass, &x)?;
                let next = graph.output();
                saved.push(Saved::Graph(graph));
                next
            } else {
                saved.push(Saved::Input(x.clone()));
                block.forward(&pass, &x)?
            };
            x = next;
        }
        let (loss, mut back) = self.head_and_back(batch, step, &x)?;
        drop(x);
        // It is fetched at the end: each fetch waits until the device has nothing left to do.
        let own = Tensor::zeros(gradient.len(), DType::F32, &self.device)?;
        for block in self.blocks.iter().rev() {
            let graph = match saved.pop() {
                None => break,
                Some(Saved::Graph(graph)) => graph,
                Some(Saved::Input(input)) => block.graph(&pass, &input)?,
            };
            back = block.backward(&pass, graph, &back, &own)?;
        }
        gradient.iter_mut().zip(own.to_vec1::<f32>()?).for_each(|(sum, number)| *sum += number);
        Ok(loss)
    }

    /// Returns the loss, and the gradient of the last block's output.
    fn head_and_back(&self, batch: &Batch, step: &GradientStep, x: &Tensor) -> candle_core::Result<(f64, Tensor)> {
        let (targets, positions) = batch.targets();
        let places = self.places(positions)?;
        let gathered = Var::from_tensor(&x.index_select(&places, 0)?)?;
        let last = rms_norm(&gathered, &self.norm, self.epsilon)?;
        let objective = Objective { weight: step.weight, label_smoothing: step.label_smoothing };
        let head = self.head.numbers(self.numbers)?;
        let (loss, back) = head::loss(&head, &last.detach(), targets, Some(objective))?;
        let back = back.unwrap_or(last.zeros_like()?);
        let gradients = times(&last, &back)?.sum_all()?.backward()?;
        Ok((loss, x.zeros_like()?.index_add(&places, found(&gradients, &gathered)?, 0)?))
    }

    /// Returns the embeddings of a batch's tokens on the device.
    fn embedded(&self, batch: &Batch, noise: Option<Noise>) -> Result<Tensor> {
        let mut numbers = Vec::with_capacity(batch.tokens() * self.embedding.columns());
        for token in 0..batch.tokens() {
            numbers.extend(embedded(&self.embedding, batch, token, noise)?);
        }
        self.told(Tensor::from_vec(numbers, (batch.tokens(), self.embedding.columns()), &self.device))
    }

    fn places(&self, positions: &[usize]) -> candle_core::Result<Tensor> {
        let places: Vec<u32> = positions.iter().map(|position| *position as u32).collect();
        Tensor::from_vec(places, positions.len(), &self.device)
    }

    fn pass<'a>(
        &self,
        adapter: Option<&'a Adapter>,
        batch: &'a Batch,
        dropout: Option<Dropout>,
    ) -> candle_core::Result<Pass<'a>> {
        let angles = (0..batch.tokens()).flat_map(|token| {
            let position = batch.position(token) as f64;
            self.frequencies.iter().map(move |frequency| (frequency * position).sin_cos())
        });
        let (sines, cosines): (Vec<f32>, Vec<f32>) = angles.map(|(sine, cosine)| (sine as f32, cosine as f32)).unzip();
        let tensor = |numbers| Tensor::from_vec(numbers, (batch.tokens(), 1, self.frequencies.len()), &self.device);
        let adapter = adapter.map(|adapter| {
            let parameters = Tensor::from_slice(adapter.parameters(), adapter.parameters().len(), &self.device)?;
            candle_core::Result::Ok(OnDevice { adapter, parameters })
        });
        Ok(Pass {
            adapter: adapter.transpose()?,
            batch,
            dropout,
            attention: Attention::new(batch, self.numbers, &self.device)?,
            cosines: tensor(cosines)?,
            sines: tensor(sines)?,
            epsilon: self.epsilon,
            numbers: self.numbers,
            device: self.device.clone(),
        })
    }

    /// Names the device in an error.
    fn told<T>(&self, result: candle_core::Result<T>) -> Result<T> {
        result.map_err(|cause| ModelError::Device { device: self.name, cause: Box::new(cause) })
    }
}

impl Pass<'_> {
    /// Returns the adapter and its module for a projection, if it is trained.
    fn module(&self, layer: usize, projection: Projection) -> Option<(&OnDevice<'_>, &Module)> {
        let given = self.adapter.as_ref()?;
        Some((given, &given.adapter.modules()[given.adapter.index(layer, projection)?]))
    }

    /// Turns heads by their tokens' positions.
    fn turned(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        block::turned(x, &self.cosines, &self.sines)
    }
}
