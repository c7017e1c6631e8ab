//! How fast this machine trains a model: a second or two of the real computation, for forecasts.
//!
//! Some blocks and the output projection of the model itself are computed for two numbers of tokens; what a micro-batch
//! takes is close to a line over its tokens, and to the sum of its blocks.

use std::time::Instant;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::Result;
use super::super::config::ModelConfig;
use super::super::kernel::{LANES, Mode, Operand, multiply};
use super::super::lora::Adapter;
use super::super::optimizer::{AdamW, Part};
use super::super::rows::TokenRow;
use super::super::weights::{Base, Storage};
use super::block::Block;
use super::{Activations, Batch, GradientStep, Transformer, WholeModel};

/// Blocks that are measured together.
const BLOCKS: usize = 3;
/// Tokens of the smaller measurement.
const FEW: usize = 64;
/// Tokens of the larger one, at most.
const MANY: usize = 512;
/// What the larger measurement may take, in seconds.
const SECONDS: f64 = 0.4;
/// Rounds of measurements: so many at the least, and more within these seconds.
const LEAST_ROUNDS: usize = 3;
const MOST_ROUNDS: usize = 7;
const ROUNDS_SECONDS: f64 = 3.0;
/// Parameters that the optimiser is measured with: those of an adapter, which caches hold, and those of a model, which
/// they do not.
const FEW_PARAMETERS: usize = 1 << 19;
const MANY_PARAMETERS: usize = 1 << 23;

/// What computing takes here, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Speed {
    /// A block, forward and backward: each time, and for each token.
    pub block: (f64, f64),
    /// The share of the forward pass in that.
    pub forward: f64,
    /// All but the blocks: each time, and for each trained token.
    pub head: (f64, f64),
    /// A step of the optimiser, for each parameter.
    pub parameter: f64,
    /// Floating-point operations of a second in a matrix product that lies in the caches.
    pub peak: f64,
}

impl Speed {
    /// Measures it with the first blocks of `base` and, beside them, an adapter for so small a model; without one all
    /// weights are trained. Rows are as long as `row`, and as much of them is trained.
    ///
    /// All is measured in turns, and what a block takes is the difference within a turn: a machine that does something else
    /// meanwhile is slow for both.
    ///
    /// # Errors
    /// [`super::super::ModelError`] when the weights cannot be read.
    pub fn measure(base: &Base, storage: Storage, adapter: Option<MakeAdapter<'_>>, row: &TokenRow) -> Result<Self> {
        let mut trial = Trial::new(base, storage, adapter)?;
        let few = batch(row, FEW, Targets::One);
        trial.time(&few)?;
        let a_look = trial.time(&few)?;
        let tokens = (FEW as f64 * SECONDS / a_look).clamp(2.0 * FEW as f64, MANY as f64) as usize;
        let many = batch(row, tokens, Targets::One);
        let trained = [FEW, tokens].map(|tokens| batch(row, tokens, Targets::OfRow));
        // The first one touches its memory for the first time.
        trial.round([&few, &many], &trained)?;
        let (begun, mut rounds) = (Instant::now(), Vec::new());
        while rounds.len() < LEAST_ROUNDS
            || rounds.len() < MOST_ROUNDS && begun.elapsed().as_secs_f64() < ROUNDS_SECONDS
        {
            rounds.push(trial.round([&few, &many], &trained)?);
        }
        let of = |number: fn(&Round) -> f64| median(rounds.iter().map(number).collect());
        let blocks = [of(|round| round.block[0]), of(|round| round.block[1])];
        let heads = [of(|round| round.head[0]), of(|round| round.head[1])];
        Ok(Self {
            block: line((few.tokens(), blocks[0]), (many.tokens(), blocks[1])),
            forward: of(|round| round.forward).clamp(0.0, 1.0),
            head: line((trained[0].trained_tokens(), heads[0]), (trained[1].trained_tokens(), heads[1])),
            parameter: a_parameter(if adapter.is_some() { FEW_PARAMETERS } else { MANY_PARAMETERS }),
            peak: peak_flops(),
        })
    }

    /// Returns the seconds of a micro-batch of so many tokens through so many blocks, `again` of which are computed again in
    /// the backward pass.
    pub fn micro_batch(&self, layers: usize, again: usize, (tokens, trained): (f64, f64)) -> f64 {
        let block = self.block.0 + self.block.1 * tokens;
        block * (layers as f64 + again as f64 * self.forward) + self.head.0 + self.head.1 * trained
    }
}

/// Makes an adapter for the first blocks of a model.
pub type MakeAdapter<'a> = &'a dyn Fn(&ModelConfig, &Transformer) -> Result<Adapter>;

/// A model under measurement.
struct Trial {
    model: Model,
    /// The adapters of all blocks and of the first alone, where adapters are what is trained.
    adapters: Option<[Adapter; 2]>,
    gradient: Vec<f32>,
}

/// Its weights.
enum Model {
    Frozen(Transformer),
    Trained(WholeModel),
}

/// What one round found, in seconds: of a block for few and many tokens, the share of its forward pass for many, and of
/// all but the blocks.
struct Round {
    block: [f64; 2],
    forward: f64,
    head: [f64; 2],
}

impl Trial {
    fn new(base: &Base, storage: Storage, adapter: Option<MakeAdapter<'_>>) -> Result<Self> {
        let blocks = BLOCKS.min(base.config().layers);
        let Some(adapter) = adapter else {
            let model = WholeModel::load_first(base, blocks)?;
            let gradient = vec![0.0; model.numbers()];
            return Ok(Self { model: Model::Trained(model), adapters: None, gradient });
        };
        let model = Transformer::load_first(base, storage, blocks, |_| ())?;
        let beside = |layers| adapter(&ModelConfig { layers, ..base.config().clone() }, &model);
        let adapters = [beside(blocks)?, beside(1)?];
        let gradient = vec![0.0; adapters[0].parameters().len()];
        Ok(Self { model: Model::Frozen(model), adapters: Some(adapters), gradient })
    }

    /// Measures each quantity once.
    fn round(&mut self, plain: [&Batch; 2], trained: &[Batch; 2]) -> Result<Round> {
        let more = self.model.blocks().len().saturating_sub(1).max(1) as f64;
        let several = [self.time(plain[0])?, self.time(plain[1])?];
        let forward = self.time_forward(plain[1])?;
        let rest = self.model.blocks().split_off(1);
        let one = [self.time(plain[0])?, self.time(plain[1])?];
        let one_forward = self.time_forward(plain[1])?;
        let heads = [self.time(&trained[0])?, self.time(&trained[1])?];
        self.model.blocks().extend(rest);
        let block = [0, 1].map(|size| (several[size] - one[size]).max(0.0) / more);
        Ok(Round {
            block,
            forward: (forward - one_forward) / (more * block[1]).max(f64::MIN_POSITIVE),
            head: [0, 1].map(|size| heads[size] - block[size]),
        })
    }

    /// Returns the adapter of the blocks that there are.
    fn adapter(&self) -> Option<&Adapter> {
        let blocks = match &self.model {
            Model::Frozen(model) => model.blocks.len(),
            Model::Trained(_) => return None,
        };
        self.adapters.as_ref().map(|[several, one]| if blocks == 1 { one } else { several })
    }

    /// Returns the seconds of the loss of a batch.
    fn time_forward(&self, batch: &Batch) -> Result<f64> {
        let begun = Instant::now();
        match &self.model {
            Model::Frozen(model) => model.loss(self.adapter(), batch)?,
            Model::Trained(model) => model.model().loss(None, batch)?,
        };
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Returns the seconds of the loss and gradient of a batch.
    fn time(&mut self, batch: &Batch) -> Result<f64> {
        let step = GradientStep::new(1.0, Activations::Kept);
        let mut gradient = std::mem::take(&mut self.gradient);
        let begun = Instant::now();
        match (&self.model, self.adapter()) {
            (Model::Frozen(model), Some(adapter)) => {
                model.loss_and_gradient(adapter, batch, &step, &mut gradient[..adapter.parameters().len()])?;
            }
            (Model::Trained(model), _) => {
                model.loss_and_gradient(batch, &step, &mut gradient[..model.numbers()])?;
            }
            (Model::Frozen(_), None) => {}
        }
        self.gradient = gradient;
        Ok(begun.elapsed().as_secs_f64())
    }
}

impl Model {
    fn blocks(&mut self) -> &mut Vec<Block> {
        match self {
            Self::Frozen(model) => &mut model.blocks,
            Self::Trained(model) => model.blocks_mut(),
        }
    }
}

/// Returns the middle one: the best would be that of a machine that does nothing else.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Returns the line through two points: its height at 0 and its slope, neither below 0.
fn line(few: (usize, f64), many: (usize, f64)) -> (f64, f64) {
    let run = many.0.saturating_sub(few.0);
    let slope = if run == 0 { 0.0 } else { ((many.1 - few.1) / run as f64).max(0.0) };
    let slope = slope.min(many.1.max(0.0) / many.0.max(1) as f64);
    ((many.1 - slope * many.0 as f64).max(0.0), slope)
}

/// Which tokens of a measured batch are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Targets {
    /// A single one, so that the output projection takes next to no time beside the blocks.
    One,
    /// Those of the row.
    OfRow,
}

/// Lays `row` end to end up to so many tokens.
fn batch(row: &TokenRow, tokens: usize, targets: Targets) -> Batch {
    let mut rows = Vec::new();
    let mut left = tokens;
    while left > 0 && !row.ids.is_empty() {
        let length = left.min(row.ids.len());
        // The end of the row, where the answer is, so that something is trained.
        let start = row.ids.len() - length;
        let mut ids = row.ids[start..].to_vec();
        // What rows begin with in common would be computed once.
        ids[0] = rows.len() as u32;
        left -= length;
        let trained = match targets {
            Targets::One => (1..=length).map(|token| rows.is_empty() && token == length).collect(),
            Targets::OfRow => row.trained[start..].to_vec(),
        };
        rows.push(TokenRow { ids, trained });
    }
    Batch::new(rows.iter().map(|row| (0, row)))
}

/// Returns the seconds of a step of the optimiser over so many parameters, for each.
fn a_parameter(count: usize) -> f64 {
    let mut parameters = vec![0.5; count];
    let gradient = vec![0.25; count];
    let mut optimizer = AdamW::new(count, 0.0);
    let mut step = || {
        let part = Part { numbers: &mut parameters, rate: 1.0, decays: true };
        optimizer.step(vec![part], &gradient, 1e-3);
    };
    step();
    let begun = Instant::now();
    step();
    begun.elapsed().as_secs_f64() / count as f64
}

/// Returns the floating-point operations of a second that a matrix product reaches on the threads of this pool.
pub fn peak_flops() -> f64 {
    const SIZE: usize = 512;
    const PANELS: usize = 8;
    let weight = vec![0.5_f32; SIZE * SIZE];
    let product = |_: usize| {
        let x = vec![0.25_f32; PANELS * SIZE * LANES];
        let mut out = vec![0.0_f32; PANELS * SIZE * LANES];
        let begun = Instant::now();
        let mut times = 0;
        while times < 4 || begun.elapsed().as_secs_f64() < 0.05 {
            let stride = SIZE * LANES;
            multiply(Operand::by_rows(&weight, SIZE, SIZE), (&x, stride), (&mut out, stride), Mode::Fresh);
            times += 1;
        }
        let flops = 2 * times * SIZE * SIZE * PANELS * LANES;
        flops as f64 / begun.elapsed().as_secs_f64()
    };
    let threads = rayon::current_num_threads();
    let once = || (0..threads).into_par_iter().with_max_len(1).map(product).sum::<f64>();
    once().max(once()).max(once())
}
