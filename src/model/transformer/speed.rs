//! What computing takes on this machine, and how long a training is by that.
//!
//! What a micro-batch takes is close to a line over its tokens and over the pairs of tokens that attention compares, and to
//! the sum of its blocks.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::Batch;

/// What computing takes here, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Speed {
    /// Reading the weights of a block, and those outside of blocks.
    pub read: (f64, f64),
    /// Making what is trained beside a block.
    pub start: f64,
    /// The first touch of memory, for each byte.
    pub byte: f64,
    /// A weight in a product with a panel of sixteen tokens, which reads it from memory.
    pub weight: f64,
    /// A block in which something is trained, forward and backward, but for [`Speed::pair`]: each time, and for each token.
    pub block: (f64, f64),
    /// A block's attention, forward and backward, for each pair of a token with one that it sees.
    pub pair: f64,
    /// The share of the forward pass in a block.
    pub forward: f64,
    /// What a block takes, forward and backward, in which nothing is trained: as a share of one in which something is.
    pub frozen: f64,
    /// All but the blocks: each time, and for each trained token.
    pub head: (f64, f64),
    /// A step of the optimiser, for each parameter.
    pub parameter: f64,
    /// Floating-point operations of a second in a matrix product that lies in the caches.
    pub peak: f64,
}

/// What some micro-batches hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount {
    /// Micro-batches.
    pub batches: f64,
    /// Tokens that are computed: those that rows share count once.
    pub tokens: f64,
    /// Tokens whose prediction is trained.
    pub trained: f64,
    /// Pairs of a token with one that it sees, itself among them.
    pub pairs: f64,
}

impl Amount {
    /// Returns what `times` as much holds.
    pub fn times(self, times: f64) -> Self {
        let Self { batches, tokens, trained, pairs } = self;
        Self { batches: times * batches, tokens: times * tokens, trained: times * trained, pairs: times * pairs }
    }
}

impl From<&Batch> for Amount {
    fn from(batch: &Batch) -> Self {
        Self {
            batches: 1.0,
            tokens: batch.tokens() as f64,
            trained: batch.trained_tokens() as f64,
            pairs: batch.pairs() as f64,
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.batches += other.batches;
        self.tokens += other.tokens;
        self.trained += other.trained;
        self.pairs += other.pairs;
    }
}

/// How many blocks of a model are computed in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passes {
    /// Forward only: those below the first in which something is trained.
    pub forward: usize,
    /// Forward and backward, with something to train.
    pub trained: usize,
    /// Forward and backward, with nothing to train, above such a block.
    pub frozen: usize,
    /// Forward once more, since their intermediate results are not kept.
    pub again: usize,
}

impl Speed {
    /// Returns the seconds of what comes before the first step: what is read and made, and so much memory beside the weights
    /// that is touched for the first time.
    pub fn beginning(&self, layers: usize, passes: &Passes, bytes: u64) -> f64 {
        self.read.0 * layers as f64 + self.read.1 + self.start * passes.trained as f64 + self.byte * bytes as f64
    }

    /// Returns the seconds of the gradients of some micro-batches.
    pub fn gradients(&self, passes: &Passes, of: Amount) -> f64 {
        let forward = self.forward * (passes.forward + passes.again) as f64;
        let blocks = passes.trained as f64 + self.frozen * passes.frozen as f64 + forward;
        blocks * self.block(of) + self.head(of)
    }

    /// Returns the seconds of the losses alone.
    pub fn losses(&self, layers: usize, of: Amount) -> f64 {
        self.forward * (layers as f64 * self.block(of) + self.head(of))
    }

    fn block(&self, of: Amount) -> f64 {
        self.block.0 * of.batches + self.block.1 * of.tokens + self.pair * of.pairs
    }

    fn head(&self, of: Amount) -> f64 {
        self.head.0 * of.batches + self.head.1 * of.trained
    }
}
