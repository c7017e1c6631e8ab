//! `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1` and `Q8_0`: blocks of 32 numbers with one scale, and an offset where the name ends in 1
//! (`quantize_row_q4_0_ref`, `quantize_row_q4_0_impl` and their likes).

use super::lanes::Lanes;
use super::linear::kept;
use super::search::{Grid, affine, level, linear};
use super::{Rows, half_bytes, importances, side_by_side, sum_of_squares};

/// Numbers of a block.
const BLOCK: usize = 32;

#[inline(always)]
pub(super) fn q8_0<V: Lanes>(rows: Rows<'_>, out: &mut [u8]) {
    for (x, out) in rows.numbers.chunks_exact(BLOCK).zip(out.chunks_exact_mut(34)) {
        let scale = largest_magnitude::<V>(x) / 127.0;
        let factor = V::splat(inverse(scale));
        out[..2].copy_from_slice(&half_bytes(scale));
        for (x, out) in x.chunks_exact(V::COUNT).zip(out[2..].chunks_exact_mut(V::COUNT)) {
            (V::load(x) * factor).away_from_zero().store_bytes(out);
        }
    }
}

#[inline(always)]
pub(super) fn q4_0<V: Lanes>(rows: Rows<'_>, out: &mut [u8]) {
    centred::<V>(rows, out, 8);
}

#[inline(always)]
pub(super) fn q5_0<V: Lanes>(rows: Rows<'_>, out: &mut [u8]) {
    centred::<V>(rows, out, 16);
}

#[inline(always)]
pub(super) fn q4_1<V: Lanes>(rows: Rows<'_>, out: &mut [u8]) {
    offset::<V>(rows, out, 15);
}

#[inline(always)]
pub(super) fn q5_1<V: Lanes>(rows: Rows<'_>, out: &mut [u8]) {
    offset::<V>(rows, out, 31);
}

/// `Q4_0` and `Q5_0`: `2 · half` levels around zero, of which the number with the largest magnitude has the lowest.
#[inline(always)]
fn centred<V: Lanes>(rows: Rows<'_>, out: &mut [u8], half: i32) {
    let bytes = 2 + levels_bytes(2 * half - 1);
    if let Some(importance) = rows.importance {
        return weighted_centred::<V>(rows.numbers, importance, out, half);
    }
    let middle = V::splat(half as f32 + 0.5);
    for (x, out) in rows.numbers.chunks_exact(BLOCK).zip(out.chunks_exact_mut(bytes)) {
        let scale = largest::<V>(x) / -half as f32;
        let factor = V::splat(inverse(scale));
        let mut levels = [0; BLOCK];
        for (x, levels) in x.chunks_exact(V::COUNT).zip(levels.chunks_exact_mut(V::COUNT)) {
            (V::load(x) * factor + middle).store_bytes(levels);
        }
        let (head, rest) = out.split_at_mut(2);
        head.copy_from_slice(&half_bytes(scale));
        pack(&levels.map(|level| level.min(2 * half as u8 - 1)), rest);
    }
}

#[inline(always)]
fn weighted_centred<V: Lanes>(numbers: &[f32], importance: &[f32], out: &mut [u8], half: i32) {
    let bytes = 2 + levels_bytes(2 * half - 1);
    let spread = V::splat(sum_of_squares(numbers) / numbers.len() as f32);
    let groups = numbers.chunks(V::COUNT * BLOCK).zip(importance.chunks(V::COUNT * BLOCK));
    for ((numbers, importance), out) in groups.zip(out.chunks_mut(V::COUNT * bytes)) {
        let x = side_by_side::<V, BLOCK>(numbers);
        let found = linear::<V, BLOCK, true>(&x, Some(&importances(&x, &side_by_side(importance), spread)), half);
        let [mut scale, mut factor] = [[0.0; 16]; 2];
        found.scale.store(&mut scale);
        found.factor.store(&mut factor);
        let blocks = numbers.chunks_exact(BLOCK).zip(out.chunks_exact_mut(bytes));
        for ((numbers, out), (scale, factor)) in blocks.zip(scale.into_iter().zip(factor)) {
            let mut levels = [0; BLOCK];
            kept(numbers, factor, half, &mut levels);
            let (head, rest) = out.split_at_mut(2);
            head.copy_from_slice(&half_bytes(scale));
            pack(&levels, rest);
        }
    }
}

/// `Q4_1` and `Q5_1`: levels from zero to `top`, of which the lowest number has the lowest.
#[inline(always)]
fn offset<V: Lanes>(rows: Rows<'_>, out: &mut [u8], top: i32) {
    let bytes = 4 + levels_bytes(top);
    if let Some(importance) = rows.importance {
        return weighted_offset::<V>(rows.numbers, importance, out, top);
    }
    let half = V::splat(0.5);
    for (x, out) in rows.numbers.chunks_exact(BLOCK).zip(out.chunks_exact_mut(bytes)) {
        let (lowest, highest) = ends::<V>(x);
        let scale = (highest - lowest) / top as f32;
        let (factor, floor) = (V::splat(inverse(scale)), V::splat(lowest));
        let mut levels = [0; BLOCK];
        for (x, levels) in x.chunks_exact(V::COUNT).zip(levels.chunks_exact_mut(V::COUNT)) {
            ((V::load(x) - floor) * factor + half).store_bytes(levels);
        }
        let (head, rest) = out.split_at_mut(4);
        head[..2].copy_from_slice(&half_bytes(scale));
        head[2..].copy_from_slice(&half_bytes(lowest));
        pack(&levels.map(|level| level.min(top as u8)), rest);
    }
}

#[inline(always)]
fn weighted_offset<V: Lanes>(numbers: &[f32], importance: &[f32], out: &mut [u8], top: i32) {
    let bytes = 4 + levels_bytes(top);
    let grid = Grid { top, first: -0.9, step: 0.05, last: 36, absolute: false };
    let spread = V::splat(sum_of_squares(numbers) / numbers.len() as f32);
    let groups = numbers.chunks(V::COUNT * BLOCK).zip(importance.chunks(V::COUNT * BLOCK));
    for ((numbers, importance), out) in groups.zip(out.chunks_mut(V::COUNT * bytes)) {
        let x = side_by_side::<V, BLOCK>(numbers);
        let weights = importances(&x, &side_by_side(importance), spread);
        let found = affine::<V, BLOCK, true>(&x, &weights, &grid);
        let mut lanes = [[0.0; 16]; 5];
        found.scale.store(&mut lanes[0]);
        found.min.store(&mut lanes[1]);
        found.factor.store(&mut lanes[2]);
        found.floor.store(&mut lanes[3]);
        found.guarded.store(&mut lanes[4]);
        let blocks = numbers.chunks_exact(BLOCK).zip(out.chunks_exact_mut(bytes));
        for (lane, (numbers, out)) in blocks.enumerate() {
            let [scale, min, factor, floor, guarded] = lanes.map(|lanes| lanes[lane]);
            let mut levels = [0; BLOCK];
            for (&number, place) in numbers.iter().zip(&mut levels) {
                let scaled = factor * (number - floor);
                let level = if guarded > 0.0 { level::<f32, false, true>(scaled, top) } else { scaled.level(0, top) };
                *place = level as u8;
            }
            let (head, rest) = out.split_at_mut(4);
            head[..2].copy_from_slice(&half_bytes(scale));
            head[2..].copy_from_slice(&half_bytes(-min));
            pack(&levels, rest);
        }
    }
}

/// Returns `1 / scale`, and zero for zero.
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

#[inline(always)]
fn largest_magnitude<V: Lanes>(x: &[f32]) -> f32 {
    let (lowest, highest) = bounds::<V>(x);
    // Zero has no sign here.
    (if highest > -lowest { highest } else { -lowest }).abs()
}

/// Returns the number that is largest without its sign, the first of equals.
#[inline(always)]
fn largest<V: Lanes>(x: &[f32]) -> f32 {
    let (lowest, highest) = bounds::<V>(x);
    if highest > -lowest {
        highest
    } else if highest < -lowest {
        lowest
    } else if highest == 0.0 {
        // The reference starts at a positive zero and takes only what is larger.
        0.0
    } else {
        first_of(x, lowest, highest)
    }
}

/// Returns the lowest and the highest number; of zeros with different signs the first counts.
#[inline(always)]
fn ends<V: Lanes>(x: &[f32]) -> (f32, f32) {
    let (lowest, highest) = bounds::<V>(x);
    let zero = |end: f32| if end == 0.0 { first_of(x, 0.0, 0.0) } else { end };
    (zero(lowest), zero(highest))
}

/// Returns the first number that is equal to one of two.
#[expect(clippy::float_cmp, reason = "the number is one of those that are searched")]
fn first_of(x: &[f32], a: f32, b: f32) -> f32 {
    x.iter().copied().find(|&x| x == a || x == b).unwrap_or(a)
}

/// Returns the lowest and the highest number, zeros with any sign.
#[inline(always)]
fn bounds<V: Lanes>(x: &[f32]) -> (f32, f32) {
    let (mut lowest, mut highest) = (V::splat(f32::MAX), V::splat(-f32::MAX));
    for x in x.chunks_exact(V::COUNT) {
        let x = V::load(x);
        lowest = x.lesser(lowest);
        highest = x.greater(highest);
    }
    let (mut low, mut high) = ([f32::MAX; 16], [-f32::MAX; 16]);
    lowest.store(&mut low);
    highest.store(&mut high);
    let lesser = |a: f32, b: f32| if a < b { a } else { b };
    let greater = |a: f32, b: f32| if a > b { a } else { b };
    (low.into_iter().reduce(lesser).unwrap_or(0.0), high.into_iter().reduce(greater).unwrap_or(0.0))
}

/// Returns the bytes of a block's levels.
const fn levels_bytes(top: i32) -> usize {
    if top > 15 { 20 } else { 16 }
}

/// Packs levels of four bits, or of five: then the fifth bits come first.
#[inline(always)]
fn pack(levels: &[u8; BLOCK], out: &mut [u8]) {
    let (fifth, low) = out.split_at_mut(out.len() - 16);
    let (first, second) = levels.split_at(16);
    for ((low, &first), &second) in low.iter_mut().zip(first).zip(second) {
        *low = first & 15 | second << 4;
    }
    for (fifth, levels) in fifth.iter_mut().zip(levels.as_chunks::<8>().0) {
        // The product brings the lowest bits of eight bytes together in the highest byte.
        let bits = u64::from_le_bytes(*levels) >> 4 & 0x0101_0101_0101_0101;
        *fifth = (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
    }
}
