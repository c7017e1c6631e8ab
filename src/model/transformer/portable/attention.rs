//! Causal attention within rows by plain products, parts of many rows at once.
//!
//! Rows are cut into parts of some queries. A part's keys are its own tokens, of which a query sees those up to itself, and
//! the tokens before the part, all of which it sees: those of its row, and what rows begin with in common where that lies.
//! Parts with the same tokens before them and about the same length are computed together, laid in slots, the shorter
//! ones filled up: a GPU waits longer for a hundred small products than for one of their size.
//!
//! It stands outside of candle's graph: the backward pass computes the probabilities again, so that those of one group are
//! all that exists at a time.

use std::ops::Range;

use candle_core::{D, DType, Device, Result, Tensor};

use super::super::Batch;
use super::super::attention::Heads;
use super::frozen::{product, times};

/// Queries of a part.
const QUERIES: usize = 512;
/// Shorter parts are about the same length.
const LEAST: usize = 16;
/// Scores of a head that exist at the same time; more, if one part has more.
const SCORES: usize = 1 << 21;

/// Tokens next to each other, and where what they see before them lies.
struct Part {
    tokens: Range<usize>,
    /// Runs of tokens, in the order of the row.
    before: Vec<Range<usize>>,
}

/// Parts that are computed together.
struct Group {
    parts: usize,
    /// The slots of each.
    length: usize,
    before: Vec<Range<usize>>,
    /// The token of each slot; any one where a slot only fills up.
    tokens: Tensor,
    /// `slots × 1`: 1, or 0 where a slot only fills up; `None` where none does.
    is_token: Option<Tensor>,
    /// `length × length`: 0, or minus infinity where a query may not look.
    mask: Tensor,
}

/// Who attends to whom in a batch.
pub(super) struct Attention {
    groups: Vec<Group>,
    /// The slot of each token, all groups' slots laid end to end.
    slots: Tensor,
    /// What products are computed in.
    numbers: DType,
}

/// Queries, keys and values: `tokens × heads × features of a head`.
pub(super) struct Inputs {
    pub(super) q: Tensor,
    pub(super) k: Tensor,
    pub(super) v: Tensor,
}

/// What belongs to a group's keys: to those before its parts, `key heads × keys × features of a head`, where there are any;
/// and to their own, `key heads · parts × length × features of a head`.
struct Keys {
    before: Option<Tensor>,
    own: Tensor,
}

/// What belongs to each pair of a query and a key of a group.
struct Pairs {
    /// `key heads × (parts · query heads of a key head · length) × keys`.
    before: Option<Tensor>,
    /// `(key heads · parts) × (query heads of a key head · length) × length`.
    own: Tensor,
}

/// A group's queries, keys and values. Queries are `key heads × parts × query heads of a key head × length × features`.
struct Laid {
    q: Tensor,
    k: Keys,
    v: Keys,
}

impl Attention {
    pub(super) fn new(batch: &Batch, numbers: DType, device: &Device) -> Result<Self> {
        let mut parts = parts(batch);
        parts.sort_by_cached_key(Part::kind);
        let (mut groups, mut slots, mut laid) = (Vec::new(), vec![0; batch.tokens()], 0);
        for parts in parts.chunk_by(|part, next| part.kind() == next.kind()) {
            let length = parts.iter().map(|part| part.tokens.len()).max().unwrap_or(0);
            let keys = length + parts[0].before.iter().map(ExactSizeIterator::len).sum::<usize>();
            for parts in parts.chunks((SCORES / (length * keys)).max(1)) {
                for (number, part) in parts.iter().enumerate() {
                    for (slot, token) in part.tokens.clone().enumerate() {
                        slots[token] = (laid + number * length + slot) as u32;
                    }
                }
                laid += parts.len() * length;
                groups.push(Group::new(parts, length, numbers, device)?);
            }
        }
        Ok(Self { groups, slots: Tensor::from_vec(slots, batch.tokens(), device)?, numbers })
    }

    /// Returns the mixed values, `tokens × features`.
    pub(super) fn forward(&self, inputs: &Inputs, heads: Heads) -> Result<Tensor> {
        let inputs = inputs.plain(self.numbers)?;
        let mut mixed = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let laid = group.laid(&inputs, heads)?;
            let probabilities = Pairs::new(&self.probabilities(group, &laid, heads)?, group, heads)?;
            mixed.push(group.unlaid(&self.mixed(&probabilities, &laid.v)?, heads)?);
        }
        self.by_token(&mixed)
    }

    /// Returns the gradients of queries, keys and values from that of the mixed values. With probabilities `P` and
    /// `dP = back Vᵀ` the scores' is `P · (dP − Σ P · dP)`.
    pub(super) fn backward(&self, inputs: &Inputs, back: &Tensor, heads: Heads) -> Result<Inputs> {
        let shapes = (inputs.q.dims3()?, inputs.k.dims3()?);
        let (inputs, back) = (inputs.plain(self.numbers)?, back.to_dtype(self.numbers)?);
        let (mut q_back, mut k_back, mut v_back) = (Vec::new(), Vec::new(), Vec::new());
        let mut before = Vec::new();
        for group in &self.groups {
            let laid = group.laid(&inputs, heads)?;
            let back = group.back(&back, heads)?;
            let probabilities = self.probabilities(group, &laid, heads)?;
            let through = self.pairs(&back, &laid.v)?.all(group, heads)?;
            let dots = (&probabilities * &through)?.sum_keepdim(D::Minus1)?;
            let scores = (&probabilities * through.broadcast_sub(&dots)?)?.affine(f64::from(heads.scale()), 0.0)?;
            drop(through);
            let [scores, probabilities] = [scores, probabilities].map(|all| Pairs::new(&all, group, heads));
            let (scores, probabilities) = (scores?, probabilities?);
            q_back.push(group.unlaid(&self.mixed(&scores, &laid.k)?, heads)?);
            let k = self.gathered(&scores, &laid.q)?;
            let v = self.gathered(&probabilities, &back)?;
            k_back.push(group.unlaid(&k.own, heads.of_keys())?);
            v_back.push(group.unlaid(&v.own, heads.of_keys())?);
            before.extend(k.before.zip(v.before).map(|both| (&group.before, both)));
        }
        let q = self.by_token(&q_back)?.reshape(shapes.0)?;
        let [k, v] = [&k_back, &v_back].map(|back| self.by_token(back)?.reshape(shapes.1));
        let (k, v) = (k?, v?);
        for (runs, (k_before, v_before)) in before {
            add(runs, &k_before, &k)?;
            add(runs, &v_before, &v)?;
        }
        Ok(Inputs { q, k, v })
    }

    /// Returns the shares of all keys for each query, laid as [`Pairs::all`] has them.
    fn probabilities(&self, group: &Group, laid: &Laid, heads: Heads) -> Result<Tensor> {
        let mut scores = self.pairs(&laid.q, &laid.k)?;
        let shape = ((), heads.queries / heads.keys, group.length, group.length);
        scores.own = scores.own.affine(f64::from(heads.scale()), 0.0)?.reshape(shape)?.broadcast_add(&group.mask)?;
        scores.before = scores.before.map(|before| before.affine(f64::from(heads.scale()), 0.0)).transpose()?;
        let scores = scores.all(group, heads)?;
        let exponentials = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
        drop(scores);
        exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)
    }

    /// Returns the products of queries with keys, or of what belongs to queries with values.
    fn pairs(&self, of_queries: &Tensor, keys: &Keys) -> Result<Pairs> {
        let before = keys.before.as_ref().map(|before| product(&merged(of_queries, 1)?, &before.t()?, self.numbers));
        let own = product(&merged(of_queries, 2)?, &keys.own.t()?, self.numbers)?;
        Ok(Pairs { before: before.transpose()?, own })
    }

    /// Returns for each query the sum of what belongs to keys, by shares.
    fn mixed(&self, shares: &Pairs, keys: &Keys) -> Result<Tensor> {
        let own = product(&shares.own, &keys.own, self.numbers)?;
        match shares.before.as_ref().zip(keys.before.as_ref()) {
            None => Ok(own),
            Some((shares, keys)) => {
                let before = product(shares, keys, self.numbers)?;
                before.reshape(own.dims())? + own
            }
        }
    }

    /// Returns for each key the sum of what belongs to queries, by shares.
    fn gathered(&self, shares: &Pairs, of_queries: &Tensor) -> Result<Keys> {
        let before = shares.before.as_ref();
        let before = before.map(|shares| product(&shares.t()?, &merged(of_queries, 1)?, self.numbers)).transpose()?;
        Ok(Keys { before, own: product(&shares.own.t()?, &merged(of_queries, 2)?, self.numbers)? })
    }

    /// Takes what all slots of all groups have, `slots × features`, to their tokens.
    fn by_token(&self, slots: &[Tensor]) -> Result<Tensor> {
        Tensor::cat(slots, 0)?.index_select(&self.slots, 0)
    }
}

/// Cuts a batch's segments.
fn parts(batch: &Batch) -> Vec<Part> {
    let mut parts = Vec::new();
    for segment in batch.segments() {
        for start in segment.tokens.clone().step_by(QUERIES) {
            let tokens = start..segment.tokens.end.min(start + QUERIES);
            let own = (start > segment.tokens.start).then_some(segment.tokens.start..start);
            parts.push(Part { tokens, before: segment.before.iter().cloned().chain(own).collect() });
        }
    }
    parts
}

impl Part {
    /// Returns what parts have in common that are computed together.
    fn kind(&self) -> (Vec<(usize, usize)>, usize) {
        let before = self.before.iter().map(|run| (run.start, run.end)).collect();
        (before, self.tokens.len().next_power_of_two().max(LEAST))
    }
}

impl Group {
    fn new(parts: &[Part], length: usize, numbers: DType, device: &Device) -> Result<Self> {
        let (mut tokens, mut is_token) = (Vec::new(), Vec::new());
        for part in parts {
            tokens.extend(
                (part.tokens.start..part.tokens.start + length).map(|token| token.min(part.tokens.end - 1) as u32),
            );
            is_token.extend((0..length).map(|slot| if slot < part.tokens.len() { 1.0_f32 } else { 0.0 }));
        }
        let mut mask = vec![0.0_f32; length * length];
        for (query, mask) in mask.chunks_mut(length).enumerate() {
            mask[query + 1..].fill(f32::NEG_INFINITY);
        }
        let slots = tokens.len();
        let fills_up = is_token.contains(&0.0);
        let is_token = || Tensor::from_vec(is_token, (slots, 1), device)?.to_dtype(numbers);
        Ok(Self {
            parts: parts.len(),
            length,
            before: parts[0].before.clone(),
            tokens: Tensor::from_vec(tokens, slots, device)?,
            is_token: fills_up.then(is_token).transpose()?,
            mask: Tensor::from_vec(mask, (length, length), device)?,
        })
    }

    /// Lays what all tokens have into the group's slots.
    fn laid(&self, all: &Inputs, heads: Heads) -> Result<Laid> {
        let keys = |all: &Tensor| -> Result<Keys> {
            let runs = self.before.iter().map(|run| all.narrow(0, run.start, run.len()));
            let runs = runs.collect::<Result<Vec<_>>>()?;
            let before = match runs.as_slice() {
                [] => None,
                runs => {
                    Some(Tensor::cat(runs, 0)?.reshape(((), heads.keys, heads.size))?.transpose(0, 1)?.contiguous()?)
                }
            };
            let own = self.by_heads(&all.index_select(&self.tokens, 0)?, heads.of_keys())?;
            Ok(Keys { before, own: merged(&own, 2)? })
        };
        let q = self.by_heads(&all.q.index_select(&self.tokens, 0)?, heads)?;
        Ok(Laid { q, k: keys(&all.k)?, v: keys(&all.v)? })
    }

    /// Lays the gradient of the mixed values, `tokens × features`, into the group's slots, as queries are.
    fn back(&self, back: &Tensor, heads: Heads) -> Result<Tensor> {
        let back = back.index_select(&self.tokens, 0)?;
        match &self.is_token {
            None => self.by_heads(&back, heads),
            Some(is_token) => self.by_heads(&times(&back, is_token)?, heads),
        }
    }

    /// Brings heads before slots.
    fn by_heads(&self, slots: &Tensor, heads: Heads) -> Result<Tensor> {
        let shape = (self.parts, self.length, heads.keys, heads.queries / heads.keys, heads.size);
        slots.reshape(shape)?.permute((2, 0, 3, 1, 4))?.contiguous()
    }

    /// Brings slots before heads.
    fn unlaid(&self, by_heads: &Tensor, heads: Heads) -> Result<Tensor> {
        let shape = (heads.keys, self.parts, heads.queries / heads.keys, self.length, heads.size);
        let slots = by_heads.reshape(shape)?.permute((1, 3, 0, 2, 4))?.contiguous()?;
        slots.reshape((self.parts * self.length, heads.queries * heads.size))
    }
}

impl Pairs {
    /// Splits what belongs to all pairs, as [`Pairs::all`] lays it.
    fn new(all: &Tensor, group: &Group, heads: Heads) -> Result<Self> {
        let before = all.dim(D::Minus1)? - group.length;
        let own = all.narrow(D::Minus1, before, group.length)?.contiguous()?;
        let shape = (heads.keys * group.parts, heads.queries / heads.keys * group.length, group.length);
        Ok(Self {
            before: (before > 0).then(|| all.narrow(D::Minus1, 0, before)?.contiguous()).transpose()?,
            own: own.reshape(shape)?,
        })
    }

    /// Returns what belongs to all pairs: `key heads × (parts · query heads of a key head · length) × keys`.
    fn all(&self, group: &Group, heads: Heads) -> Result<Tensor> {
        let own = self.own.reshape((heads.keys, (), group.length))?;
        match &self.before {
            None => Ok(own),
            Some(before) => Tensor::cat(&[before, &own], D::Minus1),
        }
    }
}

impl Inputs {
    /// Returns all three as `tokens × features`, outside of any graph.
    fn plain(&self, numbers: DType) -> Result<Self> {
        let plain = |x: &Tensor| x.detach().to_dtype(numbers)?.contiguous()?.flatten_from(1);
        Ok(Self { q: plain(&self.q)?, k: plain(&self.k)?, v: plain(&self.v)? })
    }
}

/// Adds what belongs to keys, `key heads × keys × features of a head`, to what belongs to all tokens, where the keys lie.
fn add(runs: &[Range<usize>], keys: &Tensor, all: &Tensor) -> Result<()> {
    let keys = keys.transpose(0, 1)?;
    let mut place = 0;
    for run in runs {
        let sum = (all.narrow(0, run.start, run.len())? + keys.narrow(0, place, run.len())?)?;
        all.slice_set(&sum.contiguous()?, 0, run.start)?;
        place += run.len();
    }
    Ok(())
}

/// Returns `laid`, whose dimensions are key heads, parts, query heads of a key head, length and features, as batches of
/// matrices: one for each of the first so many dimensions.
fn merged(laid: &Tensor, batches: usize) -> Result<Tensor> {
    let features = laid.dim(D::Minus1)?;
    let count = laid.dims()[..batches].iter().product::<usize>();
    laid.reshape((count, (), features))
}
