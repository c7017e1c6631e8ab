//! A frozen projection with an optional low-rank addition: `y = F x + s B A x'`, where `x' = drop(x)`.
//!
//! With DoRA it is `y = F x + (m / n − 1) F x' + (m / n) s B A x'`, where `n` are the lengths of the rows of `F + s B A`,
//! through which no gradient goes (Liu et al., 2024, section 4.3), and `m` the trained ones. With PiSSA `F` is the weight
//! without its greatest singular values: `F = W − s B₀ A₀`. Both as PEFT computes them.

use std::ops::Range;

use rayon::prelude::*;

use super::super::kernel::{LANES, Layout, Mode, Operand, Panels, add_outer};
use super::super::lora::{LowRank, Module, random};
use super::super::weights::Matrix;
use super::Batch;
use super::products::{Addition, products, scale, summand};

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

impl Dropout {
    /// Returns what the choices for one token of a module are drawn from.
    pub(super) fn token(&self, module: u64, identity: u64) -> u64 {
        random::mix(&[self.seed, module, identity])
    }

    /// Returns what a feature of such a token is multiplied with.
    pub(super) fn factor(&self, token: u64, feature: usize) -> f32 {
        let drawn = random::unit(random::mix(&[token, feature as u64]));
        if drawn < self.rate { 0.0 } else { 1.0 / (1.0 - self.rate) }
    }
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
    /// Returns what a feature's sum is multiplied with. A row of zeros stays one, whatever the factor.
    fn factor(&self, feature: usize) -> f32 {
        let norm = self.norms[feature];
        if norm > 0.0 { self.trained[feature] / norm } else { 1.0 }
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
    let mut out = x.like(weight.rows());
    let Some(low) = low else {
        frozen.apply(x, None, &mut out);
        return (out, Kept::default());
    };
    let dropped = drop.map(|(dropout, batch)| dropped(x, dropout, batch, low.module));
    let Some(magnitude) = low.magnitude else {
        let small = frozen.apply(x, Some((&low.pair, dropped.as_ref().unwrap_or(x))), &mut out);
        return (out, Kept { small, plain: None });
    };
    let mut plain = x.like(weight.rows());
    let small = match &dropped {
        None => {
            let small = frozen.apply(x, Some((&low.pair, x)), &mut plain);
            write_scaled(&mut out, &plain, |feature| magnitude.factor(feature));
            small
        }
        Some(dropped) => {
            frozen.apply(x, None, &mut out);
            frozen.apply(dropped, None, &mut plain);
            add_scaled(&mut out, &plain, |_| -1.0);
            let small = low.pair.narrowed(dropped);
            products(&summand(low.pair.rows_of_b(0..weight.rows()), &small), Vec::new(), &mut plain, 0, Mode::Sum);
            add_scaled(&mut out, &plain, |feature| magnitude.factor(feature));
            small
        }
    };
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
        let Some((low, module)) = &self.low else {
            frozen.back(back, None, input, mode);
            return;
        };
        let scaled = low.magnitude.map(|magnitude| {
            let mut scaled = back.like(back.features());
            write_scaled(&mut scaled, back, |feature| magnitude.factor(feature));
            scaled
        });
        let wide = scaled.as_ref().unwrap_or(back);
        add_outer(wide, &self.kept.small, Layout::WideByNarrow, &mut gradient[module.b()]);
        match self.drop {
            None => {
                // Where nothing is dropped, the frozen weight and the addition are given the same.
                let small_back = frozen.back(wide, Some(&low.pair), input, mode);
                add_outer(self.x, &small_back, Layout::NarrowByWide, &mut gradient[module.a()]);
            }
            Some((dropout, batch)) => {
                frozen.back(back, None, input, mode);
                let kept = dropped(self.x, dropout, batch, low.module);
                let mut through = back.like(self.x.features());
                let small_back = match scaled {
                    None => {
                        let small_back = low.pair.narrowed_back(back);
                        let a = low.pair.columns_of_a(0..self.x.features());
                        products(&summand(a, &small_back), Vec::new(), &mut through, 0, Mode::Fresh);
                        small_back
                    }
                    Some(mut rest) => {
                        let small_back = low.pair.narrowed_back(&rest);
                        add_scaled(&mut rest, back, |_| -1.0);
                        frozen.back(&rest, None, &mut through, Mode::Fresh);
                        let a = low.pair.columns_of_a(0..self.x.features());
                        products(&summand(a, &small_back), Vec::new(), &mut through, 0, Mode::Sum);
                        small_back
                    }
                };
                add_outer(&kept, &small_back, Layout::NarrowByWide, &mut gradient[module.a()]);
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
    /// Writes `F x` to `out`, and what a pair adds of its own input. Returns the pair's small product, nothing without one.
    fn apply(&self, x: &Panels, added: Option<(&LowRank<'_>, &Panels)>, out: &mut Panels) -> Panels {
        let mut removed = self.removed.map(|pair| Given::of(pair, x, -pair.scale));
        let mut added = added.map(|(pair, x)| Given::of(*pair, x, pair.scale));
        self.weight.for_each_rows(x.workspace(), |tile| {
            let a = tile.operand();
            let rows = tile.first..tile.first + a.rows;
            let additions = removed.iter_mut().chain(&mut added).map(|Given { pair, x, factor, small }| Addition {
                narrow: (tile.first == 0).then(|| (summand(pair.rows_of_a(), x), *factor)),
                small,
                wide: pair.rows_of_b(rows.clone()),
            });
            products(&summand(a, x), additions.collect(), out, tile.first, Mode::Fresh);
        });
        added.map(|added| added.small).unwrap_or_default()
    }

    /// Writes or adds `Fᵀ back` to `input`, and what a pair adds. Returns the pair's small product, nothing without one.
    fn back(&self, back: &Panels, added: Option<&LowRank<'_>>, input: &mut Panels, mode: Mode) -> Panels {
        let mut removed = self.removed.map(|pair| Given::of(pair, back, -pair.scale));
        let mut added = added.map(|pair| Given::of(*pair, back, pair.scale));
        self.weight.for_each_columns(back.workspace(), |tile| {
            let a = tile.transposed();
            let columns = tile.first..tile.first + a.rows;
            let additions = removed.iter_mut().chain(&mut added).map(|Given { pair, x, factor, small }| Addition {
                narrow: (tile.first == 0).then(|| (summand(pair.columns_of_b(), x), *factor)),
                small,
                wide: pair.columns_of_a(columns.clone()),
            });
            products(&summand(a, back), additions.collect(), input, tile.first, mode);
        });
        added.map(|added| added.small).unwrap_or_default()
    }
}

/// A pair, what it is given, and its small product.
struct Given<'a> {
    pair: LowRank<'a>,
    x: &'a Panels,
    factor: f32,
    small: Panels,
}

impl<'a> Given<'a> {
    fn of(pair: LowRank<'a>, x: &'a Panels, factor: f32) -> Self {
        Self { pair, x, factor, small: x.like(pair.rank) }
    }
}

impl<'a> LowRank<'a> {
    fn rows_of_a(&self) -> Operand<'a> {
        Operand::by_rows(self.a, self.rank, self.a.len() / self.rank)
    }

    /// Returns some columns of `A`, as the rows of `Aᵀ`.
    fn columns_of_a(&self, columns: Range<usize>) -> Operand<'a> {
        Operand::transposed(self.a, self.rank, self.a.len() / self.rank).some_rows(columns)
    }

    fn rows_of_b(&self, rows: Range<usize>) -> Operand<'a> {
        Operand::by_rows(self.b, self.b.len() / self.rank, self.rank).some_rows(rows)
    }

    /// Returns the columns of `B`, as the rows of `Bᵀ`.
    fn columns_of_b(&self) -> Operand<'a> {
        Operand::transposed(self.b, self.b.len() / self.rank, self.rank)
    }

    /// Returns the scaled `A x`.
    fn narrowed(&self, x: &Panels) -> Panels {
        self.small(self.rows_of_a(), x)
    }

    /// Returns the scaled `Bᵀ back`.
    fn narrowed_back(&self, back: &Panels) -> Panels {
        self.small(self.columns_of_b(), back)
    }

    fn small(&self, a: Operand<'_>, x: &Panels) -> Panels {
        let mut small = x.like(self.rank);
        products(&summand(a, x), Vec::new(), &mut small, 0, Mode::Fresh);
        scale(small.data_mut(), self.scale);
        small
    }
}

/// Adds `x` to `out`, each feature times its factor.
fn add_scaled(out: &mut Panels, x: &Panels, factor: impl Fn(usize) -> f32 + Sync) {
    each_feature(out, x, factor, |out, factor, x| factor.mul_add(x, out));
}

/// Writes `x` to `out`, each feature times its factor.
fn write_scaled(out: &mut Panels, x: &Panels, factor: impl Fn(usize) -> f32 + Sync) {
    each_feature(out, x, factor, |_, factor, x| factor * x);
}

fn each_feature(
    out: &mut Panels,
    x: &Panels,
    factor: impl Fn(usize) -> f32 + Sync,
    number: impl Fn(f32, f32, f32) -> f32 + Sync,
) {
    let len = x.panel_len();
    out.data_mut().par_chunks_mut(len).zip(x.data().par_chunks(len)).for_each(|(out, x)| {
        let features = out.as_chunks_mut::<LANES>().0.iter_mut().zip(x.as_chunks::<LANES>().0);
        for (feature, (out, x)) in features.enumerate() {
            let factor = factor(feature);
            for (out, x) in out.iter_mut().zip(x) {
                *out = number(*out, factor, *x);
            }
        }
    });
}

/// Adds for each feature the sum over the tokens of `left · right`, over its divisor, to `out`; nothing
/// where the divisor is 0.
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
            if *divisor > 0.0 {
                *out += sums.iter().sum::<f32>() / divisor;
            }
        }
    });
}

/// Returns `x` with some numbers zero and the others grown, chosen by seed, module, token and feature alone.
fn dropped(x: &Panels, dropout: Dropout, batch: &Batch, module: u64) -> Panels {
    let mut out = x.clone();
    let len = x.panel_len();
    out.data_mut().par_chunks_mut(len).enumerate().for_each(|(panel, out)| {
        for lane in 0..LANES {
            let token = dropout.token(module, batch.identity(panel * LANES + lane));
            for (feature, lanes) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                lanes[lane] *= dropout.factor(token, feature);
            }
        }
    });
    out
}
