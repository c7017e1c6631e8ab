//! All weights of a model as parameters: which there are, where each lies among them, and their gradient.
//!
//! They stay where the forward pass reads them: matrices as 32-bit floats in bands, whose last one is filled up with zeros
//! that have no gradient and stay zero. The gradient and the optimiser's moments lie side by side in the same order, so
//! that clipping, the optimiser and checkpoints are loops over numbers, as for an adapter. A table that is both embedding
//! and output projection is one parameter: what its two uses give adds up.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::Result;
use super::super::kernel::{Panels, bands_len};
use super::super::lora::Projection;
use super::super::optimizer::Part;
use super::super::weights::{Base, Matrix, Storage};
use super::block::{Block, HeadNorms};
use super::{Batch, GradientStep, Transformer};

/// A tensor of a model, in the order in which all of them lie among the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameter {
    /// The table of embeddings; the output projection as well where the two are tied.
    Embedding,
    /// A part of a block.
    Block(usize, BlockParameter),
    /// The weight of the last norm.
    Norm,
    /// An output projection of its own.
    Head,
}

/// A tensor of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockParameter {
    /// The weight of the norm before attention.
    AttentionNorm,
    /// A projection's weight.
    Weight(Projection),
    /// A projection's bias.
    Bias(Projection),
    /// The weight of the norm of each head of queries.
    QueryNorm,
    /// The weight of the norm of each head of keys.
    KeyNorm,
    /// The weight of the norm before the feed-forward part.
    FeedForwardNorm,
}

impl Parameter {
    /// Returns the name in transformers, such as `model.layers.0.self_attn.q_proj.weight`.
    pub fn name(self) -> String {
        match self {
            Self::Embedding => "model.embed_tokens.weight".to_owned(),
            Self::Block(layer, parameter) => format!("model.layers.{layer}.{}", parameter.name()),
            Self::Norm => "model.norm.weight".to_owned(),
            Self::Head => "lm_head.weight".to_owned(),
        }
    }

    /// Returns whether weight decay counts: not for biases and the weights of norms, as with the `Trainer` of
    /// transformers.
    pub fn decays(self) -> bool {
        matches!(self, Self::Embedding | Self::Head | Self::Block(_, BlockParameter::Weight(_)))
    }
}

impl BlockParameter {
    fn name(self) -> String {
        match self {
            Self::AttentionNorm => "input_layernorm.weight".to_owned(),
            Self::Weight(projection) => format!("{}.weight", projection.path()),
            Self::Bias(projection) => format!("{}.bias", projection.path()),
            Self::QueryNorm => "self_attn.q_norm.weight".to_owned(),
            Self::KeyNorm => "self_attn.k_norm.weight".to_owned(),
            Self::FeedForwardNorm => "post_attention_layernorm.weight".to_owned(),
        }
    }
}

/// Where each parameter lies among the numbers of all.
pub(super) type Places = BTreeMap<Parameter, Range<usize>>;

/// A model all of whose weights are trained.
#[derive(Debug)]
pub struct WholeModel(Transformer);

impl WholeModel {
    /// Reads a model's weights as 32-bit floats, whatever they are stored as. `progress` is told each block that was read.
    ///
    /// # Errors
    /// As [`Transformer::load`].
    pub fn load(base: &Base, progress: impl FnMut(usize)) -> Result<Self> {
        Ok(Self(Transformer::load(base, Storage::Dense, progress)?))
    }

    /// Reads only the first blocks, for a measurement.
    pub(super) fn load_first(base: &Base, layers: usize, progress: impl FnMut(usize)) -> Result<Self> {
        Ok(Self(Transformer::load_first(base, Storage::Dense, layers, progress)?))
    }

    /// Returns the blocks, of which a measurement leaves some out for a while.
    pub(super) fn blocks_mut(&mut self) -> &mut Vec<Block> {
        &mut self.0.blocks
    }

    /// Returns the model as it is now.
    pub fn model(&self) -> &Transformer {
        &self.0
    }

    /// Returns how many numbers the gradient and each moment have: one for each weight, and those that fill bands up.
    pub fn numbers(&self) -> usize {
        self.tensors().iter().map(|tensor| tensor.numbers.len()).sum()
    }

    /// Returns all tensors in the order of the parameters.
    pub fn tensors(&self) -> Vec<Tensor<'_>> {
        let Transformer { embedding, blocks, norm, head, .. } = &self.0;
        let mut tensors = vec![Tensor::matrix(Parameter::Embedding, embedding), Tensor::vector(Parameter::Norm, norm)];
        tensors.extend(head.iter().map(|head| Tensor::matrix(Parameter::Head, head)));
        for block in blocks {
            let parameter = |parameter| Parameter::Block(block.layer, parameter);
            for (projection, (weight, bias)) in
                Projection::ALL.into_iter().zip(block.projections.iter().zip(&block.biases))
            {
                tensors.push(Tensor::matrix(parameter(BlockParameter::Weight(projection)), weight));
                let bias = bias.iter().map(|bias| Tensor::vector(parameter(BlockParameter::Bias(projection)), bias));
                tensors.extend(bias);
            }
            for (name, vector) in vectors(block) {
                tensors.push(Tensor::vector(parameter(name), vector));
            }
        }
        tensors.sort_by_key(|tensor| tensor.parameter);
        tensors
    }

    /// Returns the parameters in parts, to be changed by a step.
    pub fn parts(&mut self) -> Vec<Part<'_>> {
        let part = |(parameter, numbers): (Parameter, _)| Part { numbers, rate: 1.0, decays: parameter.decays() };
        self.numbers_mut().into_iter().map(part).collect()
    }

    /// Takes other numbers for all parameters, in the order of [`Self::tensors`].
    ///
    /// # Panics
    /// When there are not [`Self::numbers`] of them.
    pub fn set(&mut self, mut numbers: &[f32]) {
        for (_, tensor) in self.numbers_mut() {
            let (mine, rest) = numbers.split_at(tensor.len());
            tensor.copy_from_slice(mine);
            numbers = rest;
        }
        assert!(numbers.is_empty(), "{} numbers are of no parameter", numbers.len());
    }

    fn numbers_mut(&mut self) -> Vec<(Parameter, &mut [f32])> {
        let Transformer { embedding, blocks, norm, head, .. } = &mut self.0;
        let mut all = vec![(Parameter::Embedding, embedding.floats_mut()), (Parameter::Norm, &mut norm[..])];
        all.extend(head.iter_mut().map(|head| (Parameter::Head, head.floats_mut())));
        for block in blocks {
            let Block { layer, attention_norm, feed_forward_norm, projections, biases, head_norms, .. } = block;
            let mut push = |parameter, numbers| all.push((Parameter::Block(*layer, parameter), numbers));
            for (projection, (weight, bias)) in Projection::ALL.into_iter().zip(projections.iter_mut().zip(biases)) {
                push(BlockParameter::Weight(projection), weight.floats_mut());
                if let Some(bias) = bias {
                    push(BlockParameter::Bias(projection), &mut bias[..]);
                }
            }
            push(BlockParameter::AttentionNorm, &mut attention_norm[..]);
            push(BlockParameter::FeedForwardNorm, &mut feed_forward_norm[..]);
            if let Some(HeadNorms { q, k }) = head_norms {
                push(BlockParameter::QueryNorm, &mut q[..]);
                push(BlockParameter::KeyNorm, &mut k[..]);
            }
        }
        all.sort_by_key(|(parameter, _)| *parameter);
        all
    }

    fn places(&self) -> Places {
        let mut start = 0;
        let place = |tensor: Tensor<'_>| {
            let place = start..start + tensor.numbers.len();
            start = place.end;
            (tensor.parameter, place)
        };
        self.tensors().into_iter().map(place).collect()
    }

    /// Returns the summed negative log-likelihood, with the step's noise and smoothing, and adds the gradient of `weight`
    /// times it to `gradient`, which has [`Self::numbers`] numbers in the order of [`Self::tensors`]. No dropout is of a
    /// whole model.
    ///
    /// # Errors
    /// [`super::super::ModelError::Adapter`] for a token outside the vocabulary.
    pub fn loss_and_gradient(&self, batch: &Batch, step: &GradientStep, gradient: &mut [f32]) -> Result<f64> {
        if batch.trained_tokens() == 0 {
            return Ok(0.0);
        }
        let pass = super::Pass { places: Some(self.places()), ..self.0.pass(None, batch, None) };
        let (loss, back) = self.0.pass_and_back(&pass, 0, step, gradient)?;
        if let Some(place) = pass.place(Parameter::Embedding) {
            add_embeddings(batch, &back, &mut gradient[place]);
        }
        Ok(loss)
    }
}

/// A tensor of a model with its numbers.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// Which it is.
    pub parameter: Parameter,
    /// The numbers as they lie among all parameters: a vector's as they are, a matrix's in bands.
    pub numbers: &'a [f32],
    matrix: Option<&'a Matrix>,
}

impl<'a> Tensor<'a> {
    fn matrix(parameter: Parameter, matrix: &'a Matrix) -> Self {
        debug_assert_eq!(matrix.floats().len(), bands_len(matrix.rows(), matrix.columns()));
        Self { parameter, numbers: matrix.floats(), matrix: Some(matrix) }
    }

    fn vector(parameter: Parameter, numbers: &'a [f32]) -> Self {
        Self { parameter, numbers, matrix: None }
    }

    /// Returns the shape: rows and columns of a matrix, or the length of a vector.
    pub fn shape(&self) -> Vec<usize> {
        self.matrix.map_or_else(|| vec![self.numbers.len()], |matrix| vec![matrix.rows(), matrix.columns()])
    }

    /// Returns one row; a vector is a single one.
    pub fn row(&self, row: usize) -> Vec<f32> {
        self.matrix.map_or_else(|| self.numbers.to_vec(), |matrix| matrix.row(row))
    }
}

/// Returns the norms of a block.
fn vectors(block: &Block) -> impl Iterator<Item = (BlockParameter, &[f32])> {
    let heads = block.head_norms.iter();
    let heads =
        heads.flat_map(|HeadNorms { q, k }| [(BlockParameter::QueryNorm, &q[..]), (BlockParameter::KeyNorm, k)]);
    [
        (BlockParameter::AttentionNorm, &block.attention_norm[..]),
        (BlockParameter::FeedForwardNorm, &block.feed_forward_norm),
    ]
    .into_iter()
    .chain(heads)
}

/// Adds the gradients of tokens' embeddings to a table in bands, token after token.
pub(super) fn add_embeddings(batch: &Batch, back: &Panels, table: &mut [f32]) {
    let mut numbers = vec![0.0; back.features()];
    for (token, id) in batch.ids().iter().enumerate() {
        back.token(token, &mut numbers);
        super::super::kernel::add_to_row_of_bands(table, *id as usize, &numbers);
    }
}
