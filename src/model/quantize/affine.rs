//! `Q2_K`, `Q4_K` and `Q5_K`: super-blocks of 256 numbers whose sub-blocks have a scale and an offset each, that are in turn
//! stored in a few bits (`quantize_row_q4_K_ref`, `quantize_row_q4_K_impl` and their likes).

use super::lanes::{Lanes, nearest};
use super::search::{ALL_ZERO, Affine, Grid, affine, level};
use super::{Rows, SUPER, as_half, half_bytes, importances, side_by_side, sum, sum_of_squares};

/// Sub-blocks of two super-blocks at most: as many as are searched together.
const MOST: usize = 32;

/// How a type searches.
struct Search {
    /// Without importances.
    plain: Grid,
    /// With importances.
    weighted: Grid,
    /// Whether a number's weight is its size above the sub-block's mean; else it is its size.
    above_mean: bool,
    /// How often a super-block's mean square is added to a number's own, with importances.
    spread: f32,
}

const Q2: Search = Search {
    plain: Grid { top: 3, first: -0.5, step: 0.1, last: 15, absolute: true },
    weighted: Grid { top: 3, first: -0.9, step: 0.05, last: 36, absolute: false },
    above_mean: false,
    spread: 1.0,
};
const Q4: Search = Search {
    plain: Grid { top: 15, first: -1.0, step: 0.1, last: 20, absolute: false },
    weighted: Grid { top: 15, first: -0.9, step: 0.05, last: 36, absolute: false },
    above_mean: true,
    spread: 2.0,
};
const Q5: Search = Search {
    plain: Grid { top: 31, first: -0.5, step: 0.1, last: 15, absolute: false },
    weighted: Grid { top: 31, first: -0.9, step: 0.05, last: 36, absolute: false },
    above_mean: true,
    spread: 2.0,
};

#[inline(always)]
pub(super) fn q2_k<V: Lanes>(rows: Rows<'_>, out: &mut [u8]) {
    super_blocks::<V, 16>(rows, out, &Q2, 84, |found, numbers, out| {
        let (codes, [scale, min]) = found.codes(15, u8::MAX);
        let codes: [u8; 16] = codes.map(|[scale, min]| scale | min << 4);
        let mut levels = [0; SUPER];
        for (block, &code) in codes.iter().enumerate() {
            let sub_block = [as_half(scale) * f32::from(code & 15), as_half(min) * f32::from(code >> 4)];
            found.levels::<V, 16>(block, numbers, sub_block, Q2.plain.top, &mut levels);
        }
        out[..16].copy_from_slice(&codes);
        two_bits(&levels, &mut out[16..80]);
        out[80..82].copy_from_slice(&half_bytes(scale));
        out[82..84].copy_from_slice(&half_bytes(min));
    });
}

#[inline(always)]
pub(super) fn q4_k<V: Lanes>(rows: Rows<'_>, out: &mut [u8]) {
    super_blocks::<V, 32>(rows, out, &Q4, 144, |found, numbers, out| {
        let levels = found.header_and_levels::<V>(numbers, Q4.plain.top, out);
        for (levels, out) in levels.chunks_exact(64).zip(out[16..].chunks_exact_mut(32)) {
            for (at, out) in out.iter_mut().enumerate() {
                *out = levels[at] | levels[at + 32] << 4;
            }
        }
    });
}

#[inline(always)]
pub(super) fn q5_k<V: Lanes>(rows: Rows<'_>, out: &mut [u8]) {
    super_blocks::<V, 32>(rows, out, &Q5, 176, |found, numbers, out| {
        let levels = found.header_and_levels::<V>(numbers, Q5.plain.top, out);
        let (high, low) = out[16..].split_at_mut(32);
        high.fill(0);
        for (pair, (levels, low)) in levels.chunks_exact(64).zip(low.chunks_exact_mut(32)).enumerate() {
            let (first, second) = levels.split_at(32);
            for (((low, high), &first), &second) in low.iter_mut().zip(&mut *high).zip(first).zip(second) {
                *low = first & 15 | second << 4;
                *high |= (first >> 4 | second >> 4 << 1) << (2 * pair);
            }
        }
    });
}

/// Searches the sub-blocks of two super-blocks at a time and has each super-block written.
#[inline(always)]
fn super_blocks<V: Lanes, const N: usize>(
    rows: Rows<'_>,
    out: &mut [u8],
    search: &Search,
    bytes: usize,
    write: impl Fn(&Found, &[f32], &mut [u8]),
) {
    for (pair, out) in out.chunks_mut(2 * bytes).enumerate() {
        let numbers = &rows.numbers[pair * 2 * SUPER..];
        let numbers = &numbers[..numbers.len().min(2 * SUPER)];
        let importance = rows.importance.map(|importance| &importance[pair * 2 * SUPER..]);
        let mut found = Found::of::<V, N>(Rows { numbers, importance }, search);
        for (numbers, out) in numbers.chunks_exact(SUPER).zip(out.chunks_exact_mut(bytes)) {
            write(&found, numbers, out);
            found.first += SUPER / N;
        }
    }
}

/// What was found for the sub-blocks of up to two super-blocks.
struct Found {
    scale: [f32; MOST],
    min: [f32; MOST],
    factor: [f32; MOST],
    floor: [f32; MOST],
    guarded: [f32; MOST],
    /// The sum of a sub-block's weights.
    weight: [f32; MOST],
    /// Whether there are importances.
    weighted: bool,
    /// The first sub-block of the super-block that is written.
    first: usize,
}

impl Found {
    #[inline(always)]
    fn of<V: Lanes, const N: usize>(rows: Rows<'_>, search: &Search) -> Self {
        let none = [0.0; MOST];
        let weighted = rows.importance.is_some();
        let mut found =
            Self { scale: none, min: none, factor: none, floor: none, guarded: none, weight: none, weighted, first: 0 };
        let mut spreads = [0.0; MOST];
        if weighted {
            for (spreads, numbers) in spreads.chunks_exact_mut(SUPER / N).zip(rows.numbers.chunks_exact(SUPER)) {
                spreads.fill(search.spread * sum_of_squares(numbers) / SUPER as f32);
            }
        }
        for first in (0..rows.numbers.len() / N).step_by(V::COUNT) {
            let x = side_by_side::<V, N>(&rows.numbers[first * N..]);
            let (weights, affine) = if let Some(importance) = rows.importance {
                let importance = side_by_side(&importance[first * N..]);
                let weights = importances(&x, &importance, V::load(&spreads[first..]));
                (weights, affine::<V, N, true>(&x, &weights, &search.weighted))
            } else {
                let weights = own_weights(&x, search.above_mean);
                (weights, affine::<V, N, false>(&x, &weights, &search.plain))
            };
            found.keep(first, &affine, sum(&weights));
        }
        found
    }

    #[inline(always)]
    fn keep<V: Lanes>(&mut self, first: usize, affine: &Affine<V>, weight: V) {
        affine.scale.store(&mut self.scale[first..]);
        affine.min.store(&mut self.min[first..]);
        affine.factor.store(&mut self.factor[first..]);
        affine.floor.store(&mut self.floor[first..]);
        affine.guarded.store(&mut self.guarded[first..]);
        weight.store(&mut self.weight[first..]);
    }

    /// Returns the codes of the super-block's scales and offsets, up to `top`, and what one of a code stands for. Without
    /// importances `most` is where codes are cut off, which matters only to scales below zero.
    fn codes<const COUNT: usize>(&self, top: i32, most: u8) -> ([[u8; 2]; COUNT], [f32; 2]) {
        let blocks = self.first..self.first + COUNT;
        let mut codes = [[0; 2]; COUNT];
        let mut ones = [0.0; 2];
        for (which, values) in [&self.scale[blocks.clone()], &self.min[blocks.clone()]].into_iter().enumerate() {
            let mut found = [0; COUNT];
            ones[which] = if self.weighted {
                positive(values, &self.weight[blocks.clone()], top, &mut found)
            } else {
                evenly(values, top, most, &mut found)
            };
            for (codes, found) in codes.iter_mut().zip(found) {
                codes[which] = found;
            }
        }
        (codes, ones)
    }

    /// Writes the scales of a super-block of `Q4_K` or `Q5_K`, and returns its levels.
    #[inline(always)]
    fn header_and_levels<V: Lanes>(&self, numbers: &[f32], top: i32, out: &mut [u8]) -> [u8; SUPER] {
        let (codes, [scale, min]) = self.codes::<8>(63, 63);
        out[..2].copy_from_slice(&half_bytes(scale));
        out[2..4].copy_from_slice(&half_bytes(min));
        out[4..16].copy_from_slice(&six_bits(&codes));
        let (scale, min) = (as_half(scale), as_half(min));
        let mut levels = [0; SUPER];
        for (block, [scale_code, min_code]) in codes.into_iter().enumerate() {
            let sub_block = [scale * f32::from(scale_code), min * f32::from(min_code)];
            self.levels::<V, 32>(block, numbers, sub_block, top, &mut levels);
        }
        levels
    }

    /// Writes the levels of a sub-block: those of its stored scale, or those of the search where that scale is zero.
    #[inline(always)]
    fn levels<V: Lanes, const N: usize>(
        &self,
        block: usize,
        numbers: &[f32],
        [scale, min]: [f32; 2],
        top: i32,
        out: &mut [u8; SUPER],
    ) {
        let (numbers, out) = (&numbers[block * N..][..N], &mut out[block * N..][..N]);
        let block = self.first + block;
        if scale == 0.0 {
            for (&number, out) in numbers.iter().zip(out) {
                let scaled = self.factor[block] * (number - self.floor[block]);
                let guarded = self.guarded[block] > 0.0;
                let level = if guarded { level::<f32, false, true>(scaled, top) } else { scaled.level(0, top) };
                *out = level as u8;
            }
            return;
        }
        let (min, scale) = (V::splat(min), V::splat(scale));
        for (numbers, out) in numbers.chunks_exact(V::COUNT).zip(out.chunks_exact_mut(V::COUNT)) {
            ((V::load(numbers) + min) / scale).level(0, top).store_bytes(out);
        }
    }
}

/// Returns how much numbers matter by themselves.
#[inline(always)]
fn own_weights<V: Lanes, const N: usize>(x: &[V; N], above_mean: bool) -> [V; N] {
    let mut weights = *x;
    if above_mean {
        let squares = x.iter().fold(V::splat(0.0), |sum, &x| sum + x * x);
        let mean = (squares / V::splat(N as f32)).root();
        for weight in &mut weights {
            *weight = mean + weight.magnitude();
        }
    } else {
        for weight in &mut weights {
            *weight = weight.magnitude();
        }
    }
    weights
}

/// Codes values by even steps up to the largest, and returns the step.
fn evenly(values: &[f32], top: i32, most: u8, codes: &mut [u8]) -> f32 {
    let largest = values.iter().fold(0.0, |largest, &value| if value > largest { value } else { largest });
    if largest <= 0.0 {
        return 0.0;
    }
    let inverse = top as f32 / largest;
    for (code, &value) in codes.iter_mut().zip(values) {
        *code = (nearest(inverse * value) as u8).min(most);
    }
    largest / top as f32
}

/// Codes values that are not negative so that their weighted error is small, and returns the step: `make_qp_quants`.
fn positive(values: &[f32], weights: &[f32], top: i32, codes: &mut [u8]) -> f32 {
    let largest = values.iter().fold(0.0, |largest, &value| if largest > value { largest } else { value });
    if largest < ALL_ZERO {
        return 0.0;
    }
    let pairs = || values.iter().copied().zip(weights.iter().copied());
    let error = |factor: f32, top: i32| {
        let scale = 1.0 / factor;
        pairs().fold(0.0, |sum, (value, weight)| {
            let difference = value - scale * nearest(factor * value).min(top) as f32;
            sum + weight * difference * difference
        })
    };
    let mut factor = top as f32 / largest;
    // The reference keeps these levels in a byte and does not clamp them.
    let scale = 1.0 / factor;
    let mut best = pairs().fold(0.0, |sum, (value, weight)| {
        let difference = value - scale * f32::from(nearest(factor * value) as u8);
        sum + weight * difference * difference
    });
    for try_ in (-4..=4).filter(|&try_| try_ != 0) {
        let tried = (0.1 * try_ as f32 + top as f32) / largest;
        let error = error(tried, top);
        if error < best {
            (best, factor) = (error, tried);
        }
    }
    let (mut sum_lx, mut sum_l2) = (0.0, 0.0);
    for ((value, weight), code) in pairs().zip(&mut *codes) {
        let level = nearest(factor * value).min(top);
        *code = level as u8;
        sum_lx += weight * value * level as f32;
        sum_l2 += weight * level as f32 * level as f32;
    }
    for _ in 0..5 {
        let mut changed = false;
        for ((value, weight), code) in pairs().zip(&mut *codes) {
            let rest_lx = sum_lx - weight * value * f32::from(*code);
            let rest_l2 = sum_l2 - weight * f32::from(*code) * f32::from(*code);
            if rest_lx > 0.0 && rest_l2 > 0.0 {
                let level = nearest(value * rest_l2 / rest_lx).min(top);
                if level != i32::from(*code) {
                    let new_lx = rest_lx + weight * value * level as f32;
                    let new_l2 = rest_l2 + weight * level as f32 * level as f32;
                    if new_lx * new_lx * sum_l2 > sum_lx * sum_lx * new_l2 {
                        (*code, sum_lx, sum_l2) = (level as u8, new_lx, new_l2);
                        changed = true;
                    }
                }
            }
        }
        if !changed {
            break;
        }
    }
    if sum_l2 > 0.0 { sum_lx / sum_l2 } else { 0.0 }
}

/// Packs eight scales and offsets of six bits into twelve bytes.
fn six_bits(codes: &[[u8; 2]; 8]) -> [u8; 12] {
    let mut packed = [0; 12];
    for (at, &[scale, min]) in codes.iter().enumerate() {
        if at < 4 {
            packed[at] = scale;
            packed[at + 4] = min;
        } else {
            packed[at + 4] = scale & 15 | min << 4;
            packed[at - 4] |= scale >> 4 << 6;
            packed[at] |= min >> 4 << 6;
        }
    }
    packed
}

/// Packs levels of two bits, four numbers of each 128 a byte.
pub(super) fn two_bits(levels: &[u8; SUPER], out: &mut [u8]) {
    for (levels, out) in levels.chunks_exact(128).zip(out.chunks_exact_mut(32)) {
        for (at, out) in out.iter_mut().enumerate() {
            *out = levels[at] | levels[at + 32] << 2 | levels[at + 64] << 4 | levels[at + 96] << 6;
        }
    }
}
