//! The matrix product: a broadcast matrix times panels of tokens.
//!
//! One micro-kernel an instruction set, chosen at run time; all give the same bits, which a test checks.

use std::ops::Range;

use super::LANES;

/// Features that are multiplied before the next rows are taken: two panels of them stay in the first cache.
const DEPTH_BLOCK: usize = 192;
/// Rows of the broadcast matrix that several panels are multiplied with while they stay in the second cache.
const ROW_BLOCK: usize = 96;

/// Numbers of the broadcast matrix that the second cache holds beside the panels.
const CACHED: usize = 1 << 17;

/// A matrix whose elements are broadcast: a weight, a transposed weight, or a panel read as one.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Operand<'a> {
    /// The numbers, from the first element on.
    pub(in crate::model) data: &'a [f32],
    /// Rows.
    pub(in crate::model) rows: usize,
    /// Columns: the features that are summed over.
    pub(in crate::model) columns: usize,
    /// From an element to the one below it.
    pub(in crate::model) row_stride: usize,
    /// From an element to the one beside it.
    pub(in crate::model) column_stride: usize,
}

impl<'a> Operand<'a> {
    /// Takes a matrix by rows as it is.
    pub(in crate::model) fn by_rows(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// Takes a matrix of `rows × columns`, by rows, transposed.
    pub(in crate::model) fn transposed(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { data, rows: columns, columns: rows, row_stride: 1, column_stride: columns }
    }

    /// Takes `features` features of a panel: rows are features, columns are tokens.
    pub(in crate::model) fn panel(data: &'a [f32], features: usize) -> Self {
        Self { data, rows: features, columns: LANES, row_stride: LANES, column_stride: 1 }
    }

    /// Takes `features` features of a panel: rows are tokens, columns are features.
    pub(in crate::model) fn panel_transposed(data: &'a [f32], features: usize) -> Self {
        Self { data, rows: LANES, columns: features, row_stride: 1, column_stride: LANES }
    }

    /// Returns how many numbers the operand reaches over.
    fn reach(&self) -> usize {
        match (self.rows, self.columns) {
            (0, _) | (_, 0) => 0,
            (rows, columns) => (rows - 1) * self.row_stride + (columns - 1) * self.column_stride + 1,
        }
    }
}

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
    let product = Product { kernel: Kernel::best(), a, x_stride, out_stride, mode };
    if a.row_stride < a.column_stride {
        // Consecutive columns of a transposed matrix are what lies together in memory.
        for depth in blocks(a.columns, (CACHED / a.rows).clamp(16, DEPTH_BLOCK)) {
            for pair in blocks(panels, 2) {
                product.block(0..a.rows, depth.clone(), pair, x, out);
            }
        }
    } else {
        for rows in blocks(a.rows, ROW_BLOCK) {
            for pair in blocks(panels, 2) {
                for depth in blocks(a.columns, DEPTH_BLOCK) {
                    product.block(rows.clone(), depth, pair.clone(), x, out);
                }
            }
        }
    }
}

/// A product whose parts are computed one after the other. The order of parts with different rows or panels changes no
/// number; those with different columns come in their order.
struct Product<'a> {
    kernel: Kernel,
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
            a: &a.data[rows.start * a.row_stride + depth.start * a.column_stride..],
            rows: rows.len(),
            depth: depth.len(),
            row_stride: a.row_stride,
            column_stride: a.column_stride,
            fresh: depth.start == 0 && self.mode == Mode::Fresh,
        };
        let x = &x[pair.start * self.x_stride + depth.start * LANES..];
        let out = &mut out[pair.start * self.out_stride + rows.start * LANES..];
        self.kernel.run(&block, (x, self.x_stride), (out, self.out_stride), pair.len());
    }
}

/// Cuts `0..len` into ranges of at most `size`.
fn blocks(len: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(size).map(move |start| start..len.min(start + size))
}

/// A part of a product that stays in the caches.
struct Block<'a> {
    a: &'a [f32],
    rows: usize,
    depth: usize,
    row_stride: usize,
    column_stride: usize,
    fresh: bool,
}

/// The instruction sets that there is a micro-kernel for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernel {
    /// Returns all that this machine can run, the best last.
    fn available() -> impl DoubleEndedIterator<Item = Self> {
        [
            Some(Self::Portable),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self::Avx2),
            #[cfg(target_arch = "x86_64")]
            is_x86_feature_detected!("avx512f").then_some(Self::Avx512),
        ]
        .into_iter()
        .flatten()
    }

    /// Returns the best that this machine can run.
    fn best() -> Self {
        Self::available().next_back().unwrap_or(Self::Portable)
    }

    /// Multiplies one block with one or two panels.
    fn run(self, block: &Block<'_>, x: (&[f32], usize), out: (&mut [f32], usize), panels: usize) {
        match self {
            Self::Portable => portable::run(block, x, out, panels),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::run_avx2(block, x, out, panels),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::run_avx512(block, x, out, panels),
        }
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
                    let weight = block.a[row * block.row_stride + column * block.column_stride];
                    for (sum, x) in sums.iter_mut().zip(x) {
                        *sum = weight.mul_add(*x, *sum);
                    }
                }
                *out = sums;
            }
        }
    }
}

/// Micro-kernels of AVX2 and AVX-512: a tile of rows times one or two panels stays in registers.
///
/// Rows are written out by a macro and addresses wrap: left to itself the compiler keeps the sums of a tile on the stack
/// in a build with overflow checks, which is six times slower.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector loads through pointers; `multiply` has checked every shape")]
mod x86 {
    use std::arch::x86_64::{
        _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    use super::{Block, LANES};

    /// Where a tile reads and writes.
    #[derive(Clone, Copy)]
    struct Place {
        a: *const f32,
        x: *const f32,
        /// From a panel of `x` to the next.
        x_stride: usize,
        out: *mut f32,
        /// From a panel of `out` to the next.
        out_stride: usize,
    }

    impl Place {
        /// Returns the place of the rows from `row` on.
        fn below(self, block: &Block<'_>, row: usize) -> Self {
            let a = self.a.wrapping_add(row * block.row_stride);
            Self { a, out: self.out.wrapping_add(row * LANES), ..self }
        }
    }

    /// Writes the function of a tile: its rows by number, each with the numbers of its vectors.
    macro_rules! tile {
        (
            $name:ident, $features:literal, $zero:ident, $load:ident, $store:ident, $fma:ident, $broadcast:expr,
            $apart:expr, $first:literal: $($vector:literal)+ $(, $row:literal: $($copy:literal)+)*
        ) => {
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn $name(block: &Block<'_>, place: Place) -> usize {
                const VECTORS: usize = [$($vector),+].len();
                const ROWS: usize = [$first $(, $row)*].len();
                let Place { mut a, mut x, x_stride, out, out_stride } = place;
                let (in_apart, out_apart): (usize, usize) = $apart(x_stride, out_stride);
                let offsets = [0_usize $(, block.row_stride.wrapping_mul($row))*];
                // A tile of one row has no further one.
                _ = offsets;
                // SAFETY: the block has `ROWS` rows from `a` on, `x` has its depth in every vector, `out` its rows.
                unsafe {
                    let mut sums = [[$zero(); VECTORS]; ROWS];
                    if !block.fresh {
                        $(sums[$first][$vector] = $load(out.wrapping_add($vector * out_apart));)+
                        $($(sums[$row][$copy] = $load(out.wrapping_add($copy * out_apart + $row * LANES));)+)*
                    }
                    for _ in 0..block.depth {
                        let lanes = [$($load(x.wrapping_add($vector * in_apart))),+];
                        let weight = $broadcast(a);
                        $(sums[$first][$vector] = $fma(weight, lanes[$vector], sums[$first][$vector]);)+
                        $(
                            let weight = $broadcast(a.wrapping_add(offsets[$row]));
                            $(sums[$row][$copy] = $fma(weight, lanes[$copy], sums[$row][$copy]);)+
                        )*
                        a = a.wrapping_add(block.column_stride);
                        x = x.wrapping_add(LANES);
                    }
                    $($store(out.wrapping_add($vector * out_apart), sums[$first][$vector]);)+
                    $($($store(out.wrapping_add($copy * out_apart + $row * LANES), sums[$row][$copy]);)+)*
                }
                ROWS
            }
        };
    }

    /// Two panels are two vectors of sixteen.
    macro_rules! avx512_tile {
        ($name:ident, $($rows:tt)+) => {
            tile!(
                $name, "avx512f", _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps,
                |at: *const f32| _mm512_set1_ps(*at), |x, out| (x, out), $($rows)+
            );
        };
    }

    /// One panel is two vectors of eight.
    macro_rules! avx2_tile {
        ($name:ident, $($rows:tt)+) => {
            tile!(
                $name, "avx2,fma", _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps,
                |at: *const f32| _mm256_broadcast_ss(&*at), |_, _| (8, 8), $($rows)+
            );
        };
    }

    avx512_tile!(
        twelve_by_two, 0: 0 1, 1: 0 1, 2: 0 1, 3: 0 1, 4: 0 1, 5: 0 1, 6: 0 1, 7: 0 1, 8: 0 1, 9: 0 1, 10: 0 1, 11: 0 1
    );
    avx512_tile!(four_by_two, 0: 0 1, 1: 0 1, 2: 0 1, 3: 0 1);
    avx512_tile!(one_by_two, 0: 0 1);
    avx512_tile!(twelve_by_one, 0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0, 8: 0, 9: 0, 10: 0, 11: 0);
    avx512_tile!(four_by_one, 0: 0, 1: 0, 2: 0, 3: 0);
    avx512_tile!(one_by_one, 0: 0);
    avx2_tile!(six_rows, 0: 0 1, 1: 0 1, 2: 0 1, 3: 0 1, 4: 0 1, 5: 0 1);
    avx2_tile!(four_rows, 0: 0 1, 1: 0 1, 2: 0 1, 3: 0 1);
    avx2_tile!(one_row, 0: 0 1);

    pub(super) fn run_avx512(
        block: &Block<'_>,
        (x, x_stride): (&[f32], usize),
        (out, out_stride): (&mut [f32], usize),
        panels: usize,
    ) {
        let place = Place { a: block.a.as_ptr(), x: x.as_ptr(), x_stride, out: out.as_mut_ptr(), out_stride };
        let mut row = 0;
        while row < block.rows {
            let place = place.below(block, row);
            // SAFETY: the machine has AVX-512, as `Kernel::available` saw; `multiply` has checked that the slices hold
            // the shapes of the block; a tile ends at the block's last row.
            row += unsafe {
                match (panels, block.rows - row) {
                    (2, 12..) => twelve_by_two(block, place),
                    (2, 4..) => four_by_two(block, place),
                    (2, _) => one_by_two(block, place),
                    (_, 12..) => twelve_by_one(block, place),
                    (_, 4..) => four_by_one(block, place),
                    _ => one_by_one(block, place),
                }
            };
        }
    }

    pub(super) fn run_avx2(
        block: &Block<'_>,
        (x, x_stride): (&[f32], usize),
        (out, out_stride): (&mut [f32], usize),
        panels: usize,
    ) {
        for panel in 0..panels {
            let (x, out) = (x[panel * x_stride..].as_ptr(), out[panel * out_stride..].as_mut_ptr());
            let place = Place { a: block.a.as_ptr(), x, x_stride, out, out_stride };
            let mut row = 0;
            while row < block.rows {
                let place = place.below(block, row);
                // SAFETY: as for AVX-512, with AVX2 and FMA.
                row += unsafe {
                    match block.rows - row {
                        6.. => six_rows(block, place),
                        4.. => four_rows(block, place),
                        _ => one_row(block, place),
                    }
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    #[test]
    fn all_instruction_sets_give_the_same_bits() {
        let a = numbers(29 * 200, 1);
        for fresh in [true, false] {
            let block = Block { a: &a, rows: 29, depth: 200, row_stride: 200, column_stride: 1, fresh };
            let x = numbers(2 * 200 * LANES, 2);
            let results = Kernel::available().map(|kernel| {
                let mut out = numbers(2 * 29 * LANES, 3);
                kernel.run(&block, (&x, 200 * LANES), (&mut out, 29 * LANES), 2);
                out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            });
            let results: Vec<_> = results.collect();
            assert!(
                results.iter().all(|result| *result == results[0]),
                "of {:?}",
                Kernel::available().collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn a_product_is_right_in_both_directions_over_blocks_and_odd_panels() {
        let (rows, columns, panels) = (103, 211, 3);
        let (a, x) = (numbers(rows * columns, 1), numbers(panels * columns.max(rows) * LANES, 2));
        for transposed in [false, true] {
            let operand =
                if transposed { Operand::transposed(&a, rows, columns) } else { Operand::by_rows(&a, rows, columns) };
            let (x_stride, out_stride) = (operand.columns * LANES, operand.rows * LANES);
            let mut out = vec![1.0; panels * out_stride];
            multiply(operand, (&x, x_stride), (&mut out, out_stride), Mode::Sum);
            for (index, found) in out.iter().enumerate() {
                let (panel, row, lane) = (index / out_stride, index % out_stride / LANES, index % LANES);
                let expected: f64 = 1.0
                    + (0..operand.columns)
                        .map(|column| {
                            let weight = a[row * operand.row_stride + column * operand.column_stride];
                            f64::from(weight) * f64::from(x[panel * x_stride + column * LANES + lane])
                        })
                        .sum::<f64>();
                assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} is not {expected} at {index}");
            }
        }
    }
}
