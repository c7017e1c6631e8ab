//! A Llama-family transformer on the CPU: its loss, and the loss's gradient with respect to a LoRA adapter.
//!
//! Forward and backward are written out by hand: no gradient of a frozen weight is ever computed, logits exist for 128
//! trained positions at a time, and a block's intermediate results are kept or computed again, as memory allows; the
//! numbers are the same bits either way. Rows of different lengths are laid end to end; none attends to another.

mod attention;
mod batch;
mod block;
mod head;
mod linear;
mod norm;
mod rope;

use std::ops::Range;

use super::config::ModelConfig;
use super::kernel::Panels;
use super::lora::{Adapter, Projection};
use super::weights::{Base, Matrix, Storage};
use super::{ModelError, Result};
use block::{Block, BlockState};

pub use batch::Batch;
pub use linear::Dropout;

/// Whether a block's intermediate results are kept for the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// They are kept: fastest.
    Kept,
    /// Only each block's input is kept; the rest is computed again.
    Recomputed,
}

/// The frozen base model.
#[derive(Debug)]
pub struct Transformer {
    embedding: Matrix,
    blocks: Vec<Block>,
    norm: Vec<f32>,
    /// Nothing when the output projection is the embedding table.
    head: Option<Matrix>,
    epsilon: f32,
    frequencies: Vec<f64>,
}

impl Transformer {
    /// Reads the base model's weights. `progress` is told each block that was read.
    ///
    /// # Errors
    /// [`ModelError`] when a tensor is absent, of another shape, or of a type that is not read.
    pub fn load(base: &Base, storage: Storage, mut progress: impl FnMut(usize)) -> Result<Self> {
        let config = base.config();
        let table = |name: &str| base.matrix(name, config.vocabulary, config.hidden, storage);
        let embedding = table("model.embed_tokens.weight")?;
        let head = if config.tied { None } else { Some(table("lm_head.weight")?) };
        let mut blocks = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            blocks.push(Block::load(base, layer, storage)?);
            progress(layer + 1);
        }
        Ok(Self {
            embedding,
            blocks,
            norm: base.vector("model.norm.weight", config.hidden)?,
            head,
            epsilon: config.rms_epsilon,
            frequencies: config.rope_frequencies.clone(),
        })
    }

    /// Returns the summed negative log-likelihood, in nats, of the trained tokens of `batch`.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] for a token outside the vocabulary.
    pub fn loss(&self, adapter: Option<&Adapter>, batch: &Batch) -> Result<f64> {
        let mut x = self.embed(batch)?;
        let pass = self.pass(adapter, batch, None);
        for block in &self.blocks {
            x = block.forward(&pass, &x).1;
        }
        let (targets, positions) = batch.targets();
        let last = norm::forward(&x.gather(&positions), &self.norm, self.epsilon).0;
        Ok(head::loss(self.head(), &last, &targets, None).0)
    }

    /// Returns the summed negative log-likelihood and adds the gradient of `weight` times it to `gradient`, which has
    /// one number for each of the adapter's parameters.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] for a token outside the vocabulary.
    pub fn loss_and_gradient(
        &self,
        adapter: &Adapter,
        batch: &Batch,
        step: &GradientStep,
        gradient: &mut [f32],
    ) -> Result<f64> {
        let mut x = self.embed(batch)?;
        let pass = self.pass(Some(adapter), batch, step.dropout);
        let mut states = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let (state, next) = block.forward(&pass, &x);
            let input = std::mem::replace(&mut x, next);
            states.push(match step.activations {
                Activations::Kept => Saved::State(Box::new(state)),
                Activations::Recomputed => Saved::Input(input),
            });
        }
        let (targets, positions) = batch.targets();
        let gathered = x.gather(&positions);
        let (last, scales) = norm::forward(&gathered, &self.norm, self.epsilon);
        let (loss, last_gradient) = head::loss(self.head(), &last, &targets, Some(step.weight));
        let mut back =
            norm::backward(&gathered, &last_gradient, &self.norm, &scales).scatter(&positions, batch.tokens());
        for (block, saved) in self.blocks.iter().zip(states).rev() {
            let state = match saved {
                Saved::State(state) => *state,
                Saved::Input(input) => block.forward(&pass, &input).0,
            };
            back = block.backward(&pass, &state, &back, gradient);
        }
        Ok(loss)
    }

    /// Returns the logits after each token of `batch`, token after token: for comparisons with other programs.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] for a token outside the vocabulary.
    pub fn logits(&self, adapter: Option<&Adapter>, batch: &Batch) -> Result<Vec<Vec<f32>>> {
        let mut x = self.embed(batch)?;
        let pass = self.pass(adapter, batch, None);
        for block in &self.blocks {
            x = block.forward(&pass, &x).1;
        }
        let last = norm::forward(&x, &self.norm, self.epsilon).0;
        Ok(head::logits(self.head(), &last, batch.tokens()))
    }

    fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    fn embed(&self, batch: &Batch) -> Result<Panels> {
        let mut x = Panels::zeros(self.embedding.columns(), batch.tokens());
        for (token, id) in batch.ids().iter().enumerate() {
            let row = *id as usize;
            if row >= self.embedding.rows() {
                let what = format!("token {row} is not in the base model's vocabulary of {}", self.embedding.rows());
                return Err(ModelError::Adapter { what });
            }
            x.set_token(token, &self.embedding.row(row));
        }
        Ok(x)
    }

    fn pass<'a>(&self, adapter: Option<&'a Adapter>, batch: &'a Batch, dropout: Option<Dropout>) -> Pass<'a> {
        Pass { adapter, batch, dropout, rotation: rope::Rotation::new(&self.frequencies, batch), epsilon: self.epsilon }
    }
}

/// What shapes one computation of the gradient beside the batch and the adapter.
#[derive(Clone, Copy, Debug)]
pub struct GradientStep {
    /// What the loss is multiplied with: one over the trained tokens of the whole step.
    pub weight: f32,
    /// Dropout of the adapter's input, if any.
    pub dropout: Option<Dropout>,
    /// Whether intermediate results are kept.
    pub activations: Activations,
}

/// Returns the bytes of the intermediate results that are kept for so many tokens.
pub fn activation_bytes(config: &ModelConfig, tokens: usize) -> u64 {
    let queries = config.heads * config.head_dim;
    let keys = config.kv_heads * config.head_dim;
    let plain_heads = if config.has_head_norms() { queries + keys } else { 0 };
    let a_block = 4 * config.hidden + 2 * queries + 2 * keys + plain_heads + 3 * config.intermediate;
    4 * (config.layers * a_block * tokens) as u64
}

/// What is kept of a block for its backward pass.
enum Saved {
    State(Box<BlockState>),
    Input(Panels),
}

/// What all blocks of one computation share.
struct Pass<'a> {
    adapter: Option<&'a Adapter>,
    batch: &'a Batch,
    dropout: Option<Dropout>,
    rotation: rope::Rotation,
    epsilon: f32,
}

impl Pass<'_> {
    /// Returns the places of a module's two matrices among the adapter's parameters, if it is trained.
    fn places(&self, layer: usize, projection: Projection) -> Option<(Range<usize>, Range<usize>)> {
        let module = self.adapter?.module(layer, projection)?;
        Some((module.a(), module.b()))
    }
}

#[cfg(test)]
mod tests;
