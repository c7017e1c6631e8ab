//! The rotary embedding in transformers' order: feature `i` of a head turns with feature `i + half`.

use std::ops::Range;

use rayon::prelude::*;

use super::super::kernel::{LANES, Panels, widest};
use super::Batch;

/// Which way heads are turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// By the position: forward.
    On,
    /// Back again: the gradient, since a rotation's transpose is its inverse.
    Back,
}

/// Cosines and sines of tokens' angles.
#[derive(Debug)]
pub(super) struct Rotation {
    cosines: Panels,
    sines: Panels,
}

impl Rotation {
    /// Computes the angles of some tokens, in 64 bits.
    pub(super) fn new(frequencies: &[f64], batch: &Batch, tokens: Range<usize>) -> Self {
        let mut rotation = Self {
            cosines: Panels::zeros(frequencies.len(), tokens.len()),
            sines: Panels::zeros(frequencies.len(), tokens.len()),
        };
        for (place, token) in tokens.enumerate() {
            let angles = frequencies.iter().map(|frequency| frequency * batch.position(token) as f64);
            let (sines, cosines): (Vec<f32>, Vec<f32>) =
                angles.map(f64::sin_cos).map(|(sine, cosine)| (sine as f32, cosine as f32)).unzip();
            rotation.sines.set_token(place, &sines);
            rotation.cosines.set_token(place, &cosines);
        }
        rotation
    }

    /// Turns all heads of `x`.
    pub(super) fn apply(&self, x: &mut Panels, turn: Turn) {
        let half = self.cosines.features();
        let len = x.panel_len();
        x.data_mut().par_chunks_mut(len).enumerate().for_each(|(panel, x)| {
            let (cosines, sines) = (self.cosines.panel(panel), self.sines.panel(panel));
            widest(|| {
                for head in x.chunks_mut(2 * half * LANES) {
                    let (first, second) = head.split_at_mut(half * LANES);
                    for (((first, second), cosine), sine) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
                        let sine = if turn == Turn::On { *sine } else { -sine };
                        let (x, y) = (*first, *second);
                        *first = x * cosine - y * sine;
                        *second = y * cosine + x * sine;
                    }
                }
            });
        });
    }
}
