//! A frozen projection with an optional low-rank addition: `y = W x + s B (A drop(x))`.

use std::ops::Range;

use rayon::prelude::*;

use super::super::kernel::{LANES, Layout, Mode, Operand, Panels, add_outer, multiply};
use super::super::lora::{Adapter, random};
use super::super::weights::Matrix;
use super::Batch;

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
    /// `rank × inputs`.
    pub(super) a: &'a [f32],
    /// `outputs × rank`.
    pub(super) b: &'a [f32],
    pub(super) rank: usize,
    pub(super) scale: f32,
    /// Tells the module from all others, for dropout.
    pub(super) module: u64,
}

impl<'a> Low<'a> {
    /// Takes a module's matrices from the adapter's parameters.
    pub(super) fn new(adapter: &'a Adapter, (a, b): (Range<usize>, Range<usize>)) -> Self {
        let module = a.start as u64;
        let parameters = adapter.parameters();
        Self { a: &parameters[a], b: &parameters[b], rank: adapter.rank(), scale: adapter.scale(), module }
    }
}

/// Returns `W x`, with the low-rank addition; and the scaled `s A drop(x)` that the backward pass needs.
pub(super) fn forward(
    weight: &Matrix,
    low: Option<&Low<'_>>,
    x: &Panels,
    drop: Option<(Dropout, &Batch)>,
) -> (Panels, Panels) {
    let mut out = Panels::zeros(weight.rows(), x.panels() * LANES);
    weight.for_each_tile(|tile| product(tile.operand(), x, &mut out, (0, tile.first_row), Mode::Fresh));
    let Some(low) = low else { return (out, Panels::default()) };
    let mut small = Panels::zeros(low.rank, x.panels() * LANES);
    let dropped = drop.map(|(dropout, batch)| dropped(x, dropout, batch, low.module));
    product(
        Operand::by_rows(low.a, low.rank, x.features()),
        dropped.as_ref().unwrap_or(x),
        &mut small,
        (0, 0),
        Mode::Fresh,
    );
    for value in small.data_mut() {
        *value *= low.scale;
    }
    product(Operand::by_rows(low.b, weight.rows(), low.rank), &small, &mut out, (0, 0), Mode::Sum);
    (out, small)
}

/// What a projection's backward pass is given beside its gradient.
pub(super) struct Backward<'a> {
    pub(super) weight: &'a Matrix,
    /// The addition, with the places of its two matrices in the gradient.
    pub(super) low: Option<(Low<'a>, Range<usize>, Range<usize>)>,
    /// The projection's input.
    pub(super) x: &'a Panels,
    /// The scaled `s A drop(x)`.
    pub(super) small: &'a Panels,
    pub(super) drop: Option<(Dropout, &'a Batch)>,
}

impl Backward<'_> {
    /// Adds the adapter's gradient to `gradient` and writes or adds that of the input to `input`.
    pub(super) fn run(&self, back: &Panels, input: &mut Panels, mode: Mode, gradient: &mut [f32]) {
        self.weight.for_each_tile(|tile| {
            let mode = if tile.first_row == 0 { mode } else { Mode::Sum };
            product(tile.transposed(), back, input, (tile.first_row, 0), mode);
        });
        let Some((low, a, b)) = &self.low else { return };
        add_outer(back, self.small, Layout::WideByNarrow, &mut gradient[b.clone()]);
        let mut small_back = Panels::zeros(low.rank, back.panels() * LANES);
        product(Operand::transposed(low.b, back.features(), low.rank), back, &mut small_back, (0, 0), Mode::Fresh);
        for value in small_back.data_mut() {
            *value *= low.scale;
        }
        let inputs = self.x.features();
        let transposed_a = Operand::transposed(low.a, low.rank, inputs);
        match self.drop {
            None => {
                add_outer(self.x, &small_back, Layout::NarrowByWide, &mut gradient[a.clone()]);
                product(transposed_a, &small_back, input, (0, 0), Mode::Sum);
            }
            Some((dropout, batch)) => {
                let kept = dropped(self.x, dropout, batch, low.module);
                add_outer(&kept, &small_back, Layout::NarrowByWide, &mut gradient[a.clone()]);
                let mut through = Panels::zeros(inputs, back.panels() * LANES);
                product(transposed_a, &small_back, &mut through, (0, 0), Mode::Fresh);
                input.add(&dropped(&through, dropout, batch, low.module));
            }
        }
    }
}

/// Multiplies, the panels shared among the threads. `from` and `to` are the first features that are read and written.
pub(super) fn product(a: Operand<'_>, x: &Panels, out: &mut Panels, (from, to): (usize, usize), mode: Mode) {
    let (x_len, out_len) = (x.panel_len(), out.panel_len());
    let group = group(out.panels());
    out.data_mut().par_chunks_mut(group * out_len).zip(x.data().par_chunks(group * x_len)).for_each(|(out, x)| {
        multiply(a, (&x[from * LANES..], x_len), (&mut out[to * LANES..], out_len), mode);
    });
}

/// Returns how many panels one task takes: pairs, so many that each weight that is read serves several, and that no
/// thread is without work. It changes no bits.
pub(super) fn group(panels: usize) -> usize {
    2 * panels.div_ceil(2).div_ceil(rayon::current_num_threads()).clamp(1, 8)
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
