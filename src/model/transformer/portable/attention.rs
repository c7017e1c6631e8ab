//! Causal attention within rows by plain products, some queries at a time.
//!
//! It stands outside of candle's graph: the backward pass computes the probabilities again, so that those of one part are
//! all that exists at a time. What rows begin with in common is attended to where it lies.

use std::ops::Range;

use candle_core::{D, DType, Device, Result, Tensor};

use super::super::Batch;
use super::super::attention::Heads;
use super::frozen::product;

/// Queries whose scores exist at the same time.
const QUERIES: usize = 512;

/// Some queries of a segment and all keys that they see.
struct Part {
    queries: Range<usize>,
    /// Runs of tokens, in the order of the row.
    keys: Vec<Range<usize>>,
    /// `queries × keys`: 0, or minus infinity where a query may not look.
    mask: Tensor,
}

/// Who attends to whom in a batch.
pub(super) struct Attention {
    parts: Vec<Part>,
    tokens: usize,
    /// What products are computed in.
    numbers: DType,
}

/// Queries, keys and values: `tokens × heads × features of a head`.
pub(super) struct Inputs {
    pub(super) q: Tensor,
    pub(super) k: Tensor,
    pub(super) v: Tensor,
}

impl Attention {
    pub(super) fn new(batch: &Batch, numbers: DType, device: &Device) -> Result<Self> {
        let mut parts = Vec::new();
        for segment in batch.segments() {
            let before: usize = segment.before.iter().map(ExactSizeIterator::len).sum();
            for start in segment.tokens.clone().step_by(QUERIES) {
                let queries = start..segment.tokens.end.min(start + QUERIES);
                let own = segment.tokens.start..queries.end;
                let count = before + own.len();
                let mut mask = vec![0.0_f32; queries.len() * count];
                for (query, mask) in queries.clone().zip(mask.chunks_mut(count)) {
                    mask[before + query + 1 - own.start..].fill(f32::NEG_INFINITY);
                }
                let mask = Tensor::from_vec(mask, (queries.len(), count), device)?;
                let keys = segment.before.iter().cloned().chain([own]).collect();
                parts.push(Part { queries, keys, mask });
            }
        }
        Ok(Self { parts, tokens: batch.tokens(), numbers })
    }

    /// Returns the mixed values, `tokens × features`.
    pub(super) fn forward(&self, inputs: &Inputs, heads: Heads) -> Result<Tensor> {
        let inputs = inputs.by_heads()?;
        let mut mixed = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let of = part.inputs(&inputs, heads)?;
            let probabilities = self.probabilities(part, &of, heads)?;
            mixed.push(product(&probabilities, &of.v, self.numbers)?.reshape((
                heads.queries,
                part.queries.len(),
                heads.size,
            ))?);
        }
        by_tokens(&Tensor::cat(&mixed, 1)?)?.reshape((self.tokens, heads.queries * heads.size))
    }

    /// Returns the gradients of queries, keys and values from that of the mixed values. With probabilities `P` and
    /// `dP = back Vᵀ` the scores' is `P · (dP − Σ P · dP)`.
    pub(super) fn backward(&self, inputs: &Inputs, back: &Tensor, heads: Heads) -> Result<Inputs> {
        let inputs = inputs.by_heads()?;
        let back = by_heads(&back.reshape((self.tokens, heads.queries, heads.size))?)?;
        let (k_back, v_back) = (inputs.k.zeros_like()?, inputs.v.zeros_like()?);
        let mut q_back = Vec::with_capacity(self.parts.len());
        let scale = f64::from(heads.scale());
        for part in &self.parts {
            let of = part.inputs(&inputs, heads)?;
            let back = part.queries(&back, heads)?;
            let probabilities = self.probabilities(part, &of, heads)?;
            let through = product(&back, &of.v.t()?, self.numbers)?;
            let dots = (&probabilities * &through)?.sum_keepdim(D::Minus1)?;
            let scores = (&probabilities * through.broadcast_sub(&dots)?)?.affine(scale, 0.0)?;
            let q = product(&scores, &of.k, self.numbers)?;
            q_back.push(q.reshape((heads.queries, part.queries.len(), heads.size))?);
            part.add(&product(&scores.t()?, &of.q, self.numbers)?, &k_back)?;
            part.add(&product(&probabilities.t()?, &back, self.numbers)?, &v_back)?;
        }
        Ok(Inputs { q: by_tokens(&Tensor::cat(&q_back, 1)?)?, k: by_tokens(&k_back)?, v: by_tokens(&v_back)? })
    }

    /// Returns the shares of all keys for each query: `key heads × (query heads of one · queries) × keys`.
    fn probabilities(&self, part: &Part, of: &Inputs, heads: Heads) -> Result<Tensor> {
        let scores = product(&of.q, &of.k.t()?, self.numbers)?.affine(f64::from(heads.scale()), 0.0)?;
        let (queries, keys) = part.mask.dims2()?;
        let scores = scores.reshape((heads.queries, queries, keys))?.broadcast_add(&part.mask)?;
        let exponentials = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
        let probabilities = exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)?;
        probabilities.reshape((heads.keys, heads.queries / heads.keys * queries, keys))
    }
}

impl Part {
    /// Takes the part's queries, those of the heads that share a key head one after the other, and its keys.
    fn inputs(&self, all: &Inputs, heads: Heads) -> Result<Inputs> {
        Ok(Inputs { q: self.queries(&all.q, heads)?, k: self.keys(&all.k)?, v: self.keys(&all.v)? })
    }

    fn queries(&self, all: &Tensor, heads: Heads) -> Result<Tensor> {
        let own = all.narrow(1, self.queries.start, self.queries.len())?.contiguous()?;
        own.reshape((heads.keys, heads.queries / heads.keys * self.queries.len(), heads.size))
    }

    fn keys(&self, all: &Tensor) -> Result<Tensor> {
        let runs: Result<Vec<Tensor>> = self.keys.iter().map(|run| all.narrow(1, run.start, run.len())).collect();
        Tensor::cat(&runs?, 1)?.contiguous()
    }

    /// Adds what belongs to the part's keys to what belongs to all tokens.
    fn add(&self, own: &Tensor, all: &Tensor) -> Result<()> {
        let mut place = 0;
        for run in &self.keys {
            let sum = (all.narrow(1, run.start, run.len())? + own.narrow(1, place, run.len())?)?;
            all.slice_set(&sum.contiguous()?, 1, run.start)?;
            place += run.len();
        }
        Ok(())
    }
}

impl Inputs {
    fn by_heads(&self) -> Result<Self> {
        Ok(Self { q: by_heads(&self.q)?, k: by_heads(&self.k)?, v: by_heads(&self.v)? })
    }
}

/// Brings heads before tokens, outside of any graph.
fn by_heads(x: &Tensor) -> Result<Tensor> {
    x.detach().transpose(0, 1)?.contiguous()
}

fn by_tokens(x: &Tensor) -> Result<Tensor> {
    x.transpose(0, 1)?.contiguous()
}
