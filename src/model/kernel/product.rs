//! The matrix product: a broadcast matrix times panels of tokens.
//!
//! One micro-kernel an instruction set, chosen at run time; all give the same bits, which a test checks.

use std::ops::Range;

use super::LANES;
use super::operand::{BAND, Operand, Strides};
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::model::vectors::Vectors;

/// Features that are multiplied before the next rows are taken: two panels of them stay in the first cache, also when
/// two threads share it. A multiple of [`BAND`], so that a block of a transposed matrix begins with a band.
const DEPTH_BLOCK: usize = 12 * BAND;
/// Rows, and columns, of the part of the broadcast matrix that all panels are multiplied with while it stays in the
/// second cache: half a megabyte. Multiples of [`BAND`].
const ROW_BLOCK: usize = 8 * BAND;
const COLUMN_BLOCK: usize = 10 * DEPTH_BLOCK;

/// What happens to the numbers that are already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Mode {
    /// They are replaced.
    Fresh,
    /// The product is added to them.
    Sum,
}

/// Multiplies `a` with panels: each panel of `x` has `a.columns` features, each of `out` has `a.rows`.
///
/// `x_stride` and `out_stride` are the numbers from one panel to the next; there are as many panels as fit.
///
/// # Panics
/// When the slices are shorter than the shapes say.
pub(in crate::model) fn multiply(
    a: Operand<'_>,
    (x, x_stride): (&[f32], usize),
    (out, out_stride): (&mut [f32], usize),
    mode: Mode,
) {
    let panels = out.len().div_ceil(out_stride.max(1));
    if a.rows == 0 || panels == 0 {
        return;
    }
    assert!(a.data.len() >= a.reach(), "the broadcast matrix is shorter than its shape");
    assert!(x.len() >= (panels - 1) * x_stride + a.columns * LANES, "the panels are shorter than their shape");
    assert!(out.len() >= (panels - 1) * out_stride + a.rows * LANES, "the result is shorter than its shape");
    if a.columns == 0 {
        if mode == Mode::Fresh {
            for panel in 0..panels {
                out[panel * out_stride..][..a.rows * LANES].fill(0.0);
            }
        }
        return;
    }
    let product = Product { vectors: Vectors::best(), a, x_stride, out_stride, mode };
    for columns in blocks(a.columns, COLUMN_BLOCK) {
        for rows in blocks(a.rows, ROW_BLOCK) {
            for pair in blocks(panels, 2) {
                for depth in blocks(columns.len(), DEPTH_BLOCK) {
                    let depth = columns.start + depth.start..columns.start + depth.end;
                    product.block(rows.clone(), depth, pair.clone(), x, out);
                }
            }
        }
    }
}

/// A product whose parts are computed one after the other. The order of parts with different rows or panels changes no
/// number; those with different columns come in their order.
struct Product<'a> {
    vectors: Vectors,
    a: Operand<'a>,
    x_stride: usize,
    out_stride: usize,
    mode: Mode,
}

impl Product<'_> {
    /// Multiplies some rows and columns with one or two panels.
    fn block(&self, rows: Range<usize>, depth: Range<usize>, pair: Range<usize>, x: &[f32], out: &mut [f32]) {
        let a = &self.a;
        let block = Block {
            a: &a.data[a.strides.place(rows.start, depth.start)..],
            rows: rows.len(),
            depth: depth.len(),
            strides: a.strides,
            fresh: depth.start == 0 && self.mode == Mode::Fresh,
        };
        let x = &x[pair.start * self.x_stride + depth.start * LANES..];
        let out = &mut out[pair.start * self.out_stride + rows.start * LANES..];
        run(self.vectors, &block, (x, self.x_stride), (out, self.out_stride), pair.len());
    }
}

/// Cuts `0..len` into ranges of at most `size`.
fn blocks(len: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(size).map(move |start| start..len.min(start + size))
}

/// A part of a product that stays in the caches.
pub(super) struct Block<'a> {
    pub(super) a: &'a [f32],
    pub(super) rows: usize,
    pub(super) depth: usize,
    pub(super) strides: Strides,
    pub(super) fresh: bool,
}

/// Multiplies one block with one or two panels.
fn run(vectors: Vectors, block: &Block<'_>, x: (&[f32], usize), out: (&mut [f32], usize), panels: usize) {
    match vectors {
        Vectors::Portable => portable::run(block, x, out, panels),
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx2 => x86::run_avx2(block, x, out, panels),
        #[cfg(target_arch = "x86_64")]
        Vectors::Avx512 => x86::run_avx512(block, x, out, panels),
    }
}

/// Plain loops over sixteen numbers, for machines without a kernel of their own, and to check the others against.
mod portable {
    use super::{Block, LANES};

    pub(super) fn run(
        block: &Block<'_>,
        (x, x_stride): (&[f32], usize),
        (out, out_stride): (&mut [f32], usize),
        panels: usize,
    ) {
        for panel in 0..panels {
            let x = x[panel * x_stride..].as_chunks::<LANES>().0;
            let out = out[panel * out_stride..].as_chunks_mut::<LANES>().0;
            for (row, out) in out.iter_mut().enumerate().take(block.rows) {
                let mut sums = if block.fresh { [0.0; LANES] } else { *out };
                for (column, x) in x[..block.depth].iter().enumerate() {
                    let weight = block.a[block.strides.place(row, column)];
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = weight.mul_add(*x, *sum);
                    }
                }
                *out = sums;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::operand::to_bands;
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    /// Calls `check` with a matrix by rows, as it is and transposed, and with each operand that stands for it.
    fn each_operand(rows: usize, columns: usize, mut check: impl FnMut(Operand<'_>, &dyn Fn(usize, usize) -> f32)) {
        let by_rows = numbers(rows * columns, 1);
        let mut bands = by_rows.clone();
        to_bands(&mut bands, rows, columns);
        let at = |row: usize, column: usize| by_rows[row * columns + column];
        check(Operand::by_rows(&by_rows, rows, columns), &at);
        check(Operand::bands(&bands, rows, columns), &at);
        check(Operand::transposed(&by_rows, rows, columns), &|row, column| at(column, row));
        check(Operand::bands_transposed(&bands, rows, columns), &|row, column| at(column, row));
    }

    #[test]
    fn all_instruction_sets_give_the_same_bits() {
        for (rows, columns) in [(29, 200), (12, 12), (1, 7), (35, 1)] {
            each_operand(rows, columns, |a, _| {
                for fresh in [true, false] {
                    let block = Block { a: a.data, rows: a.rows, depth: a.columns, strides: a.strides, fresh };
                    let x = numbers(2 * a.columns * LANES, 2);
                    let results = Vectors::available().map(|vectors| {
                        let mut out = numbers(2 * a.rows * LANES, 3);
                        run(vectors, &block, (&x, a.columns * LANES), (&mut out, a.rows * LANES), 2);
                        out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                    });
                    let results: Vec<_> = results.collect();
                    let same = results.iter().all(|result| *result == results[0]);
                    assert!(same, "of {:?}", Vectors::available().collect::<Vec<_>>());
                }
            });
        }
    }

    #[test]
    fn a_product_is_right_in_both_directions_over_blocks_and_odd_panels() {
        for (rows, columns, panels) in [(103, 211, 3), (1500, 13, 1), (7, 1, 2), (1, 1, 1)] {
            each_operand(rows, columns, |operand, at| {
                let (x_stride, out_stride) = (operand.columns * LANES, operand.rows * LANES);
                let x = numbers(panels * x_stride, 2);
                let mut out = vec![1.0; panels * out_stride];
                multiply(operand, (&x, x_stride), (&mut out, out_stride), Mode::Sum);
                for (index, found) in out.iter().enumerate() {
                    let (panel, row, lane) = (index / out_stride, index % out_stride / LANES, index % LANES);
                    let products = (0..operand.columns).map(|column| {
                        f64::from(at(row, column)) * f64::from(x[panel * x_stride + column * LANES + lane])
                    });
                    let expected = 1.0 + products.sum::<f64>();
                    assert!((f64::from(*found) - expected).abs() < 2e-4, "{found} is not {expected} at {index}");
                }
            });
        }
    }
}
