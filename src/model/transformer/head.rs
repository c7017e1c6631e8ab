//! The output projection with cross-entropy, for trained positions only and 128 of them at a time.

use rayon::prelude::*;

use super::super::kernel::{
    Features, LANES, Mode, Numbers, Panels, Term, Workspace, add_outer_bands, exp, greatest, multiply,
    scale_and_subtract, widest,
};
use super::super::weights::Matrix;
use super::products::{group, multiply_one_panel};

/// Panels whose logits exist at the same time: 4 MB of logits for each 1,000 tokens of vocabulary and 8 panels.
const CHUNK_PANELS: usize = 8;

/// What a gradient is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Objective {
    /// What the loss is multiplied with.
    pub(super) weight: f32,
    /// The share of each target's probability that is spread evenly over the vocabulary, as `label_smoothing` of
    /// PyTorch's `cross_entropy`.
    pub(super) label_smoothing: f32,
}

/// Returns the summed negative log-likelihood of `targets`, smoothed as `objective` says, and, where there is one, the
/// gradient of its `weight` times it with respect to `x`, whose tokens are as many as the targets. That with respect to the
/// projection is added to `head_gradient`, which has it in bands, where it is trained.
pub(super) fn loss(
    head: &Matrix,
    x: &Panels,
    targets: &[u32],
    objective: Option<Objective>,
    mut head_gradient: Option<&mut [f32]>,
) -> (f64, Panels) {
    let mut back = x.like(if objective.is_some() { x.features() } else { 1 });
    let (x_len, back_len) = (x.panel_len(), back.panel_len());
    let (logits_len, workspace) = (head.rows() * LANES, x.workspace().clone());
    let mut logits = Numbers::unset(&workspace, logits_len * CHUNK_PANELS.min(x.panels()));
    let mut losses = vec![0.0; targets.len()];
    let chunks = x.data().chunks(x_len * CHUNK_PANELS).zip(back.data_mut().chunks_mut(back_len * CHUNK_PANELS));
    let answers = targets.chunks(LANES * CHUNK_PANELS).zip(losses.chunks_mut(LANES * CHUNK_PANELS));
    for ((x, back), (targets, losses)) in chunks.zip(answers) {
        let panels = x.len() / x_len;
        let logits = &mut logits[..panels * logits_len];
        project(head, &workspace, x, logits);
        logits
            .par_chunks_mut(logits_len)
            .zip(targets.par_chunks(LANES).zip(losses.par_chunks_mut(LANES)))
            .for_each(|(logits, (targets, losses))| widest(|| cross_entropy(logits, targets, losses, objective)));
        if objective.is_some() {
            let group = group(panels);
            head.for_each_columns(&workspace, |tile| {
                let logits = logits.par_chunks(group * logits_len);
                back.par_chunks_mut(group * back_len).zip(logits).for_each(|(back, logits)| {
                    let back = &mut back[tile.first * LANES..];
                    multiply(tile.transposed(), (logits, logits_len), (back, back_len), Mode::Fresh);
                });
            });
            if let Some(gradient) = &mut head_gradient {
                let x = Features { data: x, features: head.columns() };
                add_outer_bands(&workspace, Features { data: logits, features: head.rows() }, x, gradient);
            }
        }
    }
    (losses.iter().sum(), back)
}

/// Gives `each` the logits of each of the first `tokens` tokens, in their order.
pub(super) fn each_logits<E>(
    head: &Matrix,
    x: &Panels,
    tokens: usize,
    mut each: impl FnMut(usize, &[f32]) -> Result<(), E>,
) -> Result<(), E> {
    let (x_len, logits_len) = (x.panel_len(), head.rows() * LANES);
    let workspace = x.workspace();
    let mut logits = Numbers::unset(workspace, logits_len * CHUNK_PANELS.min(x.panels()));
    let mut one = vec![0.0; head.rows()];
    for (first, x) in (0..).step_by(CHUNK_PANELS * LANES).zip(x.data().chunks(x_len * CHUNK_PANELS)) {
        let panels = x.len() / x_len;
        project(head, workspace, x, &mut logits[..panels * logits_len]);
        for token in 0..(panels * LANES).min(tokens.saturating_sub(first)) {
            let panel = &logits[token / LANES * logits_len..][..logits_len];
            for (one, logit) in one.iter_mut().zip(panel.iter().skip(token % LANES).step_by(LANES)) {
                *one = *logit;
            }
            each(first + token, &one)?;
        }
    }
    Ok(())
}

/// Writes the logits of all panels of `x`.
fn project(head: &Matrix, workspace: &Workspace, x: &[f32], logits: &mut [f32]) {
    let (x_len, logits_len) = (head.columns() * LANES, head.rows() * LANES);
    let group = group(x.len() / x_len);
    head.for_each_rows(workspace, |tile| {
        if x.len() == x_len {
            let term = Term { a: tile.operand(), x, x_stride: x_len };
            return multiply_one_panel(&[term], &mut logits[tile.first * LANES..], Mode::Fresh);
        }
        logits.par_chunks_mut(group * logits_len).zip(x.par_chunks(group * x_len)).for_each(|(logits, x)| {
            multiply(tile.operand(), (x, x_len), (&mut logits[tile.first * LANES..], logits_len), Mode::Fresh);
        });
    });
}

/// Writes the loss of each target, and replaces the logits by their gradients.
#[inline]
fn cross_entropy(logits: &mut [f32], targets: &[u32], losses: &mut [f64], objective: Option<Objective>) {
    let logits = logits.as_chunks_mut::<LANES>().0;
    let smoothing = objective.map_or(0.0, |objective| objective.label_smoothing);
    let greatest = greatest(logits);
    for (lane, (target, loss)) in targets.iter().zip(losses.iter_mut()).enumerate() {
        let share = 1.0 - f64::from(smoothing);
        *loss = f64::from(greatest[lane]) - share * f64::from(logits[*target as usize][lane]);
    }
    if smoothing > 0.0 {
        for (loss, sum) in losses.iter_mut().zip(sums(logits)) {
            *loss -= f64::from(smoothing) * sum / logits.len() as f64;
        }
    }
    let sums = exponentials(logits, &greatest);
    for (loss, sum) in losses.iter_mut().zip(sums) {
        *loss += sum.ln();
    }
    let Some(Objective { weight, .. }) = objective else { return };
    let mut factors = [0.0; LANES];
    for (lane, _) in targets.iter().enumerate() {
        factors[lane] = weight / sums[lane] as f32;
    }
    let even = weight * smoothing / logits.len() as f32;
    scale_and_subtract(logits, &factors, even);
    for (lane, target) in targets.iter().enumerate() {
        logits[*target as usize][lane] -= weight * (1.0 - smoothing);
    }
}

/// Returns the sums of each lane's logits, added in small groups first.
fn sums(logits: &[[f32; LANES]]) -> [f64; LANES] {
    let mut sums = [0.0_f64; LANES];
    for group in logits.chunks(64) {
        let mut part = [0.0_f32; LANES];
        for logits in group {
            for (part, logit) in part.iter_mut().zip(logits) {
                *part += logit;
            }
        }
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += f64::from(part);
        }
    }
    sums
}

/// Replaces the logits by their exponentials above the greatest and returns the sums.
///
/// Tens of thousands of small numbers would be lost beside a large sum of 32 bits: they are added in small groups first.
#[inline]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// ```python
    /// x = torch.tensor([[0.5 * i - 0.1 * i * i + 0.3 * t for i in range(7)] for t in range(3)], dtype=torch.float64)
    /// x.requires_grad_()
    /// loss = torch.nn.functional.cross_entropy(x, torch.tensor([2, 0, 6]), label_smoothing=0.1, reduction="sum")
    /// loss.backward(); print(loss, x.grad[0], x.grad[2])
    /// ```
    #[test]
    fn smoothed_labels_lose_what_they_lose_in_pytorch() {
        let targets = [2, 0, 6];
        let mut logits = [[0.0_f32; LANES]; 7];
        for (class, lanes) in logits.iter_mut().enumerate() {
            for (lane, logit) in lanes.iter_mut().enumerate() {
                let class = class as f32;
                *logit = 0.5 * class - 0.1 * class * class + 0.3 * lane as f32;
            }
        }
        let mut losses = [0.0; 3];
        let objective = Objective { weight: 1.0, label_smoothing: 0.1 };
        cross_entropy(logits.as_flattened_mut(), &targets, &mut losses, Some(objective));
        let loss: f64 = losses.iter().sum();
        assert!((loss - 6.590_002_541).abs() < 1e-5, "{loss}");
        let first = [0.094_685_9, 0.148_280_9, -0.715_726_4, 0.184_273_6, 0.148_280_9, 0.094_685_9, 0.045_519_2];
        let last = [0.094_685_9, 0.148_280_9, 0.184_273_6, 0.184_273_6, 0.148_280_9, 0.094_685_9, -0.854_480_8];
        for (lane, expected) in [(0, first), (2, last)] {
            for (found, expected) in logits.iter().map(|lanes| lanes[lane]).zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
            }
        }
    }
}
