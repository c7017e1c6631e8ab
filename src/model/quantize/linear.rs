//! `Q3_K` and `Q6_K`: super-blocks of 256 numbers whose sixteen sub-blocks have a signed scale each, that is in turn stored
//! in a few bits (`quantize_row_q6_K_ref`, `quantize_row_q3_K_impl` and their likes).

use super::affine::two_bits;
use super::lanes::{Lanes, nearest};
use super::search::{ALL_ZERO, linear, refined};
use super::{Rows, SUPER, as_half, half_bytes, importances, side_by_side, sum, sum_of_squares};

/// Numbers of a sub-block, and sub-blocks of a super-block.
const SUB: usize = 16;

#[inline(always)]
pub(super) fn q6_k<V: Lanes>(rows: Rows<'_>, out: &mut [u8]) {
    const TOP: i32 = 32;
    for (at, out) in out.chunks_exact_mut(210).enumerate() {
        let numbers = &rows.numbers[at * SUPER..][..SUPER];
        let mut found = Found::default();
        for first in (0..SUB).step_by(V::COUNT) {
            let x = side_by_side::<V, SUB>(&numbers[first * SUB..]);
            let weights = rows.importance.map(|all| side_by_side::<V, SUB>(&all[at * SUPER + first * SUB..]));
            let sub_blocks = linear::<V, SUB, true>(&x, weights.as_ref(), TOP);
            sub_blocks.scale.store(&mut found.scale[first..]);
            sub_blocks.factor.store(&mut found.factor[first..]);
        }
        let largest = found.largest();
        if largest.abs() < ALL_ZERO {
            out.fill(0);
            continue;
        }
        let inverse = -128.0 / largest;
        let scale = 1.0 / inverse;
        let codes = found.scale.map(|scale| nearest(inverse * scale).min(127) as i8);
        let mut levels = [0; SUPER];
        for (block, code) in codes.into_iter().enumerate() {
            let scale = as_half(scale) * f32::from(code);
            let (numbers, levels) = (&numbers[block * SUB..][..SUB], &mut levels[block * SUB..][..SUB]);
            if scale == 0.0 {
                kept(numbers, found.factor[block], TOP, levels);
            } else {
                rounded::<V>(numbers, scale, TOP, levels);
            }
        }
        let (low, rest) = out.split_at_mut(128);
        let (high, rest) = rest.split_at_mut(64);
        for (half, levels) in levels.chunks_exact(128).enumerate() {
            let (first, second) = low[half * 64..][..64].split_at_mut(32);
            let places = first.iter_mut().zip(second).zip(&mut high[half * 32..][..32]);
            for (at, ((first, second), high)) in places.enumerate() {
                let [a, b, c, d] = [levels[at], levels[at + 32], levels[at + 64], levels[at + 96]];
                *first = a & 15 | c << 4;
                *second = b & 15 | d << 4;
                *high = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6;
            }
        }
        for (out, code) in rest.iter_mut().zip(codes) {
            *out = code as u8;
        }
        rest[SUB..].copy_from_slice(&half_bytes(scale));
    }
}

#[inline(always)]
pub(super) fn q3_k<V: Lanes>(rows: Rows<'_>, out: &mut [u8]) {
    const TOP: i32 = 4;
    for (at, out) in out.chunks_exact_mut(110).enumerate() {
        let numbers = &rows.numbers[at * SUPER..][..SUPER];
        let mut levels = [0; SUPER];
        let (codes, scale) = if let Some(importance) = rows.importance {
            let found = Found::weighted::<V>(numbers, &importance[at * SUPER..][..SUPER], TOP);
            for (block, factor) in found.factor.into_iter().enumerate() {
                kept(&numbers[block * SUB..][..SUB], factor, TOP, &mut levels[block * SUB..][..SUB]);
            }
            let all = linear::<f32, SUB, false>(&found.scale, Some(&found.weight), 32);
            let mut codes = [0; SUB];
            kept(&found.scale, all.factor, 32, &mut codes);
            (codes, all.scale)
        } else {
            let found = Found::refined::<V>(numbers, TOP, &mut levels);
            let largest = found.largest();
            if largest == 0.0 {
                ([0; SUB], 0.0)
            } else {
                let inverse = -32.0 / largest;
                let code = |scale| i32::from(nearest(inverse * scale) as i8).clamp(-32, 31) + 32;
                (found.scale.map(|scale| code(scale) as u8), 1.0 / inverse)
            }
        };
        for (block, code) in codes.into_iter().enumerate() {
            let scale = as_half(scale) * f32::from(code as i8 - 32);
            if scale != 0.0 {
                rounded::<V>(&numbers[block * SUB..][..SUB], scale, TOP, &mut levels[block * SUB..][..SUB]);
            }
        }
        let (high, rest) = out.split_at_mut(32);
        high.fill(0);
        for (bit, levels) in levels.chunks_exact_mut(32).enumerate() {
            for (high, level) in high.iter_mut().zip(levels) {
                *high |= (*level >> 2) << bit;
                *level &= 3;
            }
        }
        let (low, rest) = rest.split_at_mut(64);
        two_bits(&levels, low);
        let packed = &mut rest[..12];
        packed.fill(0);
        for (block, code) in codes.into_iter().enumerate() {
            packed[block % 8] |= (code & 15) << (4 * (block / 8));
            packed[8 + block % 4] |= code >> 4 << (2 * (block / 4));
        }
        rest[12..].copy_from_slice(&half_bytes(scale));
    }
}

/// What was found for the sub-blocks of a super-block.
#[derive(Default)]
struct Found {
    scale: [f32; SUB],
    factor: [f32; SUB],
    /// The sum of a sub-block's weights.
    weight: [f32; SUB],
}

impl Found {
    /// Searches with importances.
    #[inline(always)]
    fn weighted<V: Lanes>(numbers: &[f32], importance: &[f32], top: i32) -> Self {
        let mut found = Self::default();
        let spread = V::splat(2.0 * sum_of_squares(numbers) / SUPER as f32);
        for first in (0..SUB).step_by(V::COUNT) {
            let x = side_by_side::<V, SUB>(&numbers[first * SUB..]);
            let weights = importances(&x, &side_by_side(&importance[first * SUB..]), spread);
            let sub_blocks = linear::<V, SUB, true>(&x, Some(&weights), top);
            sub_blocks.scale.store(&mut found.scale[first..]);
            sub_blocks.factor.store(&mut found.factor[first..]);
            sum(&weights).store(&mut found.weight[first..]);
        }
        found
    }

    /// Searches level by level, and leaves the levels above `-top`.
    #[inline(always)]
    fn refined<V: Lanes>(numbers: &[f32], top: i32, levels: &mut [u8; SUPER]) -> Self {
        let mut found = Self::default();
        for first in (0..SUB).step_by(V::COUNT) {
            let x = side_by_side::<V, SUB>(&numbers[first * SUB..]);
            let mut lanes = [V::splat(0.0); SUB];
            refined(&x, top, &mut lanes).store(&mut found.scale[first..]);
            for (at, lane) in lanes.into_iter().enumerate() {
                let mut column = [0; SUB];
                (lane + V::splat(top as f32)).store_bytes(&mut column);
                for (block, level) in column.into_iter().take(V::COUNT).enumerate() {
                    levels[(first + block) * SUB + at] = level;
                }
            }
        }
        found
    }

    /// Returns the scale that is largest without its sign, the first of equals.
    fn largest(&self) -> f32 {
        self.scale.iter().fold(0.0_f32, |largest, &scale| if scale.abs() > largest.abs() { scale } else { largest })
    }
}

/// Writes the levels of a stored scale, above `-top`.
#[inline(always)]
fn rounded<V: Lanes>(numbers: &[f32], scale: f32, top: i32, levels: &mut [u8]) {
    for (numbers, levels) in numbers.chunks_exact(V::COUNT).zip(levels.chunks_exact_mut(V::COUNT)) {
        let level = (V::load(numbers) / V::splat(scale)).level(-top, top - 1);
        (level + V::splat(top as f32)).store_bytes(levels);
    }
}

/// Writes the levels that the search found, above `-top`; those of zeros are zero in the file.
#[inline(always)]
pub(super) fn kept(numbers: &[f32], factor: f32, top: i32, levels: &mut [u8]) {
    // What is no number counts for nothing here.
    let all_zero = !numbers.iter().any(|number| number.abs() >= ALL_ZERO);
    for (number, level) in numbers.iter().zip(levels) {
        *level = if all_zero { 0 } else { (nearest(factor * number).clamp(-top, top - 1) + top) as u8 };
    }
}
