//! RMS normalisation: forward, and the gradients with respect to its input and to its weight.
//!
//! As many features as there are weights are normalised together: a whole token, or each of its heads.

use rayon::prelude::*;

use super::super::kernel::{LANES, Panels, widest};

/// Features of a sum over tokens that one task takes.
const TASK_FEATURES: usize = 64;

/// Returns `x · w / √(mean(x²) + ε)` by tokens, and the factor `1 / √(…)` of each token, heads one after the other.
pub(super) fn forward(x: &Panels, weight: &[f32], epsilon: f32) -> (Panels, Vec<[f32; LANES]>) {
    let mut out = x.like(x.features());
    let len = weight.len() * LANES;
    let mut scales = vec![[0.0; LANES]; x.data().len() / len];
    let parts = out.data_mut().par_chunks_mut(len).zip(x.data().par_chunks(len));
    parts.zip(&mut scales).for_each(|((out, x), scales)| one(x, weight, epsilon, out, scales));
    (out, scales)
}

/// Adds `more` to `x` and returns what [`forward`] returns for the sum.
pub(super) fn add_and_forward(
    x: &mut Panels,
    more: &Panels,
    weight: &[f32],
    epsilon: f32,
) -> (Panels, Vec<[f32; LANES]>) {
    let mut out = x.like(x.features());
    let len = weight.len() * LANES;
    let mut scales = vec![[0.0; LANES]; x.data().len() / len];
    let sums = x.data_mut().par_chunks_mut(len).zip(more.data().par_chunks(len));
    let parts = out.data_mut().par_chunks_mut(len).zip(sums);
    parts.zip(&mut scales).for_each(|((out, (x, more)), scales)| {
        x.iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
        one(x, weight, epsilon, out, scales);
    });
    (out, scales)
}

/// Normalises one panel's tokens, or one head of them.
fn one(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32], scales: &mut [f32; LANES]) {
    let x = x.as_chunks::<LANES>().0;
    widest(|| {
        let mut squares = [0.0_f32; LANES];
        for feature in x {
            for (sum, value) in squares.iter_mut().zip(feature) {
                *sum = value.mul_add(*value, *sum);
            }
        }
        for (scale, sum) in scales.iter_mut().zip(squares) {
            *scale = 1.0 / (sum / weight.len() as f32 + epsilon).sqrt();
        }
        write_scaled(x, weight, scales, out);
    });
}

/// Returns what [`forward`] returned, from its factors.
pub(super) fn scaled(x: &Panels, weight: &[f32], scales: &[[f32; LANES]]) -> Panels {
    let mut out = x.like(x.features());
    let len = weight.len() * LANES;
    let parts = out.data_mut().par_chunks_mut(len).zip(x.data().par_chunks(len));
    parts.zip(scales).for_each(|((out, x), scales)| {
        widest(|| write_scaled(x.as_chunks::<LANES>().0, weight, scales, out));
    });
    out
}

#[inline]
fn write_scaled(x: &[[f32; LANES]], weight: &[f32], scales: &[f32; LANES], out: &mut [f32]) {
    for ((out, x), weight) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(x).zip(weight) {
        for ((out, x), scale) in out.iter_mut().zip(x).zip(scales) {
            *out = x * scale * weight;
        }
    }
}

/// Returns the gradient with respect to `x` from that with respect to the output, and what else flows back to `x`: past
/// the normalisation.
///
/// With `g = back · w` and `r = 1 / √(mean(x²) + ε)` it is `r · g − x · r³ · mean(g · x)`.
pub(super) fn backward(
    x: &Panels,
    back: &Panels,
    weight: &[f32],
    scales: &[[f32; LANES]],
    past: Option<&Panels>,
) -> Panels {
    let mut out = x.like(x.features());
    let len = weight.len() * LANES;
    let parts = out.data_mut().par_chunks_mut(len).zip(x.data().par_chunks(len)).zip(back.data().par_chunks(len));
    parts.zip(scales).enumerate().for_each(|(part, (((out, x), back), scales))| {
        let (x, back) = (x.as_chunks::<LANES>().0, back.as_chunks::<LANES>().0);
        let out = out.as_chunks_mut::<LANES>().0;
        let past = past.map(|past| past.data()[part * len..][..len].as_chunks::<LANES>().0);
        widest(|| {
            let mut dots = [0.0_f32; LANES];
            for ((back, x), weight) in back.iter().zip(x).zip(weight) {
                for ((back, x), dot) in back.iter().zip(x).zip(&mut dots) {
                    *dot = (back * weight).mul_add(*x, *dot);
                }
            }
            for (dot, scale) in dots.iter_mut().zip(scales) {
                *dot = *dot / weight.len() as f32 * scale * scale;
            }
            for (feature, (((out, back), x), weight)) in out.iter_mut().zip(back).zip(x).zip(weight).enumerate() {
                for ((((out, back), x), dot), scale) in out.iter_mut().zip(back).zip(x).zip(&dots).zip(scales) {
                    *out = scale * (back * weight - x * dot);
                }
                if let Some(past) = past {
                    for (out, past) in out.iter_mut().zip(&past[feature]) {
                        *out += past;
                    }
                }
            }
        });
    });
    out
}

/// Adds the gradient with respect to the weight to `out`: `Σ back · x · r` over the tokens, and over the heads where each
/// is normalised by itself.
///
/// Each number is a sum in the order of the tokens by lanes, whatever the number of threads.
pub(super) fn add_weight_gradient(x: &Panels, back: &Panels, scales: &[[f32; LANES]], out: &mut [f32]) {
    let len = out.len() * LANES;
    out.par_chunks_mut(TASK_FEATURES).enumerate().for_each(|(task, out)| {
        let mut sums = [[0.0_f32; LANES]; TASK_FEATURES];
        let place = task * TASK_FEATURES * LANES..(task * TASK_FEATURES + out.len()) * LANES;
        let parts = x.data().chunks(len).zip(back.data().chunks(len)).zip(scales);
        widest(|| {
            for ((x, back), scales) in parts {
                let (x, back) = (x[place.clone()].as_chunks::<LANES>().0, back[place.clone()].as_chunks::<LANES>().0);
                for (sums, (x, back)) in sums.iter_mut().zip(x.iter().zip(back)) {
                    for (((sum, x), back), scale) in sums.iter_mut().zip(x).zip(back).zip(scales) {
                        *sum = (x * scale).mul_add(*back, *sum);
                    }
                }
            }
        });
        for (out, sums) in out.iter_mut().zip(&sums) {
            *out += sums.iter().sum::<f32>();
        }
    });
}
