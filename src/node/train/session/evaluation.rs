//! The loss on held-out rows: which adapter is the best, and when to stop.

use serde::{Deserialize, Serialize};

use super::inputs::Row;
use super::plan::micro_batches;
use super::settings::LoopSettings;
use crate::model::ModelError;
use crate::model::transformer::Batch;
use crate::node::{NodeError, Run};

/// What evaluations have found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Standing {
    /// The loss before the first step.
    pub(super) start: Option<f64>,
    /// The lowest loss.
    pub(super) best: Option<f64>,
    /// The step that gave it.
    pub(super) best_step: u64,
    /// Evaluations since then.
    pub(super) since_best: u64,
    /// The last loss.
    pub(super) last: Option<f64>,
    /// The step of the last evaluation.
    pub(super) last_step: Option<u64>,
    /// Whether patience has ended.
    pub(super) stopped: bool,
}

impl Standing {
    /// Takes in the loss after a step; returns whether it is the lowest.
    pub(super) fn take(&mut self, step: u64, loss: f64, patience: Option<u64>) -> bool {
        if step == 0 {
            self.start = Some(loss);
        }
        (self.last, self.last_step) = (Some(loss), Some(step));
        let is_best = self.best.is_none_or(|best| loss < best);
        if is_best {
            (self.best, self.best_step, self.since_best) = (Some(loss), step, 0);
        } else {
            self.since_best += 1;
        }
        self.stopped = patience.is_some_and(|patience| self.since_best >= patience);
        is_best
    }
}

/// Held-out rows, ready to be computed.
pub(super) struct HeldOut {
    batches: Vec<Batch>,
    trained: usize,
}

impl HeldOut {
    /// Packs the rows.
    pub(super) fn new(rows: &[Row], settings: &LoopSettings) -> Self {
        let mut batches = Vec::new();
        // Whole steps at a time: to pack all rows by length at once would be slow for many.
        for rows in rows.chunks(256) {
            batches.extend(micro_batches(rows.iter().map(|row| (0, row)).collect(), settings.micro_batch_tokens));
        }
        let trained = batches.iter().map(Batch::trained_tokens).sum();
        Self { batches, trained }
    }

    /// Returns the batches.
    pub(super) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// Returns the tokens of all rows.
    pub(super) fn tokens(&self) -> usize {
        self.batches.iter().map(Batch::tokens).sum()
    }

    /// Returns the mean loss over all trained tokens, from what `of` says of each batch.
    pub(super) fn loss(&self, run: &Run<'_>, of: impl Fn(&Batch) -> Result<f64, ModelError>) -> Result<f64, NodeError> {
        let mut sum = 0.0;
        for batch in &self.batches {
            run.check_cancelled()?;
            sum += of(batch)?;
        }
        Ok(sum / self.trained.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_after_so_many_evaluations_without_a_lower_loss() {
        let mut standing = Standing::default();
        let losses = [3.0, 2.0, 2.5, 1.9, 1.9, 2.2];
        let best: Vec<bool> = (0_u64..).zip(losses).map(|(step, loss)| standing.take(step, loss, Some(2))).collect();
        assert_eq!(best, [true, true, false, true, false, false]);
        assert!(standing.stopped);
        assert_eq!((standing.start, standing.best, standing.best_step), (Some(3.0), Some(1.9), 3));
    }
}
