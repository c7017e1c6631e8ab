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
use super::{Activations, Batch, GradientStep, Transformer, WholeModel};

/// Blocks that are measured together.
const BLOCKS: usize = 3;
/// Tokens of the smaller measurement.
const FEW: usize = 64;
/// Tokens of the larger one, at most.
const MANY: usize = 512;
/// What the larger measurement may take, in seconds.
const SECONDS: f64 = 0.4;
/// Times that each is measured.
const TIMES: usize = 3;
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
    /// # Errors
    /// [`super::super::ModelError`] when the weights cannot be read.
    pub fn measure(base: &Base, storage: Storage, adapter: Option<MakeAdapter<'_>>, row: &TokenRow) -> Result<Self> {
        let blocks = BLOCKS.min(base.config().layers);
        let trial = Trial::new(base, storage, blocks, adapter)?;
        let a_look = trial.time(&batch(row, FEW, Targets::One))?;
        let tokens = (FEW as f64 * SECONDS / a_look).clamp(2.0 * FEW as f64, MANY as f64) as usize;
        let [few, many] = [FEW, tokens].map(|tokens| batch(row, tokens, Targets::One));
        let several = [trial.time(&few)?, trial.time(&many)?];
        let forward = median(|| trial.loss(&many).map(drop))?;
        let first = trial.first(base, adapter)?;
        let one = [first.time(&few)?, first.time(&many)?];
        let more = blocks.saturating_sub(1).max(1) as f64;
        let block = [0, 1].map(|size| (several[size] - one[size]).max(0.0) / more);
        let trained = [FEW, tokens].map(|tokens| batch(row, tokens, Targets::OfRow));
        let head = [first.time(&trained[0])? - block[0], first.time(&trained[1])? - block[1]];
        Ok(Self {
            block: line((few.tokens(), block[0]), (many.tokens(), block[1])),
            forward: (forward / several[1]).min(1.0),
            head: line((trained[0].trained_tokens(), head[0]), (trained[1].trained_tokens(), head[1])),
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
enum Trial {
    Adapter { model: Transformer, adapter: Adapter },
    Whole(WholeModel),
}

impl Trial {
    fn new(base: &Base, storage: Storage, blocks: usize, adapter: Option<MakeAdapter<'_>>) -> Result<Self> {
        let Some(adapter) = adapter else { return Ok(Self::Whole(WholeModel::load_first(base, blocks)?)) };
        Self::beside(base, Transformer::load_first(base, storage, blocks, |_| ())?, adapter)
    }

    fn beside(base: &Base, model: Transformer, adapter: MakeAdapter<'_>) -> Result<Self> {
        let adapter = adapter(&ModelConfig { layers: model.blocks.len(), ..base.config().clone() }, &model)?;
        Ok(Self::Adapter { model, adapter })
    }

    /// Leaves the first block.
    fn first(self, base: &Base, adapter: Option<MakeAdapter<'_>>) -> Result<Self> {
        match (self, adapter) {
            (Self::Adapter { mut model, .. }, Some(adapter)) => {
                model.blocks.truncate(1);
                Self::beside(base, model, adapter)
            }
            (Self::Whole(mut model), _) => {
                model.truncate(1);
                Ok(Self::Whole(model))
            }
            (same, None) => Ok(same),
        }
    }

    fn loss(&self, batch: &Batch) -> Result<f64> {
        match self {
            Self::Adapter { model, adapter } => model.loss(Some(adapter), batch),
            Self::Whole(model) => model.model().loss(None, batch),
        }
    }

    /// Returns the seconds of the loss and gradient of a batch.
    fn time(&self, batch: &Batch) -> Result<f64> {
        let step = GradientStep::new(1.0, Activations::Kept);
        match self {
            Self::Adapter { model, adapter } => {
                let mut gradient = vec![0.0; adapter.parameters().len()];
                median(|| model.loss_and_gradient(adapter, batch, &step, &mut gradient).map(drop))
            }
            Self::Whole(model) => {
                let mut gradient = vec![0.0; model.numbers()];
                median(|| model.loss_and_gradient(batch, &step, &mut gradient).map(drop))
            }
        }
    }
}

/// Does something some times and returns the median of its seconds: the best would be that of a machine that does nothing
/// else, and the first touches its memory for the first time.
fn median(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut seconds = [0.0; TIMES];
    for seconds in &mut seconds {
        let begun = Instant::now();
        work()?;
        *seconds = begun.elapsed().as_secs_f64();
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[TIMES / 2])
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
