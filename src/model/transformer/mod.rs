//! A Llama-family transformer on the CPU: its loss, and the loss's gradient with respect to a LoRA adapter, or to all of
//! its weights.
//!
//! Forward and backward are written out by hand: no gradient of a frozen weight is ever computed, logits exist for 128
//! trained positions at a time, and a block's intermediate results are kept or computed again, as memory allows; the
//! numbers are the same bits either way. Rows of different lengths are laid end to end; none attends to another, and
//! what they begin with in common is computed once.
//!
//! That is the *fused* path, [`Transformer`]. The *portable* one, [`Portable`], computes the same in candle's operations on
//! any device; tests hold one against the other.

mod attention;
mod backend;
mod batch;
mod block;
mod head;
mod linear;
mod noise;
mod norm;
mod portable;
mod probe;
mod products;
mod rope;
mod speed;
mod text;
mod whole;
mod work;

use std::ops::Range;

use super::config::ModelConfig;
use super::kernel::{LANES, Panels, Workspace};
use super::lora::{Adapter, Module, Projection, row_norms};
use super::weights::{Base, Matrix, Storage};
use super::{ModelError, Result};
use block::{Block, BlockState};
use head::Objective;
use linear::{Low, Magnitude};
use whole::Places;

pub use backend::Backend;
pub use batch::Batch;
pub use linear::Dropout;
pub use noise::Noise;
pub use portable::Portable;
pub use probe::peak_flops;
pub use speed::{Amount, Passes, Speed};
pub use text::{GrowingText, Text};
pub use whole::{BlockParameter, Parameter, Tensor, WholeModel};

/// Whether blocks' intermediate results are kept for the backward pass. It changes no bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// They are kept: fastest.
    Kept,
    /// Those of the last blocks are kept, as many as these bytes hold.
    Within(u64),
    /// Only each block's input is kept; the rest is computed again.
    Recomputed,
}

/// A model: the frozen base, or within a [`WholeModel`] what is trained.
#[derive(Debug)]
pub struct Transformer {
    embedding: Matrix,
    blocks: Vec<Block>,
    norm: Vec<f32>,
    /// Nothing when the output projection is the embedding table.
    head: Option<Matrix>,
    epsilon: f32,
    frequencies: Vec<f64>,
    /// Features of a token that a block keeps for its backward pass.
    state_features: usize,
    /// What intermediate results take their memory from.
    workspace: Workspace,
}

impl Transformer {
    /// Reads the base model's weights. `progress` is told each block that was read.
    ///
    /// # Errors
    /// [`ModelError`] when a tensor is absent, of another shape, or of a type that is not read.
    pub fn load(base: &Base, storage: Storage, progress: impl FnMut(usize)) -> Result<Self> {
        Self::load_first(base, storage, base.config().layers, progress)
    }

    /// Reads only the first blocks, for a measurement.
    fn load_first(base: &Base, storage: Storage, layers: usize, mut progress: impl FnMut(usize)) -> Result<Self> {
        let config = base.config();
        let table = |name: &str| base.matrix(name, config.vocabulary, config.hidden, storage);
        let embedding = table("model.embed_tokens.weight")?;
        let head = if config.tied { None } else { Some(table("lm_head.weight")?) };
        let mut blocks = Vec::with_capacity(layers);
        for layer in 0..layers {
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
            state_features: state_features(config),
            workspace: Workspace::default(),
        })
    }

    /// Returns the summed negative log-likelihood, in nats, of the trained tokens of `batch`.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] for a token outside the vocabulary.
    pub fn loss(&self, adapter: Option<&Adapter>, batch: &Batch) -> Result<f64> {
        let x = self.forward(adapter, batch)?;
        let (targets, positions) = batch.targets();
        let last = norm::forward(&x.gather(positions), &self.norm, self.epsilon).0;
        Ok(head::loss(self.head(), &last, targets, None, None).0)
    }

    /// Returns the summed negative log-likelihood, with the step's noise and smoothing, and adds the gradient of `weight`
    /// times it to `gradient`, which has one number for each of the adapter's parameters.
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
        if batch.trained_tokens() == 0 {
            return Ok(0.0);
        }
        // What is below the first trained block needs no gradient.
        let first = adapter.modules().first().map_or(self.blocks.len(), |module| module.layer);
        let pass = self.pass(Some(adapter), batch, step.dropout);
        Ok(self.pass_and_back(&pass, first, step, gradient)?.0)
    }

    /// Computes the loss and goes back to the input of the block `first`: returns the loss and the gradient of that input,
    /// and adds those of parameters to `gradient`.
    fn pass_and_back(
        &self,
        pass: &Pass<'_>,
        first: usize,
        step: &GradientStep,
        gradient: &mut [f32],
    ) -> Result<(f64, Panels)> {
        let batch = pass.batch;
        let mut x = self.embed(batch, 0..batch.tokens(), step.noise)?;
        let first_kept = self.blocks.len() - self.kept_blocks(pass.adapter, step.activations, batch.tokens());
        let mut states = Vec::with_capacity(self.blocks.len());
        for (layer, block) in self.blocks.iter().enumerate() {
            if layer >= first && layer < first_kept {
                states.push(Saved::Input(x.clone()));
            }
            let (state, next) = block.forward(pass, x);
            if layer >= first && layer >= first_kept {
                states.push(Saved::State(Box::new(state)));
            }
            x = next;
        }
        let (loss, mut back) = self.head_and_back(pass, step, x, gradient);
        for block in self.blocks.iter().rev() {
            let state = match states.pop() {
                None => break,
                Some(Saved::State(state)) => *state,
                Some(Saved::Input(input)) => block.forward(pass, input).0,
            };
            back = block.backward(pass, state, &back, gradient);
        }
        Ok((loss, back))
    }

    /// Returns the loss of the last block's output, and its gradient.
    fn head_and_back(&self, pass: &Pass<'_>, step: &GradientStep, x: Panels, gradient: &mut [f32]) -> (f64, Panels) {
        let (targets, positions) = pass.batch.targets();
        let gathered = x.gather(positions);
        drop(x);
        let (last, scales) = norm::forward(&gathered, &self.norm, self.epsilon);
        let objective = Objective { weight: step.weight, label_smoothing: step.label_smoothing };
        let table = if self.head.is_some() { Parameter::Head } else { Parameter::Embedding };
        let head_gradient = pass.place(table).map(|place| &mut gradient[place]);
        let (loss, last_back) = head::loss(self.head(), &last, targets, Some(objective), head_gradient);
        if let Some(place) = pass.place(Parameter::Norm) {
            norm::add_weight_gradient(&gathered, &last_back, &scales, &mut gradient[place]);
        }
        let gathered_back = norm::backward(&gathered, &last_back, &self.norm, &scales, None);
        (loss, gathered_back.scatter(positions, pass.batch.tokens()))
    }

    /// Returns the logits after each token of `batch`, token after token: for comparisons with other programs.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] for a token outside the vocabulary.
    pub fn logits(&self, adapter: Option<&Adapter>, batch: &Batch) -> Result<Vec<Vec<f32>>> {
        let x = self.forward(adapter, batch)?;
        let last = norm::forward(&x, &self.norm, self.epsilon).0;
        let mut all = Vec::with_capacity(batch.tokens());
        let one = |_: usize, logits: &[f32]| {
            all.push(logits.to_vec());
            Ok::<_, ModelError>(())
        };
        head::each_logits(self.head(), &last, batch.tokens(), one)?;
        Ok(all)
    }

    /// Returns a text that begins with some tokens, to go on with.
    pub fn text<'a>(&'a self, adapter: Option<&'a Adapter>, ids: &[u32]) -> GrowingText<'a> {
        GrowingText::Fused(Text::new(self, adapter, ids))
    }

    /// Gives `each` the trained tokens of `batch` with the logits that predict them, row after row.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] for a token outside the vocabulary; those of `each`.
    pub fn predictions<E: From<ModelError>>(
        &self,
        adapter: Option<&Adapter>,
        batch: &Batch,
        mut each: impl FnMut(u32, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let x = self.forward(adapter, batch)?;
        let (targets, positions) = batch.targets();
        let last = norm::forward(&x.gather(positions), &self.norm, self.epsilon).0;
        head::each_logits(self.head(), &last, targets.len(), |at, logits| each(targets[at], logits))
    }

    /// Returns the last block's output, and keeps nothing.
    fn forward(&self, adapter: Option<&Adapter>, batch: &Batch) -> Result<Panels> {
        let x = self.embed(batch, 0..batch.tokens(), None)?;
        let pass = self.pass(adapter, batch, None);
        Ok(self.blocks.iter().fold(x, |x, block| block.forward(&pass, x).1))
    }

    /// Returns how many blocks' intermediate results are kept: the last ones, as many as fit.
    fn kept_blocks(&self, adapter: Option<&Adapter>, activations: Activations, tokens: usize) -> usize {
        match activations {
            Activations::Kept => self.blocks.len(),
            Activations::Recomputed => 0,
            Activations::Within(mut bytes) => {
                let fits = |layer: &usize| {
                    let modules = adapter.iter().flat_map(|adapter| adapter.modules());
                    let modules = modules.filter(|module| module.layer == *layer);
                    let features = self.state_features + modules.map(Module::kept_features).sum::<usize>();
                    let left = bytes.checked_sub(state_bytes(features, tokens));
                    bytes = left.unwrap_or(0);
                    left.is_some()
                };
                (0..self.blocks.len()).rev().take_while(fits).count()
            }
        }
    }

    /// Returns the weight of a block's projection.
    pub fn weight(&self, layer: usize, projection: Projection) -> &Matrix {
        self.blocks[layer].weight(projection)
    }

    fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    fn embed(&self, batch: &Batch, tokens: Range<usize>, noise: Option<Noise>) -> Result<Panels> {
        let mut x = Panels::zeros_in(&self.workspace, self.embedding.columns(), tokens.len());
        for (place, token) in tokens.enumerate() {
            x.set_token(place, &embedded(&self.embedding, batch, token, noise)?);
        }
        Ok(x)
    }

    fn pass<'a>(&self, adapter: Option<&'a Adapter>, batch: &'a Batch, dropout: Option<Dropout>) -> Pass<'a> {
        let rotation = rope::Rotation::new(&self.frequencies, batch, 0..batch.tokens());
        let norms = adapter.map(|adapter| self.norms(adapter)).unwrap_or_default();
        Pass { adapter, places: None, norms, batch, dropout, rotation, epsilon: self.epsilon }
    }

    /// Returns the lengths of the rows of each module's frozen weight and addition together, where DoRA trains them.
    fn norms(&self, adapter: &Adapter) -> Vec<Vec<f32>> {
        let norms = |module: &Module| {
            module.magnitude()?;
            let weight = self.weight(module.layer, module.projection);
            Some(row_norms(weight, adapter.removed(module).as_ref(), &adapter.low_rank(module)))
        };
        adapter.modules().iter().map(|module| norms(module).unwrap_or_default()).collect()
    }
}

/// What shapes one computation of the gradient beside the batch and the adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientStep {
    /// What the loss is multiplied with: one over the trained tokens of the whole step.
    pub weight: f32,
    /// Dropout of the adapter's input, if any.
    pub dropout: Option<Dropout>,
    /// Noise on the embeddings, if any.
    pub noise: Option<Noise>,
    /// The share of each target's probability that is spread evenly over the vocabulary: 0 for none.
    pub label_smoothing: f32,
    /// Whether intermediate results are kept.
    pub activations: Activations,
}

impl GradientStep {
    /// Makes the plain step: no dropout, no noise, no smoothing.
    pub fn new(weight: f32, activations: Activations) -> Self {
        Self { weight, dropout: None, noise: None, label_smoothing: 0.0, activations }
    }
}

/// Returns the embedding of one of a batch's tokens, with its noise.
fn embedded(embedding: &Matrix, batch: &Batch, token: usize, noise: Option<Noise>) -> Result<Vec<f32>> {
    let row = batch.ids()[token] as usize;
    if row >= embedding.rows() {
        let what = format!("token {row} is not in the base model's vocabulary of {}", embedding.rows());
        return Err(ModelError::Adapter { what });
    }
    let numbers = embedding.row(row);
    Ok(noise.map_or_else(|| numbers.clone(), |noise| noise.added(&numbers, batch, token)))
}

/// Returns the bytes of the intermediate results that are kept of one block for so many tokens; its adapters keep
/// `adapted` features of each.
pub fn block_bytes(config: &ModelConfig, adapted: usize, tokens: usize) -> u64 {
    state_bytes(state_features(config) + adapted, tokens)
}

/// Returns the bytes that the backward pass of one block has beside what is kept, for so many tokens: in the feed-forward
/// part the gradients of gate and up, of the block's output and of its middle, and the normalised input; in attention
/// those of queries, keys and values, and all three and the output's gradient turned. With dropout there are an input
/// and two gradients that some numbers were dropped from.
pub fn backward_bytes(config: &ModelConfig, has_dropout: bool, tokens: usize) -> u64 {
    let queries = config.heads * config.head_dim;
    let keys = config.kv_heads * config.head_dim;
    let dropped = if has_dropout { 3 * config.intermediate } else { 0 };
    let feed_forward = 2 * config.intermediate + 3 * config.hidden + dropped;
    let attention = 3 * config.hidden + 4 * queries + 4 * keys;
    state_bytes(feed_forward.max(attention), tokens)
}

fn state_bytes(features: usize, tokens: usize) -> u64 {
    4 * (features * tokens.next_multiple_of(LANES)) as u64
}

/// Returns the features of a token in a [`BlockState`], but for the adapters' and for a few numbers of each token.
fn state_features(config: &ModelConfig) -> usize {
    let queries = config.heads * config.head_dim;
    let keys = config.kv_heads * config.head_dim;
    let plain_heads = if config.has_head_norms() { queries + keys } else { 0 };
    2 * config.hidden + 2 * queries + 2 * keys + plain_heads + 2 * config.intermediate
}

/// What is kept of a block for its backward pass.
enum Saved {
    State(Box<BlockState>),
    Input(Panels),
}

/// What all blocks of one computation share.
struct Pass<'a> {
    adapter: Option<&'a Adapter>,
    /// Where the gradients of weights go, where these are trained.
    places: Option<Places>,
    /// The lengths of rows that DoRA divides by, module by module.
    norms: Vec<Vec<f32>>,
    batch: &'a Batch,
    dropout: Option<Dropout>,
    rotation: rope::Rotation,
    epsilon: f32,
}

impl Pass<'_> {
    /// Returns where the gradient of a weight goes, if it is trained.
    fn place(&self, parameter: Parameter) -> Option<Range<usize>> {
        self.places.as_ref()?.get(&parameter).cloned()
    }

    /// Returns the adapter's part of a projection, if it is trained, and the module.
    fn low(&self, layer: usize, projection: Projection) -> Option<(Low<'_>, &Module)> {
        let adapter = self.adapter?;
        let index = adapter.index(layer, projection)?;
        let module = &adapter.modules()[index];
        let magnitude = module
            .magnitude()
            .map(|place| Magnitude { trained: &adapter.parameters()[place], norms: &self.norms[index] });
        let low = Low {
            pair: adapter.low_rank(module),
            removed: adapter.removed(module),
            magnitude,
            module: module.a().start as u64,
        };
        Some((low, module))
    }
}

#[cfg(test)]
mod tests;
