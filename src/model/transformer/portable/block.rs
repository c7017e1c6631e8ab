//! One block in candle's operations: two graphs, before and after attention, which stands between them by hand.

use std::ops::Range;

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Error, Result, Tensor, Var};

use super::super::super::lora::{Module, Projection};
use super::super::attention::Heads;
use super::Pass;
use super::attention::Inputs;
use super::frozen::times;
use super::linear::{Graph, Input, Linear, Low, addition};
use super::weight::Weight;

/// The frozen weights of one block on their device.
#[derive(Debug)]
pub(super) struct Block {
    layer: usize,
    heads: Heads,
    attention_norm: Tensor,
    feed_forward_norm: Tensor,
    /// In the order of [`Projection::ALL`].
    weights: Vec<Weight>,
    /// In the same order; `None` for a projection without.
    biases: Vec<Option<Tensor>>,
    /// What the heads of queries and keys are normalised with, where the architecture does that.
    head_norms: Option<[Tensor; 2]>,
}

/// A block as one computation has it: its weights dequantised, the adapter's parameters beside them.
struct Ready<'a> {
    block: &'a Block,
    pass: &'a Pass<'a>,
    /// In the order of [`Projection::ALL`].
    linears: Vec<Linear>,
}

/// What a block's backward pass goes through.
pub(super) struct BlockGraph {
    x: Var,
    inputs: Inputs,
    mixed: Var,
    output: Tensor,
    trained: Vec<(Tensor, Range<usize>)>,
}

impl Block {
    /// Copies a block to a device.
    pub(super) fn new(block: super::super::block::Block, numbers: DType, device: &Device) -> Result<Self> {
        let vector = |numbers: Vec<f32>| {
            let length = numbers.len();
            Tensor::from_vec(numbers, length, device)
        };
        let weights = block.projections.iter().map(|matrix| Weight::new(matrix, numbers, device));
        let biases = block.biases.into_iter().map(|bias| bias.map(vector).transpose());
        Ok(Self {
            layer: block.layer,
            heads: block.heads,
            attention_norm: vector(block.attention_norm)?,
            feed_forward_norm: vector(block.feed_forward_norm)?,
            weights: weights.collect::<Result<_>>()?,
            biases: biases.collect::<Result<_>>()?,
            head_norms: match block.head_norms {
                None => None,
                Some(norms) => Some([vector(norms.q)?, vector(norms.k)?]),
            },
        })
    }

    /// Returns the block's output without a graph.
    pub(super) fn forward(&self, pass: &Pass<'_>, x: &Tensor) -> Result<Tensor> {
        let ready = self.ready(pass, Graph::None)?;
        let mixed = pass.attention.forward(&ready.inputs(x)?, self.heads)?;
        ready.output(x, &mixed)
    }

    /// Computes the block with what its backward pass needs.
    pub(super) fn graph(&self, pass: &Pass<'_>, x: &Tensor) -> Result<BlockGraph> {
        let ready = self.ready(pass, Graph::Kept)?;
        let x = Var::from_tensor(x)?;
        let inputs = ready.inputs(&x)?;
        let mixed = Var::from_tensor(&pass.attention.forward(&inputs, self.heads)?)?;
        let output = ready.output(&x, &mixed)?;
        let trained = ready.linears.iter().flat_map(Linear::trained);
        let trained = trained.map(|(tensor, place)| (tensor.clone(), place.clone())).collect();
        Ok(BlockGraph { x, inputs, mixed, output, trained })
    }

    /// Writes the adapter's gradient from that of the block's output into `gradient`, which has a number for each
    /// parameter, and returns that of its input.
    pub(super) fn backward(
        &self,
        pass: &Pass<'_>,
        graph: BlockGraph,
        back: &Tensor,
        gradient: &Tensor,
    ) -> Result<Tensor> {
        let BlockGraph { x, inputs, mixed, output, trained } = graph;
        let after = times(&output, back)?.sum_all()?.backward()?;
        drop(output);
        let back = pass.attention.backward(&inputs, found(&after, &mixed)?, self.heads)?;
        let parts = [(&inputs.q, &back.q), (&inputs.k, &back.k), (&inputs.v, &back.v)];
        let [q, k, v] = parts.map(|(part, back)| times(part, back)?.sum_all());
        let before = ((q? + k?)? + v?)?.backward()?;
        for (tensor, place) in &trained {
            // A projection stands either before attention or after it.
            let part = after.get(tensor).map_or_else(|| found(&before, tensor), Ok)?;
            gradient.slice_set(&part.flatten_all()?.contiguous()?, 0, place.start)?;
        }
        found(&after, &x)? + found(&before, &x)?
    }

    fn ready<'a>(&'a self, pass: &'a Pass<'a>, graph: Graph) -> Result<Ready<'a>> {
        let linear = |projection: Projection| {
            let weight = &self.weights[projection as usize];
            let bias = self.biases[projection as usize].clone();
            let Some((given, module)) = pass.module(self.layer, projection) else {
                return Ok(Linear { weight: weight.numbers(pass.numbers)?, bias, low: None });
            };
            let exact = self.exact(pass, module)?;
            let low = Some(Low::new(pass, (given, module), exact.as_ref(), graph)?);
            let weight = exact.map_or_else(|| weight.numbers(pass.numbers), |exact| exact.to_dtype(pass.numbers))?;
            Ok(Linear { weight, bias, low })
        };
        let linears: Result<_> = Projection::ALL.into_iter().map(linear).collect();
        Ok(Ready { block: self, pass, linears: linears? })
    }

    /// Returns a module's frozen weight in 32 bits where that is needed: for the lengths of its rows, or because it lacks
    /// what PiSSA took.
    fn exact(&self, pass: &Pass<'_>, module: &Module) -> Result<Option<Tensor>> {
        let removed = pass.adapter.as_ref().and_then(|given| given.adapter.removed(module));
        if removed.is_none() && module.magnitude().is_none() {
            return Ok(None);
        }
        let weight = self.weights[module.projection as usize].numbers(DType::F32)?;
        Ok(Some(match removed {
            None => weight,
            Some(removed) => (weight - addition(&removed, module, &pass.device)?)?,
        }))
    }
}

impl Ready<'_> {
    /// Returns what attention reads: heads normalised and turned.
    fn inputs(&self, x: &Tensor) -> Result<Inputs> {
        let x = Input::new(rms_norm(x, &self.block.attention_norm, self.pass.epsilon)?, self.pass.numbers)?;
        let of = |projection: Projection, heads: usize| {
            self.linears[projection as usize].apply(&x)?.reshape(((), heads, self.block.heads.size))
        };
        let Heads { queries, keys, .. } = self.block.heads;
        let (mut q, mut k, v) = (of(Projection::Q, queries)?, of(Projection::K, keys)?, of(Projection::V, keys)?);
        if let Some([q_norm, k_norm]) = &self.block.head_norms {
            q = rms_norm(&q, q_norm, self.pass.epsilon)?;
            k = rms_norm(&k, k_norm, self.pass.epsilon)?;
        }
        Ok(Inputs { q: self.pass.turned(&q)?, k: self.pass.turned(&k)?, v })
    }

    /// Returns the block's output from its input and what attention mixed.
    fn output(&self, x: &Tensor, mixed: &Tensor) -> Result<Tensor> {
        let of = |projection: Projection, x: &Input| self.linears[projection as usize].apply(x);
        let read = |x: Tensor| Input::new(x, self.pass.numbers);
        let middle = (of(Projection::O, &read(mixed.clone())?)? + x)?;
        let inner = read(rms_norm(&middle, &self.block.feed_forward_norm, self.pass.epsilon)?)?;
        let gated = (of(Projection::Gate, &inner)?.silu()? * of(Projection::Up, &inner)?)?;
        of(Projection::Down, &read(gated)?)? + middle
    }
}

impl BlockGraph {
    /// Returns the block's output without its graph.
    pub(super) fn output(&self) -> Tensor {
        self.output.detach()
    }
}

/// Returns `x · w / √(mean(x²) + ε)` over the last dimension.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let scale = x.sqr()?.mean_keepdim(D::Minus1)?.affine(1.0, epsilon)?.sqrt()?.recip()?;
    times(&x.broadcast_mul(&scale)?, weight)
}

/// Turns pairs of features of `x`, `tokens × heads × features`, by the angles of each token.
pub(super) fn turned(x: &Tensor, cosines: &Tensor, sines: &Tensor) -> Result<Tensor> {
    let half = cosines.dim(D::Minus1)?;
    let (first, second) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let turned_first = (times(&first, cosines)? - times(&second, sines)?)?;
    let turned_second = (times(&second, cosines)? + times(&first, sines)?)?;
    Tensor::cat(&[turned_first, turned_second], D::Minus1)
}

/// Returns the gradient of what every result depends on.
pub(super) fn found<'g>(gradients: &'g GradStore, of: &Tensor) -> Result<&'g Tensor> {
    gradients.get(of).ok_or_else(|| Error::Msg("a gradient is missing".into()).bt())
}
