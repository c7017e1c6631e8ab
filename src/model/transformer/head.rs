//! The output projection with cross-entropy, for trained positions only and 128 of them at a time.

use rayon::prelude::*;

use super::super::kernel::{LANES, Mode, Panels, exp, multiply};
use super::super::weights::Matrix;
use super::linear::group;

/// Panels whose logits exist at the same time: 4 MB of logits for each 1,000 tokens of vocabulary and 8 panels.
const CHUNK_PANELS: usize = 8;

/// Returns the summed negative log-likelihood of `targets`, and, for a `weight`, the gradient of `weight` times it
/// with respect to `x`, whose tokens are as many as the targets.
pub(super) fn loss(head: &Matrix, x: &Panels, targets: &[u32], weight: Option<f32>) -> (f64, Panels) {
    let mut back = Panels::zeros(if weight.is_some() { x.features() } else { 1 }, targets.len());
    let (x_len, back_len) = (x.panel_len(), back.panel_len());
    let logits_len = head.rows() * LANES;
    let mut logits = vec![0.0; logits_len * CHUNK_PANELS.min(x.panels())];
    let mut losses = vec![0.0; targets.len()];
    let chunks = x.data().chunks(x_len * CHUNK_PANELS).zip(back.data_mut().chunks_mut(back_len * CHUNK_PANELS));
    let answers = targets.chunks(LANES * CHUNK_PANELS).zip(losses.chunks_mut(LANES * CHUNK_PANELS));
    for ((x, back), (targets, losses)) in chunks.zip(answers) {
        let panels = x.len() / x_len;
        let logits = &mut logits[..panels * logits_len];
        project(head, x, logits);
        logits
            .par_chunks_mut(logits_len)
            .zip(targets.par_chunks(LANES).zip(losses.par_chunks_mut(LANES)))
            .for_each(|(logits, (targets, losses))| cross_entropy(logits, targets, losses, weight));
        if weight.is_some() {
            let group = group(panels);
            head.for_each_tile(|tile| {
                let mode = if tile.first_row == 0 { Mode::Fresh } else { Mode::Sum };
                let logits = logits.par_chunks(group * logits_len);
                back.par_chunks_mut(group * back_len).zip(logits).for_each(|(back, logits)| {
                    let logits = &logits[tile.first_row * LANES..];
                    multiply(tile.transposed(), (logits, logits_len), (back, back_len), mode);
                });
            });
        }
    }
    (losses.iter().sum(), back)
}

/// Returns the logits of each of the first `tokens` tokens.
pub(super) fn logits(head: &Matrix, x: &Panels, tokens: usize) -> Vec<Vec<f32>> {
    let logits_len = head.rows() * LANES;
    let mut logits = vec![0.0; x.panels() * logits_len];
    project(head, x.data(), &mut logits);
    (0..tokens)
        .map(|token| {
            let panel = &logits[token / LANES * logits_len..][..logits_len];
            panel.iter().skip(token % LANES).step_by(LANES).copied().collect()
        })
        .collect()
}

/// Writes the logits of all panels of `x`.
fn project(head: &Matrix, x: &[f32], logits: &mut [f32]) {
    let (x_len, logits_len) = (head.columns() * LANES, head.rows() * LANES);
    let group = group(x.len() / x_len);
    head.for_each_tile(|tile| {
        logits.par_chunks_mut(group * logits_len).zip(x.par_chunks(group * x_len)).for_each(|(logits, x)| {
            multiply(tile.operand(), (x, x_len), (&mut logits[tile.first_row * LANES..], logits_len), Mode::Fresh);
        });
    });
}

/// Writes the loss of each target, and replaces the logits by their gradients.
fn cross_entropy(logits: &mut [f32], targets: &[u32], losses: &mut [f64], weight: Option<f32>) {
    let logits = logits.as_chunks_mut::<LANES>().0;
    let mut greatest = [f32::NEG_INFINITY; LANES];
    for logits in logits.iter() {
        for (greatest, logit) in greatest.iter_mut().zip(logits) {
            *greatest = greatest.max(*logit);
        }
    }
    for (lane, (target, loss)) in targets.iter().zip(losses.iter_mut()).enumerate() {
        *loss = f64::from(greatest[lane]) - f64::from(logits[*target as usize][lane]);
    }
    let sums = exponentials(logits, &greatest);
    for (loss, sum) in losses.iter_mut().zip(sums) {
        *loss += sum.ln();
    }
    let Some(weight) = weight else { return };
    let mut factors = [0.0; LANES];
    for (lane, _) in targets.iter().enumerate() {
        factors[lane] = weight / sums[lane] as f32;
    }
    for logits in logits.iter_mut() {
        for (logit, factor) in logits.iter_mut().zip(&factors) {
            *logit *= factor;
        }
    }
    for (lane, target) in targets.iter().enumerate() {
        logits[*target as usize][lane] -= weight;
    }
}

/// Replaces the logits by their exponentials above the greatest and returns the sums.
///
/// Tens of thousands of small numbers would be lost beside a large sum of 32 bits: they are added in small groups first.
fn exponentials(logits: &mut [[f32; LANES]], greatest: &[f32; LANES]) -> [f64; LANES] {
    let mut sums = [0.0_f64; LANES];
    for group in logits.chunks_mut(64) {
        let mut part = [0.0_f32; LANES];
        for logits in group {
            for ((logit, greatest), sum) in logits.iter_mut().zip(greatest).zip(&mut part) {
                *logit = exp(*logit - greatest);
                *sum += *logit;
            }
        }
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += f64::from(part);
        }
    }
    sums
}
