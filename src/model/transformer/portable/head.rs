//! The output projection with cross-entropy, for trained positions only and some of them at a time.

use candle_core::{DType, Result, Tensor};

use super::super::head::Objective;
use super::frozen::product;

/// Positions whose logits exist at the same time.
const POSITIONS: usize = 512;

/// Returns the summed negative log-likelihood of `targets`, smoothed as `objective` says, and, where there is one, the
/// gradient of its `weight` times it with respect to `x`: a row for each target. `head` is `vocabulary × features`.
pub(super) fn loss(
    head: &Tensor,
    x: &Tensor,
    targets: &[u32],
    objective: Option<Objective>,
) -> Result<(f64, Option<Tensor>)> {
    let (mut sum, mut back) = (0.0, Vec::new());
    let vocabulary = head.dim(0)? as f64;
    for (chunk, targets) in targets.chunks(POSITIONS).enumerate() {
        let x = x.narrow(0, chunk * POSITIONS, targets.len())?;
        let targets = Tensor::from_slice(targets, (targets.len(), 1), x.device())?;
        let logits = logits(head, &x)?;
        let logits = logits.broadcast_sub(&logits.max_keepdim(1)?)?;
        let exponentials = logits.exp()?;
        let sums = exponentials.sum_keepdim(1)?;
        let smoothing = f64::from(objective.map_or(0.0, |objective| objective.label_smoothing));
        let right = logits.gather(&targets, 1)?.affine(1.0 - smoothing, 0.0)?;
        let even = logits.mean_keepdim(1)?.affine(smoothing, 0.0)?;
        let losses = ((sums.log()? - right)? - even)?;
        sum += losses.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).sum::<f64>();
        let Some(objective) = objective else { continue };
        let weight = f64::from(objective.weight);
        let shares = exponentials.broadcast_div(&sums)?.affine(weight, -weight * smoothing / vocabulary)?;
        let right = Tensor::full((-weight * (1.0 - smoothing)) as f32, targets.shape(), x.device())?;
        back.push(product(&shares.scatter_add(&targets, &right, 1)?, head, head.dtype())?);
    }
    let back = if back.is_empty() { None } else { Some(Tensor::cat(&back, 0)?) };
    Ok((sum, back))
}

/// Returns the logits of each row of `x`.
pub(super) fn logits(head: &Tensor, x: &Tensor) -> Result<Tensor> {
    debug_assert_eq!(x.dtype(), DType::F32);
    product(x, &head.t()?, head.dtype())
}
