//! Measures how fast this machine trains a model: some seconds of the real computation, for forecasts.
//!
//! Some blocks and the output projection of the model itself are computed for two numbers of tokens.

use std::time::Instant;

use rayon::prelude::*;

use super::super::Result;
use super::super::config::ModelConfig;
use super::super::kernel::{BAND, LANES, Mode, Operand, Pages, Panels, multiply};
use super::super::lora::{Adapter, LoraConfig};
use super::super::optimizer::{AdamW, Part};
use super::super::rows::TokenRow;
use super::super::weights::{Base, Storage};
use super::attention::Inputs;
use super::block::Block;
use super::products::{products, summand};
use super::{Activations, Batch, Dropout, GradientStep, Speed, Transformer, WholeModel};

/// Blocks that are measured together.
const BLOCKS: usize = 3;
/// Tokens of the smaller measurement, and of a row in both.
const FEW: usize = 64;
/// Tokens of the larger one, at most: as many as a micro-batch usually has.
const MANY: usize = 1024;
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
/// Numbers of fresh memory that are touched.
const FRESH: usize = 1 << 24;

impl Speed {
    /// Measures it with the first blocks of `base` and, beside each of them, an adapter; without one all weights are trained.
    ///
    /// All is measured in turns, and what a block takes is the difference within a turn: a machine that does something else
    /// meanwhile is slow for both.
    ///
    /// # Errors
    /// [`super::super::ModelError`] when the weights cannot be read, or the adapter means nothing in them.
    pub fn measure(base: &Base, storage: Storage, adapter: Option<(&LoraConfig, Option<Dropout>)>) -> Result<Self> {
        let mut trial = Trial::new(base, storage, adapter)?;
        let few = batch(FEW, Targets::One);
        trial.time(&few)?;
        let a_look = trial.time(&few)?;
        let tokens = (FEW as f64 * SECONDS / a_look).clamp(2.0 * FEW as f64, MANY as f64) as usize;
        let many = batch(tokens, Targets::One);
        let trained = [FEW, tokens].map(|tokens| batch(tokens, Targets::All));
        // The first one touches its memory for the first time.
        trial.round([&few, &many], &trained)?;
        let (begun, mut rounds) = (Instant::now(), Vec::new());
        while rounds.len() < LEAST_ROUNDS
            || rounds.len() < MOST_ROUNDS && begun.elapsed().as_secs_f64() < ROUNDS_SECONDS
        {
            rounds.push(trial.round([&few, &many], &trained)?);
        }
        let of = |number: fn(&Round) -> f64| median(rounds.iter().map(number).collect());
        let pair = of(|round| round.pair);
        let block = |seconds: f64, batch: &Batch| (batch.tokens(), (seconds - pair * batch.pairs() as f64).max(0.0));
        let head = |seconds: f64, batch: &Batch| (batch.trained_tokens(), seconds);
        let (byte, weight) = memory();
        Ok(Self {
            read: trial.read,
            start: trial.start,
            byte,
            weight,
            block: line(block(of(|round| round.block[0]), &few), block(of(|round| round.block[1]), &many)),
            pair,
            forward: of(|round| round.forward).clamp(0.0, 1.0),
            frozen: of(|round| round.frozen).clamp(0.0, 1.0),
            head: line(head(of(|round| round.head[0]), &trained[0]), head(of(|round| round.head[1]), &trained[1])),
            parameter: a_parameter(if adapter.is_some() { FEW_PARAMETERS } else { MANY_PARAMETERS }),
            peak: peak_flops(),
        })
    }
}

/// A model under measurement.
struct Trial {
    model: Model,
    /// The adapters of all blocks and of the first alone, where adapters are what is trained.
    adapters: Option<[Adapter; 2]>,
    dropout: Option<Dropout>,
    gradient: Vec<f32>,
    read: (f64, f64),
    start: f64,
}

/// Its weights.
enum Model {
    Frozen(Transformer),
    Trained(WholeModel),
}

/// What one round found, in seconds: of a block for few and many tokens, the shares of a forward pass and of a block without
/// anything to train in that for many, of a pair, and of all but the blocks.
struct Round {
    block: [f64; 2],
    forward: f64,
    frozen: f64,
    pair: f64,
    head: [f64; 2],
}

impl Trial {
    fn new(base: &Base, storage: Storage, adapter: Option<(&LoraConfig, Option<Dropout>)>) -> Result<Self> {
        let blocks = BLOCKS.min(base.config().layers);
        let (begun, mut read) = (Instant::now(), Vec::with_capacity(blocks));
        let told = |_| read.push(begun.elapsed().as_secs_f64());
        let model = if adapter.is_some() {
            Model::Frozen(Transformer::load_first(base, storage, blocks, told)?)
        } else {
            Model::Trained(WholeModel::load_first(base, blocks, told)?)
        };
        let a_block = (read[blocks - 1] - read[0]) / (blocks - 1).max(1) as f64;
        let read = (a_block, (begun.elapsed().as_secs_f64() - a_block * blocks as f64).max(0.0));
        let begun = Instant::now();
        let (adapters, gradient) = match (&model, adapter) {
            (Model::Frozen(model), Some((kind, _))) => {
                let beside = |layers| {
                    let config = ModelConfig { layers, ..base.config().clone() };
                    Adapter::new(&config, kind, 0, |layer, projection| model.weight(layer, projection))
                };
                let several = beside(blocks)?;
                let numbers = several.parameters().len();
                (Some([several, beside(1)?]), numbers)
            }
            (Model::Trained(model), _) => (None, model.numbers()),
            (Model::Frozen(_), None) => (None, 0),
        };
        let start = begun.elapsed().as_secs_f64() / (blocks + 1) as f64;
        let dropout = adapter.and_then(|(_, dropout)| dropout);
        Ok(Self { model, adapters, dropout, gradient: vec![0.0; gradient], read, start })
    }

    /// Measures each quantity once.
    fn round(&mut self, plain: [&Batch; 2], trained: &[Batch; 2]) -> Result<Round> {
        let more = self.model.blocks().len().saturating_sub(1).max(1) as f64;
        let several = [self.time(plain[0])?, self.time(plain[1])?];
        let forward = self.time_forward(plain[1])?;
        let first_trained = self.time_with(Beside::First, plain[1])?;
        let rest = self.model.blocks().split_off(1);
        let one = [self.time(plain[0])?, self.time(plain[1])?];
        let one_forward = self.time_forward(plain[1])?;
        let heads = [self.time(&trained[0])?, self.time(&trained[1])?];
        let pair = self.time_pair();
        self.model.blocks().extend(rest);
        let block = [0, 1].map(|size| (several[size] - one[size]).max(0.0) / more);
        let share = |seconds: f64| seconds / (more * block[1]).max(f64::MIN_POSITIVE);
        Ok(Round {
            block,
            forward: share(forward - one_forward),
            frozen: share(first_trained - one[1]),
            pair,
            head: [0, 1].map(|size| heads[size] - block[size]),
        })
    }

    /// Returns the adapter of the blocks that there are, or of the first of them.
    fn adapter(&self, beside: Beside) -> Option<&Adapter> {
        let blocks = match &self.model {
            Model::Frozen(model) => model.blocks.len(),
            Model::Trained(_) => return None,
        };
        let is_one = blocks == 1 || beside == Beside::First;
        self.adapters.as_ref().map(|[several, one]| if is_one { one } else { several })
    }

    /// Returns the seconds of the loss of a batch.
    fn time_forward(&self, batch: &Batch) -> Result<f64> {
        let begun = Instant::now();
        match &self.model {
            Model::Frozen(model) => model.loss(self.adapter(Beside::All), batch)?,
            Model::Trained(model) => model.model().loss(None, batch)?,
        };
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Returns the seconds of the loss and gradient of a batch.
    fn time(&mut self, batch: &Batch) -> Result<f64> {
        self.time_with(Beside::All, batch)
    }

    fn time_with(&mut self, beside: Beside, batch: &Batch) -> Result<f64> {
        let step = GradientStep { dropout: self.dropout, ..GradientStep::new(1.0, Activations::Kept) };
        let mut gradient = std::mem::take(&mut self.gradient);
        let begun = Instant::now();
        match (&self.model, self.adapter(beside)) {
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

    /// Returns the seconds of attention, forward and backward, for each pair of tokens of a row of [`MANY`].
    fn time_pair(&mut self) -> f64 {
        let heads = self.model.blocks()[0].heads;
        let batch = Batch::new([(0, &TokenRow { ids: vec![0; MANY], trained: vec![false; MANY] })]);
        let panels = |features: usize| {
            let mut panels = Panels::zeros(features, MANY);
            panels.data_mut().fill(0.5);
            panels
        };
        let [q, back] = [(); 2].map(|()| panels(heads.queries * heads.size));
        let [k, v] = [(); 2].map(|()| panels(heads.keys * heads.size));
        let inputs = Inputs { heads, q: &q, k: &k, v: &v, batch: &batch, first: 0 };
        let begun = Instant::now();
        let (mixed, statistics) = inputs.forward();
        inputs.backward(&mixed, &back, &statistics);
        begun.elapsed().as_secs_f64() / batch.pairs() as f64
    }
}

/// Beside which blocks there is an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    All,
    First,
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
    /// All that have a token before them.
    All,
}

/// Lays rows of [`FEW`] tokens end to end, up to so many tokens.
fn batch(tokens: usize, targets: Targets) -> Batch {
    let lengths = (0..tokens.div_ceil(FEW)).map(|row| FEW.min(tokens - row * FEW));
    let rows: Vec<TokenRow> = lengths
        .enumerate()
        .map(|(row, length)| TokenRow {
            // What rows begin with in common would be computed once.
            ids: (0..length).map(|token| if token == 0 { row as u32 } else { token as u32 }).collect(),
            trained: (1..=length).map(|token| targets == Targets::All || row == 0 && token == length).collect(),
        })
        .collect();
    Batch::new(rows.iter().map(|row| (0, row)))
}

/// Returns the seconds that a byte of memory takes when it is touched for the first time, and a weight that is read from
/// there in a product with one panel.
fn memory() -> (f64, f64) {
    const COLUMNS: usize = 1 << 10;
    const ROWS: usize = FRESH / COLUMNS / BAND * BAND;
    let begun = Instant::now();
    let mut pages = Pages::zeros(ROWS * COLUMNS);
    pages.fill(0.5);
    let touched = begun.elapsed().as_secs_f64();
    let (x, mut out) = (Panels::zeros(COLUMNS, 1), Panels::zeros(ROWS, 1));
    let begun = Instant::now();
    products(&summand(Operand::bands(&pages, ROWS, COLUMNS), &x), Vec::new(), &mut out, 0, Mode::Fresh);
    (touched / size_of_val(&pages[..]) as f64, begun.elapsed().as_secs_f64() / pages.len() as f64)
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
