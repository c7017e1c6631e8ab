//! Which rows each step trains.
//!
//! Each epoch has its own order, drawn from the seed and the epoch's number alone, so that a run can go on anywhere.

use super::inputs::Row;
use super::settings::Settings;
use crate::model::lora::random;

/// Tokens that are computed at once; longer rows are computed alone. It is fixed, since sums over tokens depend on it.
pub(super) const MICRO_BATCH_TOKENS: usize = 1024;

/// The steps of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    /// Indices of the rows, step after step.
    order: Vec<usize>,
    batch_size: usize,
}

impl Epoch {
    /// Draws the order of epoch `number`, counted from 0.
    pub(super) fn new(rows: &[Row], settings: &Settings, number: u64) -> Self {
        let seed = random::mix(&[settings.seed, random::name("order"), number]);
        let appearances = rows.iter().enumerate().flat_map(|(index, row)| {
            let drawn = random::unit(random::mix(&[seed, random::name("weight"), index as u64]));
            let more = f64::from(drawn) < row.weight.fract();
            std::iter::repeat_n(index, row.weight as usize + usize::from(more))
        });
        let appearances: Vec<usize> = appearances.collect();
        let order = random::order(appearances.len(), seed).into_iter().map(|place| appearances[place]).collect();
        Self { order, batch_size: settings.batch_size }
    }

    /// Returns the number of steps.
    pub(super) fn steps(&self) -> u64 {
        self.order.len().div_ceil(self.batch_size) as u64
    }

    /// Returns the rows of a step: places in the epoch, and indices.
    pub(super) fn step(&self, step: u64) -> impl Iterator<Item = (usize, usize)> + '_ {
        let start = step as usize * self.batch_size;
        let end = self.order.len().min(start + self.batch_size);
        (start..end).map(|place| (place, self.order[place]))
    }
}

/// Cuts a step's rows into parts that are computed at once, in their order.
pub(super) fn micro_batches(rows: Vec<(u64, &Row)>) -> Vec<Vec<(u64, &Row)>> {
    let mut parts: Vec<Vec<(u64, &Row)>> = Vec::new();
    let mut tokens = 0;
    for (identity, row) in rows {
        let length = row.tokens.ids.len();
        match parts.last_mut() {
            Some(part) if tokens + length <= MICRO_BATCH_TOKENS => part.push((identity, row)),
            _ => {
                parts.push(vec![(identity, row)]);
                tokens = 0;
            }
        }
        tokens += length;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rows::TokenRow;

    fn rows(weights: &[f64]) -> Vec<Row> {
        let row =
            |weight: &f64| Row { tokens: TokenRow { ids: vec![1; 400], trained: vec![true; 400] }, weight: *weight };
        weights.iter().map(row).collect()
    }

    fn all(epoch: &Epoch) -> Vec<usize> {
        (0..epoch.steps()).flat_map(|step| epoch.step(step).map(|(_, row)| row).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn an_epoch_has_every_row_once_and_each_epoch_another_order() {
        let (rows, settings) = (rows(&[1.0; 50]), Settings::default());
        let (first, second) = (all(&Epoch::new(&rows, &settings, 0)), all(&Epoch::new(&rows, &settings, 1)));
        assert_ne!(first, second);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(all(&Epoch::new(&rows, &settings, 0)), first);
    }

    #[test]
    fn a_weight_says_how_often_a_row_comes() {
        let (rows, settings) = (rows(&[0.0, 2.0, 0.5]), Settings::default());
        let counts = (0..100).map(|number| {
            let order = all(&Epoch::new(&rows, &settings, number));
            [0, 1, 2].map(|row| order.iter().filter(|found| **found == row).count())
        });
        let sums = counts.fold([0; 3], |sums: [usize; 3], count| [0, 1, 2].map(|row| sums[row] + count[row]));
        assert_eq!(sums[..2], [0, 200]);
        assert!((35..=65).contains(&sums[2]), "{sums:?}");
    }

    #[test]
    fn a_part_holds_as_many_rows_as_fit() {
        let rows = rows(&[1.0; 5]);
        let parts = micro_batches(rows.iter().map(|row| (0, row)).collect());
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    }
}
