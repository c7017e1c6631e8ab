//! The searches for the scale of a sub-block, a sub-block a lane.
//!
//! Each is the function of the same purpose in llama.cpp's `ggml/src/ggml-quants.c`, operation for operation and in the
//! same order of sums; `x` and `weights` hold one number of every lane's sub-block after the other.

use super::lanes::Lanes;

/// Sub-blocks whose numbers are all smaller are stored as zeros (`GROUP_MAX_EPS`).
pub(super) const ALL_ZERO: f32 = 1e-15;

/// Which scales are tried around the one that spans the numbers.
pub(super) struct Grid {
    /// The largest level.
    pub(super) top: i32,
    /// What is added to `top` first.
    pub(super) first: f32,
    /// From one try to the next.
    pub(super) step: f32,
    /// The number of the last try.
    pub(super) last: i32,
    /// Whether errors count by their size; else by their square.
    pub(super) absolute: bool,
}

/// A scale and an offset: a number is `scale · level - min`.
#[derive(Clone, Copy)]
pub(super) struct Affine<V> {
    /// From one level to the next.
    pub(super) scale: V,
    /// What is subtracted, never below zero.
    pub(super) min: V,
    /// By what numbers were multiplied when the levels were found.
    pub(super) factor: V,
    /// What was subtracted from numbers before that.
    pub(super) floor: V,
    /// One where the levels were found under the guard of a weighted search, zero elsewhere.
    pub(super) guarded: V,
}

/// Finds scale and offset: `make_qkx2_quants`, and `make_qkx3_quants` where `GUARDED`.
#[inline(always)]
pub(super) fn affine<V: Lanes, const N: usize, const GUARDED: bool>(
    x: &[V; N],
    weights: &[V; N],
    grid: &Grid,
) -> Affine<V> {
    let (zero, top) = (V::splat(0.0), V::splat(grid.top as f32));
    let (mut lowest, mut highest) = (x[0], x[0]);
    let mut sum_w = weights[0];
    let mut sum_x = sum_w * x[0];
    for (&x, &weight) in x[1..].iter().zip(&weights[1..]) {
        lowest = x.lesser(lowest);
        highest = x.greater(highest);
        sum_w = sum_w + weight;
        sum_x = sum_x + weight * x;
    }
    let floor = V::select(zero.less(lowest), zero, lowest);
    let spread = floor.less(highest);
    let ends = [lowest, highest];
    let mut levels = [zero; N];
    let factor = top / (highest - floor);
    let mut best = Affine { scale: V::splat(1.0) / factor, min: floor, factor, floor, guarded: zero };
    if near(ends, factor, floor, spread) {
        find_levels::<V, N, true, false>(x, factor, floor, grid, &mut levels);
    } else {
        find_levels::<V, N, false, false>(x, factor, floor, grid, &mut levels);
    }
    let mut best_error = error(x, weights, &levels, best.scale, best.min, grid.absolute);
    for try_ in 0..=grid.last {
        let floor = best.min;
        let factor = V::splat(grid.first + grid.step * try_ as f32 + grid.top as f32) / (highest - floor);
        let [sum_l, sum_l2, sum_xl] = if near(ends, factor, floor, spread) {
            sums::<V, N, true, GUARDED>(x, weights, factor, floor, grid, &mut levels)
        } else {
            sums::<V, N, false, GUARDED>(x, weights, factor, floor, grid, &mut levels)
        };
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        let solvable = V::both(spread, zero.less(determinant));
        if !V::any(solvable) {
            continue;
        }
        let mut scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        let mut min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        let above = zero.less(min);
        min = V::select(above, zero, min);
        scale = V::select(above, sum_xl / sum_l2, scale);
        let error = error(x, weights, &levels, scale, min, grid.absolute);
        let better = V::both(solvable, error.less(best_error));
        best_error = V::select(better, error, best_error);
        best.scale = V::select(better, scale, best.scale);
        best.min = V::select(better, min, best.min);
        best.factor = V::select(better, factor, best.factor);
        best.floor = V::select(better, floor, best.floor);
        best.guarded = V::select(better, V::splat(f32::from(u8::from(GUARDED))), best.guarded);
    }
    Affine {
        scale: V::select(spread, best.scale, zero),
        min: V::splat(-0.0) - best.min,
        factor: V::select(spread, best.factor, zero),
        ..best
    }
}

/// Returns whether every lane that counts has numbers for which rounding is simple: those between its `ends` are.
#[inline(always)]
fn near<V: Lanes>(ends: [V; 2], factor: V, floor: V, counts: V::Mask) -> bool {
    let [lowest, highest] = ends.map(|end| (factor * (end - floor)).magnitude());
    // What is no number is not below the limit either, and must not count as near.
    let far = V::select(V::both(lowest.rounds(), highest.rounds()), V::splat(0.0), V::splat(1.0));
    !V::any(V::both(counts, V::splat(0.0).less(far)))
}

/// Returns the level of `factor · (x - floor)`.
#[inline(always)]
pub(super) fn level<V: Lanes, const NEAR: bool, const GUARDED: bool>(scaled: V, top: i32) -> V {
    if NEAR {
        scaled.near_level(0, top)
    } else if GUARDED {
        let zero = V::splat(0.0);
        V::select(zero.less(scaled), scaled.lesser(V::splat(top as f32)).level(0, top), zero)
    } else {
        scaled.level(0, top)
    }
}

#[inline(always)]
fn find_levels<V: Lanes, const N: usize, const NEAR: bool, const GUARDED: bool>(
    x: &[V; N],
    factor: V,
    floor: V,
    grid: &Grid,
    levels: &mut [V; N],
) {
    for (&x, place) in x.iter().zip(levels) {
        *place = level::<V, NEAR, GUARDED>(factor * (x - floor), grid.top);
    }
}

/// Finds the levels and returns their weighted sums: of levels, of their squares, and of their products with numbers.
#[inline(always)]
fn sums<V: Lanes, const N: usize, const NEAR: bool, const GUARDED: bool>(
    x: &[V; N],
    weights: &[V; N],
    factor: V,
    floor: V,
    grid: &Grid,
    levels: &mut [V; N],
) -> [V; 3] {
    let [mut sum_l, mut sum_l2, mut sum_xl] = [V::splat(0.0); 3];
    for ((&x, &weight), place) in x.iter().zip(weights).zip(levels) {
        let level = level::<V, NEAR, GUARDED>(factor * (x - floor), grid.top);
        *place = level;
        let weighted = weight * level;
        sum_l = sum_l + weighted;
        sum_l2 = sum_l2 + weighted * level;
        sum_xl = sum_xl + weighted * x;
    }
    [sum_l, sum_l2, sum_xl]
}

/// Returns the weighted error of the numbers that the levels stand for.
#[inline(always)]
fn error<V: Lanes, const N: usize>(
    x: &[V; N],
    weights: &[V; N],
    levels: &[V; N],
    scale: V,
    min: V,
    absolute: bool,
) -> V {
    let mut sum = V::splat(0.0);
    for ((&x, &weight), &level) in x.iter().zip(weights).zip(levels) {
        let difference = scale * level + min - x;
        let difference = if absolute { difference.magnitude() } else { difference * difference };
        sum = sum + weight * difference;
    }
    sum
}

/// A scale alone: a number is `scale · level`, with levels from `-top` to `top - 1`.
#[derive(Clone, Copy)]
pub(super) struct Linear<V> {
    /// From one level to the next; negative where the largest number is positive.
    pub(super) scale: V,
    /// By what numbers were multiplied when the levels were found.
    pub(super) factor: V,
}

/// Finds a scale: `make_qx_quants` with its first kind of error; without weights, `x²` are the weights. `FINITE` says that
/// all numbers are.
#[inline(always)]
pub(super) fn linear<V: Lanes, const N: usize, const FINITE: bool>(
    x: &[V; N],
    weights: Option<&[V; N]>,
    top: i32,
) -> Linear<V> {
    let zero = V::splat(0.0);
    let (largest, magnitude) = extreme(x);
    let mut weighted = [zero; N];
    let mut squares = [zero; N];
    if weights.is_none() {
        for (&x, square) in x.iter().zip(&mut squares) {
            *square = x * x;
        }
    }
    let weights = weights.unwrap_or(&squares);
    for ((&x, &weight), place) in x.iter().zip(weights).zip(&mut weighted) {
        *place = weight * x;
    }
    let factor = V::splat(-top as f32) / largest;
    let (sum_lx, sum_l2) = products::<V, N, FINITE>(x, weights, &weighted, factor, top);
    let scale = V::select(sum_l2.differs(zero), sum_lx / sum_l2, zero);
    let mut best = scale * sum_lx;
    let mut found = Linear { scale, factor };
    for try_ in (-9..=9).filter(|&try_| try_ != 0) {
        let factor = V::splat(-(top as f32 + 0.1 * try_ as f32)) / largest;
        let (sum_lx, sum_l2) = products::<V, N, FINITE>(x, weights, &weighted, factor, top);
        let better = V::both(zero.less(sum_l2), (best * sum_l2).less(sum_lx * sum_lx));
        let scale = sum_lx / sum_l2;
        best = V::select(better, scale * sum_lx, best);
        found.scale = V::select(better, scale, found.scale);
        found.factor = V::select(better, factor, found.factor);
    }
    let all_zero = magnitude.less(V::splat(ALL_ZERO));
    found.scale = V::select(all_zero, zero, found.scale);
    found
}

/// Returns the number that is largest without its sign, the first of equals, and its magnitude.
#[inline(always)]
pub(super) fn extreme<V: Lanes, const N: usize>(x: &[V; N]) -> (V, V) {
    let (mut largest, mut magnitude) = (V::splat(0.0), V::splat(0.0));
    for &x in x {
        let larger = magnitude.less(x.magnitude());
        largest = V::select(larger, x, largest);
        magnitude = V::select(larger, x.magnitude(), magnitude);
    }
    (largest, magnitude)
}

/// Returns the sums of `weight · x · level` and of `weight · level²`. Numbers are at most `top + 1` when scaled, except
/// in lanes of zeros, whose result nobody takes.
#[inline(always)]
fn products<V: Lanes, const N: usize, const FINITE: bool>(
    x: &[V; N],
    weights: &[V; N],
    weighted: &[V; N],
    factor: V,
    top: i32,
) -> (V, V) {
    let (mut sum_lx, mut sum_l2) = (V::splat(0.0), V::splat(0.0));
    for ((&x, &weight), &weighted) in x.iter().zip(weights).zip(weighted) {
        let scaled = factor * x;
        let level = if FINITE { scaled.near_level(-top, top - 1) } else { scaled.level(-top, top - 1) };
        sum_lx = sum_lx + weighted * level;
        sum_l2 = sum_l2 + weight * level * level;
    }
    (sum_lx, sum_l2)
}

/// Finds a scale, one level after the other until none gets better: `make_q3_quants`. Levels are left in `levels`, from
/// `-top` to `top - 1`.
#[inline(always)]
pub(super) fn refined<V: Lanes, const N: usize>(x: &[V; N], top: i32, levels: &mut [V; N]) -> V {
    let zero = V::splat(0.0);
    let (largest, magnitude) = extreme(x);
    let factor = V::splat(-top as f32) / largest;
    let (mut sum_lx, mut sum_l2) = (zero, zero);
    for (&x, place) in x.iter().zip(&mut *levels) {
        let level = (factor * x).near_level(-top, top - 1);
        *place = level;
        let weight = x * x;
        sum_lx = sum_lx + weight * x * level;
        sum_l2 = sum_l2 + weight * level * level;
    }
    for _ in 0..5 {
        let mut changed = false;
        for (&x, place) in x.iter().zip(&mut *levels) {
            let weight = x * x;
            let rest_lx = sum_lx - weight * x * *place;
            let rest_l2 = sum_l2 - weight * *place * *place;
            let level = (x * rest_l2 / rest_lx).level(-top, top - 1);
            let new_lx = rest_lx + weight * x * level;
            let new_l2 = rest_l2 + weight * level * level;
            let better = V::both(zero.less(new_l2), (sum_lx * sum_lx * new_l2).less(new_lx * new_lx * sum_l2));
            let better = V::both(better, V::both(zero.less(rest_lx), level.differs(*place)));
            *place = V::select(better, level, *place);
            sum_lx = V::select(better, new_lx, sum_lx);
            sum_l2 = V::select(better, new_l2, sum_l2);
            changed |= V::any(better);
        }
        if !changed {
            break;
        }
    }
    let all_zero = magnitude.less(V::splat(ALL_ZERO));
    // Lanes of zeros are stored as the lowest level, which is zero in the file.
    for place in levels {
        *place = V::select(all_zero, V::splat(-top as f32), *place);
    }
    let scale = V::select(zero.less(sum_l2), sum_lx / sum_l2, zero);
    V::select(all_zero, zero, scale)
}
