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
/// two threads share it. Their products are summed before they are added to the others: over a vocabulary a single
/// chain would lose two digits. A multiple of [`BAND`], so that a block of a transposed matrix begins with a band.
pub(in crate::model) const DEPTH_BLOCK: usize = 12 * BAND;
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

/// A matrix and the panels that it is multiplied with: each has as many features as the matrix has columns.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Term<'a> {
    pub(in crate::model) a: Operand<'a>,
    pub(in crate::model) x: &'a [f32],
    /// Numbers from one panel to the next.
    pub(in crate::model) x_stride: usize,
}

/// Multiplies `a` with panels: each panel of `x` has `a.columns` features, each of `out` has `a.rows`.
///
/// `x_stride` and `out_stride` are the numbers from one panel to the next; there are as many panels as fit.
///
/// # Panics
/// When the slices are shorter than the shapes say.
pub(in crate::model) fn multiply(a: Operand<'_>, (x, x_stride): (&[f32], usize), out: (&mut [f32], usize), mode: Mode) {
    multiply_all(&[Term { a, x, x_stride }], out, mode);
}

/// Adds up several products, term after term, as if the matrices stood side by side: the sums stay in the caches.
///
/// # Panics
/// When the slices are shorter than the shapes say, or the matrices differ in rows.
pub(in crate::model) fn multiply_all(terms: &[Term<'_>], (out, out_stride): (&mut [f32], usize), mode: Mode) {
    let panels = out.len().div_ceil(out_stride.max(1));
    let rows = terms.first().map_or(0, |term| term.a.rows);
    if rows == 0 || panels == 0 {
        return;
    }
    for Term { a, x, x_stride } in terms {
        assert!(a.rows == rows, "products of {rows} and of {} rows have no sum", a.rows);
        assert!(a.data.len() >= a.reach(), "the broadcast matrix is shorter than its shape");
        assert!(x.len() >= (panels - 1) * x_stride + a.columns * LANES, "the panels are shorter than their shape");
    }
    assert!(out.len() >= (panels - 1) * out_stride + rows * LANES, "the result is shorter than its shape");
    let passes = passes(terms);
    if passes.is_empty() && mode == Mode::Fresh {
        for panel in 0..panels {
            out[panel * out_stride..][..rows * LANES].fill(0.0);
        }
    }
    let product = Product { vectors: Vectors::best(), terms, out_stride };
    for (pass, parts) in passes.iter().enumerate() {
        for rows in blocks(rows, ROW_BLOCK) {
            for pair in blocks(panels, 2) {
                let mut fresh = pass == 0 && mode == Mode::Fresh;
                for (term, columns) in parts {
                    for depth in blocks(columns.len(), DEPTH_BLOCK) {
                        let depth = columns.start + depth.start..columns.start + depth.end;
                        product.block(*term, (rows.clone(), depth, pair.clone()), out, fresh);
                        fresh = false;
                    }
                }
            }
        }
    }
}

/// Returns the columns of all terms in parts that stay in the second cache together, each as terms with some of their
/// columns.
fn passes(terms: &[Term<'_>]) -> Vec<Vec<(usize, Range<usize>)>> {
    let mut passes: Vec<Vec<(usize, Range<usize>)>> = Vec::new();
    let mut filled = 0;
    for (term, Term { a, .. }) in terms.iter().enumerate() {
        // Blocks of about one size: a small last one would bring in and write out sums for little.
        let parts = a.columns.div_ceil(COLUMN_BLOCK).max(1);
        for columns in blocks(a.columns, a.columns.div_ceil(parts).next_multiple_of(DEPTH_BLOCK).max(1)) {
            filled += columns.len();
            match passes.last_mut() {
                Some(pass) if filled <= COLUMN_BLOCK => pass.push((term, columns)),
                _ => {
                    filled = columns.len();
                    passes.push(vec![(term, columns)]);
                }
            }
        }
    }
    passes
}

/// A product whose parts are computed one after the other. The order of parts with different rows or panels changes no
/// number; those with different columns come in their order.
struct Product<'a> {
    vectors: Vectors,
    terms: &'a [Term<'a>],
    out_stride: usize,
}

impl Product<'_> {
    /// Multiplies some rows and columns of a term with one or two panels.
    fn block(
        &self,
        term: usize,
        (rows, depth, pair): (Range<usize>, Range<usize>, Range<usize>),
        out: &mut [f32],
        fresh: bool,
    ) {
        let Term { a, x, x_stride } = &self.terms[term];
        let block = Block {
            a: &a.data[a.strides.place(rows.start, depth.start)..],
            rows: rows.len(),
            depth: depth.len(),
            strides: a.strides,
            fresh,
        };
        let x = &x[pair.start * x_stride + depth.start * LANES..];
        let out = &mut out[pair.start * self.out_stride + rows.start * LANES..];
        run(self.vectors, &block, (x, *x_stride), (out, self.out_stride), pair.len());
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
    /// Columns: at least one.
    pub(super) depth: usize,
    pub(super) strides: Strides,
    pub(super) fresh: bool,
}

/// Multiplies one block with one or two panels.
fn run(vectors: Vectors, block: &Block<'_>, x: (&[f32], usize), out: (&mut [f32], usize), panels: usize) {
    assert!(block.depth > 0, "a block has columns");
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
                let mut sums = [0.0; LANES];
                for (column, x) in x[..block.depth].iter().enumerate() {
                    let weight = block.a[block.strides.place(row, column)];
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = weight.mul_add(*x, *sum);
                    }
                }
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = if block.fresh { sum } else { *out + sum };
                }
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
    fn a_sum_of_products_has_the_bits_of_one_after_the_other() {
        let (rows, panels) = (40, 3);
        let (wide, narrow) = (numbers(rows * 1_500, 1), numbers(rows * 16, 2));
        let (x, small) = (numbers(panels * 1_500 * LANES, 3), numbers(panels * 16 * LANES, 4));
        let terms = [(&wide, &x, 1_500), (&narrow, &small, 16)].map(|(a, x, columns)| Term {
            a: Operand::by_rows(a, rows, columns),
            x,
            x_stride: columns * LANES,
        });
        let stride = rows * LANES;
        for mode in [Mode::Fresh, Mode::Sum] {
            let mut together = vec![1.0; panels * stride];
            let mut apart = together.clone();
            multiply_all(&terms, (&mut together, stride), mode);
            multiply_all(&terms[..1], (&mut apart, stride), mode);
            multiply_all(&terms[1..], (&mut apart, stride), Mode::Sum);
            assert!(together.iter().zip(&apart).all(|(one, other)| one.to_bits() == other.to_bits()));
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
