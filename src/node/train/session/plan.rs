//! Which rows each step trains.
//!
//! Each epoch has its own order, drawn from the seed and the epoch's number alone, so that a run can go on anywhere.

use super::inputs::Row;
use super::settings::LoopSettings;
use crate::model::lora::random;
use crate::model::transformer::Batch;

/// Steps whose rows are sorted by length together: enough that lengths within a step are close, few enough that rows
/// of one length come in many places of an epoch.
const GROUPED_STEPS: usize = 50;

/// The steps of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    /// Counted from 0.
    number: u64,
    /// Indices of the rows, step after step.
    order: Vec<usize>,
    batch_size: usize,
}

impl Epoch {
    /// Draws the order of epoch `number`, counted from 0.
    pub(super) fn new(rows: &[Row], settings: &LoopSettings, number: u64) -> Self {
        let seed = random::mix(&[settings.seed, random::name("order"), number]);
        let appearances = rows.iter().enumerate().flat_map(|(index, row)| {
            let drawn = random::unit(random::mix(&[seed, random::name("weight"), index as u64]));
            let more = f64::from(drawn) < row.weight.fract();
            std::iter::repeat_n(index, row.weight as usize + usize::from(more))
        });
        let appearances: Vec<usize> = appearances.collect();
        let mut order: Vec<usize> =
            random::order(appearances.len(), seed).into_iter().map(|place| appearances[place]).collect();
        let batch_size = settings.batch_size;
        if settings.group_by_length {
            order = grouped(order, rows, batch_size, seed);
        }
        Self { number, order, batch_size }
    }

    /// Returns how many rows come, each as often as it does.
    pub(super) fn appearances(&self) -> usize {
        self.order.len()
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

    /// Returns the micro-batches of a step.
    pub(super) fn micro_batches(&self, rows: &[Row], step: u64, limit: usize) -> Vec<Batch> {
        // Below 2³² appearances, each has an identity that no other of the run has.
        let identity = |place: usize| self.number << 24 ^ place as u64;
        micro_batches(self.step(step).map(|(place, row)| (identity(place), &rows[row])).collect(), limit)
    }
}

/// Brings rows of about the same length into the same step; which step comes when stays by chance. The last step, which
/// may be short, stays the last.
fn grouped(mut order: Vec<usize>, rows: &[Row], batch_size: usize, seed: u64) -> Vec<usize> {
    for group in order.chunks_mut(batch_size.saturating_mul(GROUPED_STEPS)) {
        group.sort_by_key(|row| std::cmp::Reverse(rows[*row].tokens.ids.len()));
    }
    let whole = order.len() / batch_size;
    let seed = random::mix(&[seed, random::name("groups")]);
    let steps = random::order(whole, seed).into_iter().flat_map(|step| &order[step * batch_size..][..batch_size]);
    steps.chain(&order[whole * batch_size..]).copied().collect()
}

/// Lays rows in micro-batches of up to `limit` tokens; each comes with what tells its appearance from all others.
pub(super) fn micro_batches(rows: Vec<(u64, &Row)>, limit: usize) -> Vec<Batch> {
    let laid = |part: Vec<(u64, &Row)>| Batch::new(part.into_iter().map(|(identity, row)| (identity, &row.tokens)));
    packed(rows, limit).into_iter().map(laid).collect()
}

/// Packs a step's rows into parts of up to `limit` tokens that are computed at once; a longer row is a part of its own.
///
/// The longest come first and each goes to the first part with room, which leaves few tokens of room. Within a part rows
/// keep their order.
fn packed(rows: Vec<(u64, &Row)>, limit: usize) -> Vec<Vec<(u64, &Row)>> {
    let length = |place: usize| rows[place].1.tokens.ids.len();
    let mut places: Vec<usize> = (0..rows.len()).collect();
    places.sort_by_key(|place| std::cmp::Reverse(length(*place)));
    let mut parts: Vec<(usize, Vec<usize>)> = Vec::new();
    for place in places {
        match parts.iter_mut().find(|(tokens, _)| tokens + length(place) <= limit) {
            Some((tokens, part)) => {
                *tokens += length(place);
                part.push(place);
            }
            None => parts.push((length(place), vec![place])),
        }
    }
    let sorted = parts.into_iter().map(|(_, mut part)| {
        part.sort_unstable();
        part
    });
    sorted.map(|part| part.into_iter().map(|place| rows[place]).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rows::TokenRow;

    fn row(length: usize, weight: f64) -> Row {
        Row { id: String::new(), tokens: TokenRow { ids: vec![1; length], trained: vec![true; length] }, weight }
    }

    fn rows(weights: &[f64]) -> Vec<Row> {
        weights.iter().map(|weight| row(400, *weight)).collect()
    }

    fn all(epoch: &Epoch) -> Vec<usize> {
        (0..epoch.steps()).flat_map(|step| epoch.step(step).map(|(_, row)| row).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn an_epoch_has_every_row_once_and_each_epoch_another_order() {
        let (rows, settings) = (rows(&[1.0; 50]), LoopSettings::default());
        let (first, second) = (all(&Epoch::new(&rows, &settings, 0)), all(&Epoch::new(&rows, &settings, 1)));
        assert_ne!(first, second);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_eq!(all(&Epoch::new(&rows, &settings, 0)), first);
    }

    #[test]
    fn a_weight_says_how_often_a_row_comes() {
        let (rows, settings) = (rows(&[0.0, 2.0, 0.5]), LoopSettings::default());
        let counts = (0..100).map(|number| {
            let order = all(&Epoch::new(&rows, &settings, number));
            [0, 1, 2].map(|row| order.iter().filter(|found| **found == row).count())
        });
        let sums = counts.fold([0; 3], |sums: [usize; 3], count| [0, 1, 2].map(|row| sums[row] + count[row]));
        assert_eq!(sums[..2], [0, 200]);
        assert!((35..=65).contains(&sums[2]), "{sums:?}");
    }

    #[test]
    fn rows_of_one_length_come_together_and_each_still_comes_once() {
        let rows: Vec<Row> = (0..203).map(|index| row(1 + index * 7 % 90, 1.0)).collect();
        let settings = LoopSettings { group_by_length: true, batch_size: 4, ..LoopSettings::default() };
        let epoch = Epoch::new(&rows, &settings, 0);
        let spread = |step: u64| {
            let lengths: Vec<usize> = epoch.step(step).map(|(_, row)| rows[row].tokens.ids.len()).collect();
            lengths.iter().max().unwrap() - lengths.iter().min().unwrap()
        };
        assert!((0..50).all(|step| spread(step) <= 6), "{:?}", (0..50).map(spread).collect::<Vec<_>>());
        let firsts: Vec<usize> =
            (0..50).map(|step| rows[epoch.step(step).next().unwrap().1].tokens.ids.len()).collect();
        assert!(!firsts.is_sorted() && !firsts.iter().rev().is_sorted(), "steps come by length: {firsts:?}");
        let mut sorted = all(&epoch);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..203).collect::<Vec<_>>());
        assert_eq!(Epoch::new(&rows, &settings, 0), epoch);
    }

    #[test]
    fn parts_are_filled_by_the_longest_rows_first() {
        let rows: Vec<Row> = [300, 700, 400, 1500, 600].into_iter().map(|length| row(length, 1.0)).collect();
        let parts = packed(rows.iter().map(|row| (0, row)).collect(), 1024);
        let lengths: Vec<Vec<usize>> =
            parts.iter().map(|part| part.iter().map(|(_, row)| row.tokens.ids.len()).collect()).collect();
        assert_eq!(lengths, [vec![1500], vec![300, 700], vec![400, 600]]);
    }
}
