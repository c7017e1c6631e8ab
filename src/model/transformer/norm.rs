//! RMS normalisation with a frozen weight: forward, and the gradient with respect to its input.
//!
//! As many features as there are weights are normalised together: a whole token, or each of its heads.

use rayon::prelude::*;

use super::super::kernel::{LANES, Panels};

/// Returns `x · w / √(mean(x²) + ε)` by tokens, and the factor `1 / √(…)` of each token, heads one after the other.
pub(super) fn forward(x: &Panels, weight: &[f32], epsilon: f32) -> (Panels, Vec<[f32; LANES]>) {
    let mut out = x.clone();
    let len = weight.len() * LANES;
    let mut scales = vec![[0.0; LANES]; x.data().len() / len];
    out.data_mut().par_chunks_mut(len).zip(&mut scales).for_each(|(out, scales)| {
        let features = out.as_chunks_mut::<LANES>().0;
        let mut squares = [0.0_f32; LANES];
        for feature in features.iter() {
            for (sum, value) in squares.iter_mut().zip(feature) {
                *sum = value.mul_add(*value, *sum);
            }
        }
        for (scale, sum) in scales.iter_mut().zip(squares) {
            *scale = 1.0 / (sum / weight.len() as f32 + epsilon).sqrt();
        }
        for (feature, weight) in features.iter_mut().zip(weight) {
            for (value, scale) in feature.iter_mut().zip(scales.iter()) {
                *value = *value * *scale * weight;
            }
        }
    });
    (out, scales)
}

/// Returns what [`forward`] returned, from its factors.
pub(super) fn scaled(x: &Panels, weight: &[f32], scales: &[[f32; LANES]]) -> Panels {
    let mut out = x.clone();
    let len = weight.len() * LANES;
    out.data_mut().par_chunks_mut(len).zip(scales).for_each(|(out, scales)| {
        for (feature, weight) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(weight) {
            for (value, scale) in feature.iter_mut().zip(scales) {
                *value = *value * *scale * weight;
            }
        }
    });
    out
}

/// Returns the gradient with respect to `x` from that with respect to the output.
///
/// With `g = back · w` and `r = 1 / √(mean(x²) + ε)` it is `r · g − x · r³ · mean(g · x)`.
pub(super) fn backward(x: &Panels, back: &Panels, weight: &[f32], scales: &[[f32; LANES]]) -> Panels {
    let mut out = back.clone();
    let len = weight.len() * LANES;
    out.data_mut().par_chunks_mut(len).zip(x.data().par_chunks(len)).zip(scales).for_each(|((out, x), scales)| {
        let (out, x) = (out.as_chunks_mut::<LANES>().0, x.as_chunks::<LANES>().0);
        let mut dots = [0.0_f32; LANES];
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            for ((out, x), dot) in out.iter_mut().zip(x).zip(&mut dots) {
                *out *= weight;
                *dot = out.mul_add(*x, *dot);
            }
        }
        for (dot, scale) in dots.iter_mut().zip(scales) {
            *dot = *dot / weight.len() as f32 * scale * scale;
        }
        for (out, x) in out.iter_mut().zip(x) {
            for (((out, x), dot), scale) in out.iter_mut().zip(x).zip(&dots).zip(scales) {
                *out = scale * (*out - x * dot);
            }
        }
    });
    out
}
