//! A frozen projection with an optional low-rank addition: `y = F x + s B A x'`, where `x' = drop(x)`.
//!
//! With DoRA it is `y = F x + (m / n − 1) F x' + (m / n) s B A x'`, where `n` are the lengths of the rows of `F + s B A`,
//! through which no gradient goes (Liu et al., 2024, section 4.3), and `m` the trained ones. With PiSSA `F` is the weight
//! without its greatest singular values: `F = W − s B₀ A₀`. Both as PEFT computes them.

use rayon::prelude::*;

use super::super::kernel::{LANES, Layout, Mode, Operand, Panels, add_outer, multiply};
use super::super::lora::{LowRank, Module, random};
use super::super::weights::Matrix;
use super::Batch;

/// Features of a sum over tokens that one task takes.
const TASK_FEATURES: usize = 96;

/// Dropout of what the adapter is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The share of numbers that become 0; the others grow by `1 / (1 − rate)`.
    pub rate: f32,
    /// What the choice is drawn from, together with the token, the module and the feature.
    pub seed: u64,
}

/// The low-rank addition of one module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Low<'a> {
    pub(super) pair: LowRank<'a>,
    /// PiSSA: what the frozen weight lacks.
    pub(super) removed: Option<LowRank<'a>>,
    pub(super) magnitude: Option<Magnitude<'a>>,
    /// Tells the module from all others, for dropout.
    pub(super) module: u64,
}

/// DoRA's lengths of rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Magnitude<'a> {
    /// The trained ones.
    pub(super) trained: &'a [f32],
    /// Those of the sum of the frozen weight and the addition.
    pub(super) norms: &'a [f32],
}

impl Magnitude<'_> {
    fn factor(&self, feature: usize) -> f32 {
        self.trained[feature] / self.norms[feature]
    }
}

/// What the backward pass needs of the forward pass.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// The scaled `s A x'`.
    small: Panels,
    /// With DoRA: `F x' + s B A x'`.
    plain: Option<Panels>,
}

/// Returns the projection's output, and what the backward pass needs.
pub(super) fn forward(
    weight: &Matrix,
    low: Option<&Low<'_>>,
    x: &Panels,
    drop: Option<(Dropout, &Batch)>,
) -> (Panels, Kept) {
    let frozen = Frozen { weight, removed: low.and_then(|low| low.removed) };
    let mut out = frozen.apply(x);
    let Some(low) = low else { return (out, Kept::default()) };
    let dropped = drop.map(|(dropout, batch)| dropped(x, dropout, batch, low.module));
    let small = narrowed(&low.pair, dropped.as_ref().unwrap_or(x), low.pair.scale);
    let Some(magnitude) = low.magnitude else {
        widen(&low.pair, &small, &mut out);
        return (out, Kept { small, plain: None });
    };
    let mut plain = match &dropped {
        None => std::mem::replace(&mut out, Panels::zeros(weight.rows(), x.panels() * LANES)),
        Some(dropped) => {
            let through = frozen.apply(dropped);
            add_scaled(&mut out, &through, |_| -1.0);
            through
        }
    };
    widen(&low.pair, &small, &mut plain);
    add_scaled(&mut out, &plain, |feature| magnitude.factor(feature));
    (out, Kept { small, plain: Some(plain) })
}

/// What a projection's backward pass is given beside its gradient.
pub(super) struct Backward<'a> {
    pub(super) weight: &'a Matrix,
    /// The addition, with the module that tells its places in the gradient.
    pub(super) low: Option<(Low<'a>, &'a Module)>,
    /// The projection's input.
    pub(super) x: &'a Panels,
    pub(super) kept: &'a Kept,
    pub(super) drop: Option<(Dropout, &'a Batch)>,
}

impl Backward<'_> {
    /// Adds the adapter's gradient to `gradient` and writes or adds that of the input to `input`.
    pub(super) fn run(&self, back: &Panels, input: &mut Panels, mode: Mode, gradient: &mut [f32]) {
        let frozen = Frozen { weight: self.weight, removed: self.low.as_ref().and_then(|(low, _)| low.removed) };
        let Some((low, module)) = &self.low else { return frozen.back(back, input, mode) };
        let scaled = low.magnitude.map(|magnitude| {
            let mut scaled = Panels::zeros(back.features(), back.panels() * LANES);
            add_scaled(&mut scaled, back, |feature| magnitude.factor(feature));
            scaled
        });
        let wide = scaled.as_ref().unwrap_or(back);
        // Where nothing is dropped, the frozen weight and the addition are given the same.
        frozen.back(if self.drop.is_none() { wide } else { back }, input, mode);
        add_outer(wide, &self.kept.small, Layout::WideByNarrow, &mut gradient[module.b()]);
        let mut small_back = Panels::zeros(low.pair.rank, back.panels() * LANES);
        let transposed_b = Operand::transposed(low.pair.b, back.features(), low.pair.rank);
        product(transposed_b, wide, &mut small_back, (0, 0), Mode::Fresh);
        scale(&mut small_back, low.pair.scale);
        let inputs = self.x.features();
        let transposed_a = Operand::transposed(low.pair.a, low.pair.rank, inputs);
        match self.drop {
            None => {
                add_outer(self.x, &small_back, Layout::NarrowByWide, &mut gradient[module.a()]);
                product(transposed_a, &small_back, input, (0, 0), Mode::Sum);
            }
            Some((dropout, batch)) => {
                let kept = dropped(self.x, dropout, batch, low.module);
                add_outer(&kept, &small_back, Layout::NarrowByWide, &mut gradient[module.a()]);
                let mut through = Panels::zeros(inputs, back.panels() * LANES);
                product(transposed_a, &small_back, &mut through, (0, 0), Mode::Fresh);
                if let Some(mut rest) = scaled {
                    add_scaled(&mut rest, back, |_| -1.0);
                    frozen.back(&rest, &mut through, Mode::Sum);
                }
                input.add(&dropped(&through, dropout, batch, low.module));
            }
        }
        if let (Some(magnitude), Some(plain), Some(place)) = (low.magnitude, &self.kept.plain, module.magnitude()) {
            add_products(back, plain, magnitude.norms, &mut gradient[place]);
        }
    }
}

/// The frozen part of a projection.
struct Frozen<'a> {
    weight: &'a Matrix,
    removed: Option<LowRank<'a>>,
}

impl Frozen<'_> {
    /// Returns `F x`.
    fn apply(&self, x: &Panels) -> Panels {
        let mut out = Panels::zeros(self.weight.rows(), x.panels() * LANES);
        for tile in self.weight.tiles() {
            let rows = tile.data.len() / self.weight.columns();
            let operand = Operand::by_rows(&tile.data, rows, self.weight.columns());
            product(operand, x, &mut out, (0, tile.first_row), Mode::Fresh);
        }
        if let Some(removed) = &self.removed {
            widen(removed, &narrowed(removed, x, -removed.scale), &mut out);
        }
        out
    }

    /// Writes or adds `Fᵀ back` to `input`.
    fn back(&self, back: &Panels, input: &mut Panels, mode: Mode) {
        for (index, tile) in self.weight.tiles().enumerate() {
            let rows = tile.data.len() / self.weight.columns();
            let operand = Operand::transposed(&tile.data, rows, self.weight.columns());
            let mode = if index == 0 { mode } else { Mode::Sum };
            product(operand, back, input, (tile.first_row, 0), mode);
        }
        if let Some(removed) = &self.removed {
            let mut small = Panels::zeros(removed.rank, back.panels() * LANES);
            let transposed_b = Operand::transposed(removed.b, back.features(), removed.rank);
            product(transposed_b, back, &mut small, (0, 0), Mode::Fresh);
            scale(&mut small, -removed.scale);
            let transposed_a = Operand::transposed(removed.a, removed.rank, self.weight.columns());
            product(transposed_a, &small, input, (0, 0), Mode::Sum);
        }
    }
}

/// Returns `scale · A x`.
fn narrowed(pair: &LowRank<'_>, x: &Panels, factor: f32) -> Panels {
    let mut small = Panels::zeros(pair.rank, x.panels() * LANES);
    product(Operand::by_rows(pair.a, pair.rank, x.features()), x, &mut small, (0, 0), Mode::Fresh);
    scale(&mut small, factor);
    small
}

/// Adds `B small` to `out`.
fn widen(pair: &LowRank<'_>, small: &Panels, out: &mut Panels) {
    product(Operand::by_rows(pair.b, out.features(), pair.rank), small, out, (0, 0), Mode::Sum);
}

fn scale(x: &mut Panels, factor: f32) {
    for value in x.data_mut() {
        *value *= factor;
    }
}

/// Adds `x` to `out`, each feature times its factor.
fn add_scaled(out: &mut Panels, x: &Panels, factor: impl Fn(usize) -> f32 + Sync) {
    let len = x.panel_len();
    out.data_mut().par_chunks_mut(len).zip(x.data().par_chunks(len)).for_each(|(out, x)| {
        let features = out.as_chunks_mut::<LANES>().0.iter_mut().zip(x.as_chunks::<LANES>().0);
        for (feature, (out, x)) in features.enumerate() {
            let factor = factor(feature);
            for (out, x) in out.iter_mut().zip(x) {
                *out = factor.mul_add(*x, *out);
            }
        }
    });
}

/// Adds for each feature the sum over the tokens of `left · right`, over its divisor, to `out`.
fn add_products(left: &Panels, right: &Panels, divisors: &[f32], out: &mut [f32]) {
    let tasks = out.par_chunks_mut(TASK_FEATURES).zip(divisors.par_chunks(TASK_FEATURES));
    tasks.enumerate().for_each(|(task, (out, divisors))| {
        let mut sums = [[0.0_f32; LANES]; TASK_FEATURES];
        let part = task * TASK_FEATURES * LANES..(task * TASK_FEATURES + out.len()) * LANES;
        for panel in 0..left.panels() {
            let left = left.panel(panel)[part.clone()].as_chunks::<LANES>().0;
            let right = right.panel(panel)[part.clone()].as_chunks::<LANES>().0;
            for (sums, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
                for (sum, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
                    *sum = left.mul_add(*right, *sum);
                }
            }
        }
        for ((out, sums), divisor) in out.iter_mut().zip(&sums).zip(divisors) {
            *out += sums.iter().sum::<f32>() / divisor;
        }
    });
}

/// Multiplies, the panels shared among the threads. `from` and `to` are the first features that are read and written.
fn product(a: Operand<'_>, x: &Panels, out: &mut Panels, (from, to): (usize, usize), mode: Mode) {
    let (x_len, out_len) = (x.panel_len(), out.panel_len());
    let group = group(out.panels());
    out.data_mut().par_chunks_mut(group * out_len).zip(x.data().par_chunks(group * x_len)).for_each(|(out, x)| {
        multiply(a, (&x[from * LANES..], x_len), (&mut out[to * LANES..], out_len), mode);
    });
}

/// Returns how many panels one task takes: pairs, so many that each weight read serves several, and that no thread
/// is without work. It changes no bits.
pub(super) fn group(panels: usize) -> usize {
    let tasks = 2 * rayon::current_num_threads();
    2 * panels.div_ceil(2).div_ceil(tasks).clamp(1, 4)
}

/// Returns `x` with some numbers zero and the others grown, chosen by seed, module, token and feature alone.
fn dropped(x: &Panels, dropout: Dropout, batch: &Batch, module: u64) -> Panels {
    let mut out = x.clone();
    let len = x.panel_len();
    let growth = 1.0 / (1.0 - dropout.rate);
    out.data_mut().par_chunks_mut(len).enumerate().for_each(|(panel, out)| {
        for lane in 0..LANES {
            let token = random::mix(&[dropout.seed, module, batch.identity(panel * LANES + lane)]);
            for (feature, lanes) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                let drawn = random::unit(random::mix(&[token, feature as u64]));
                lanes[lane] *= if drawn < dropout.rate { 0.0 } else { growth };
            }
        }
    });
    out
}
