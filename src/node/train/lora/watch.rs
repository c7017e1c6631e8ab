//! Whether the loss explodes: it is held against its running mean.

use serde::{Deserialize, Serialize};

/// What the loss may grow to, over its running mean.
const RATIO: f64 = 3.0;
/// The share of a step's loss in the running mean: some twenty steps count.
const SLOW: f64 = 0.05;
/// The share of a step's loss in what is held against it: a single hard row is no explosion.
const FAST: f64 = 0.5;
/// The first steps only make the mean.
const FIRST: u64 = 10;
/// The least mean, in nats: what was learnt by heart may be forgotten again.
const LEAST: f64 = 1.0;

/// The loss so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Watch {
    steps: u64,
    mean: f64,
    recent: f64,
}

impl Watch {
    /// Takes in a step's loss; returns the running mean when the loss has grown far beyond it.
    pub(super) fn take(&mut self, loss: f64) -> Option<f64> {
        if self.steps == 0 {
            (self.mean, self.recent) = (loss, loss);
        }
        self.steps += 1;
        self.recent += FAST * (loss - self.recent);
        let mean = self.mean;
        self.mean += SLOW * (loss - mean);
        (self.steps > FIRST && self.recent > RATIO * mean.max(LEAST)).then_some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explodes_at(losses: impl IntoIterator<Item = f64>) -> Option<usize> {
        let mut watch = Watch::default();
        losses.into_iter().position(|loss| watch.take(loss).is_some())
    }

    #[test]
    fn a_loss_that_grows_without_end_is_found_and_a_single_hard_row_is_not() {
        let calm = |step: usize| 2.0 + 0.5 * (step as f64).sin();
        assert_eq!(explodes_at((0..500).map(calm)), None);
        assert_eq!(explodes_at((0..200).map(|step| if step == 100 { 9.0 } else { calm(step) })), None);
        let found = explodes_at((0..200).map(|step| if step < 100 { calm(step) } else { 11.0 })).unwrap();
        assert!((100..105).contains(&found), "{found}");
        // Learnt by heart, then another row.
        assert_eq!(explodes_at((0..100).map(|step| if step % 10 == 9 { 2.0 } else { 0.01 })), None);
    }
}
