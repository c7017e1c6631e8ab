//! Micro-kernels of AVX2 and AVX-512: a tile of rows times one or two panels stays in registers.
//!
//! Rows are written out by a macro and addresses wrap: left to itself the compiler keeps the sums of a tile on the stack
//! in a build with overflow checks, which is six times slower. Distances that are known when a kernel is built cost no
//! instruction: `0` for a distance means one that is not. Loops ask at their ends: where one may have no turn at all, the
//! compiler puts the sums on the stack after each chunk of columns.

#![expect(unsafe_code, reason = "vector loads through pointers; `multiply` has checked every shape")]

use std::arch::x86_64::{
    _MM_HINT_T0, _mm_prefetch, _mm256_add_ps, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps,
    _mm256_storeu_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

use super::LANES;
use super::operand::BAND;
use super::product::Block;

/// How far ahead a band is asked for, in numbers: 32 columns.
const AHEAD: usize = 32 * BAND;

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
        let a = self.a.wrapping_add(block.strides.place_of_row(row));
        Self { a, out: self.out.wrapping_add(row * LANES), ..self }
    }
}

/// Writes the function of a tile: its rows by number, each with the numbers of its vectors.
macro_rules! tile {
    (
        $name:ident, $features:literal, $zero:ident, $load:ident, $store:ident, $add:ident, $fma:ident, $broadcast:expr,
        $apart:expr, $first:literal: $($vector:literal)+ $(, $row:literal: $($copy:literal)+)*
    ) => {
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $name<const ROW: usize, const COLUMN: usize>(block: &Block<'_>, place: Place) -> usize {
            const VECTORS: usize = [$($vector),+].len();
            const ROWS: usize = [$first $(, $row)*].len();
            let Place { mut a, mut x, x_stride, out, out_stride } = place;
            let (in_apart, out_apart): (usize, usize) = $apart(x_stride, out_stride);
            let row_stride = if ROW == 0 { block.strides.row } else { ROW };
            let column_stride = if COLUMN == 0 { block.strides.column } else { COLUMN };
            let offsets = [0_usize $(, row_stride.wrapping_mul($row))*];
            // A tile of one row has no further one.
            _ = (row_stride, offsets);
            // SAFETY: the block has `ROWS` rows from `a` on and a depth, `x` has that in every vector, `out` its rows.
            unsafe {
                let mut sums = [[$zero(); VECTORS]; ROWS];
                let mut left = block.depth;
                loop {
                    let chunk = left.min(block.strides.chunk);
                    let next = a.wrapping_add(block.strides.jump);
                    if ROW == BAND && COLUMN == 1 {
                        // The next chunk lies far away, where no prefetcher of the machine looks for it.
                        for line in 0..BAND * BAND / LANES {
                            _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(line * LANES).cast());
                        }
                    }
                    if ROW == LANES && COLUMN == 1 && next != a {
                        // So does the next panel, of which each row takes a line.
                        for line in 0..ROWS {
                            _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(line * LANES).cast());
                        }
                    }
                    let mut columns = chunk;
                    loop {
                        if ROW == 1 && COLUMN == BAND {
                            // A band is read once from beginning to end: the machine's prefetcher stops at each page.
                            _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(AHEAD).cast());
                        }
                        let lanes = [$($load(x.wrapping_add($vector * in_apart))),+];
                        let weight = $broadcast(a);
                        $(sums[$first][$vector] = $fma(weight, lanes[$vector], sums[$first][$vector]);)+
                        $(
                            let weight = $broadcast(a.wrapping_add(offsets[$row]));
                            $(sums[$row][$copy] = $fma(weight, lanes[$copy], sums[$row][$copy]);)+
                        )*
                        a = a.wrapping_add(column_stride);
                        x = x.wrapping_add(LANES);
                        columns -= 1;
                        if columns == 0 {
                            break;
                        }
                    }
                    a = next;
                    left -= chunk;
                    if left == 0 {
                        break;
                    }
                }
                if !block.fresh {
                    $(
                        let before = $load(out.wrapping_add($vector * out_apart));
                        sums[$first][$vector] = $add(before, sums[$first][$vector]);
                    )+
                    $($(
                        let before = $load(out.wrapping_add($copy * out_apart).wrapping_add($row * LANES));
                        sums[$row][$copy] = $add(before, sums[$row][$copy]);
                    )+)*
                }
                $($store(out.wrapping_add($vector * out_apart), sums[$first][$vector]);)+
                $($($store(out.wrapping_add($copy * out_apart).wrapping_add($row * LANES), sums[$row][$copy]);)+)*
            }
            ROWS
        }
    };
}

/// Two panels are two vectors of sixteen.
macro_rules! avx512_tile {
    ($name:ident, $($rows:tt)+) => {
        tile!(
            $name, "avx512f", _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_fmadd_ps,
            |at: *const f32| _mm512_set1_ps(*at), |x, out| (x, out), $($rows)+
        );
    };
}

/// One panel is two vectors of eight.
macro_rules! avx2_tile {
    ($name:ident, $($rows:tt)+) => {
        tile!(
            $name, "avx2,fma", _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_fmadd_ps,
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

/// Calls a tile's function that knows the distances of bands, of the usual rank, or of the usual sizes of a head, if the
/// block has them: an addition less for each row and feature.
macro_rules! with_strides {
    ($name:ident, $block:expr, $place:expr) => {
        match ($block.strides.row, $block.strides.column) {
            (1, BAND) => $name::<1, BAND>($block, $place),
            (BAND, 1) => $name::<BAND, 1>($block, $place),
            (1, 16) => $name::<1, 16>($block, $place),
            (16, 1) => $name::<16, 1>($block, $place),
            (1, 64) => $name::<1, 64>($block, $place),
            (64, 1) => $name::<64, 1>($block, $place),
            (1, 128) => $name::<1, 128>($block, $place),
            (128, 1) => $name::<128, 1>($block, $place),
            _ => $name::<0, 0>($block, $place),
        }
    };
}

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
        // SAFETY: the machine has AVX-512, as `Vectors::available` saw; `multiply` has checked that the slices hold
        // the shapes of the block; a tile ends at the block's last row.
        row += unsafe {
            match (panels, block.rows - row) {
                (2, 12..) => with_strides!(twelve_by_two, block, place),
                (2, 4..) => four_by_two::<0, 0>(block, place),
                (2, _) => one_by_two::<0, 0>(block, place),
                (_, 12..) => with_strides!(twelve_by_one, block, place),
                (_, 4..) => four_by_one::<0, 0>(block, place),
                _ => one_by_one::<0, 0>(block, place),
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
                    6.. => with_strides!(six_rows, block, place),
                    4.. => four_rows::<0, 0>(block, place),
                    _ => one_row::<0, 0>(block, place),
                }
            };
        }
    }
}
