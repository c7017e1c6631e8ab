//! Whether the loss explodes: it is held against its running mean.

use serde::{Deserialize, Serialize};

use super::error::TrainError;
use super::settings::Divergence;

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

/// Rows of a step that an error names.
const NAMED: usize = 8;

/// A step as it is watched.
#[derive(Clone, Debug)]
pub(super) struct Watched<'a> {
    /// Its number, from 1.
    pub(super) step: u64,
    /// The mean loss.
    pub(super) loss: f64,
    /// The norm of the gradient.
    pub(super) norm: f64,
    /// The learning rate.
    pub(super) rate: f64,
    /// The ids of its rows.
    pub(super) rows: Vec<&'a str>,
}

impl Watched<'_> {
    /// Names the first rows.
    fn named(&self) -> String {
        let named = self.rows.iter().take(NAMED).map(|id| format!("`{}`", id.escape_debug()));
        let mut text = named.collect::<Vec<_>>().join(", ");
        let more = self.rows.len().saturating_sub(NAMED);
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        text
    }
}

/// The loss so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Watch {
    steps: u64,
    mean: f64,
    recent: f64,
}

impl Watch {
    /// Takes in a step.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] when its loss or gradient is no number, [`TrainError::Exploded`] when the loss explodes.
    pub(super) fn check(&mut self, watched: &Watched<'_>, divergence: Divergence) -> Result<(), TrainError> {
        let Watched { step, loss, norm, rate, .. } = *watched;
        if !loss.is_finite() || !norm.is_finite() {
            return Err(TrainError::Diverged { step, loss, norm, rate, rows: watched.named() });
        }
        match self.take(loss) {
            Some(mean) if divergence == Divergence::Fail => {
                Err(TrainError::Exploded { step, loss, mean, rate, rows: watched.named() })
            }
            _ => Ok(()),
        }
    }

    /// Takes in a step's loss; returns the running mean when the loss has grown far beyond it.
    fn take(&mut self, loss: f64) -> Option<f64> {
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
    fn an_explosion_names_the_step_and_its_rows_unless_it_is_to_be_ignored() {
        let names: Vec<String> = (0..10).map(|row| format!("row-{row}")).collect();
        let run = |divergence: Divergence| {
            let mut watch = Watch::default();
            (1..=40).try_for_each(|step| {
                let loss = if step < 30 { 2.0 } else { 20.0 };
                let rows = names.iter().map(String::as_str).collect();
                watch.check(&Watched { step, loss, norm: 1.0, rate: 0.1, rows }, divergence)
            })
        };
        let error = run(Divergence::Fail).unwrap_err().to_string();
        assert!(error.starts_with("the loss exploded in step 30: it is 20.000, its running mean is 2.000;"), "{error}");
        assert!(error.ends_with("`row-6`, `row-7` and 2 more"), "{error}");
        run(Divergence::Ignore).unwrap();
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
