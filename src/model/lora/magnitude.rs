//! The lengths of a weight's rows, which DoRA trains apart from their directions.

use rayon::prelude::*;

use super::super::weights::Matrix;
use super::Module;

/// Numbers of a row that are summed at once, in registers.
const WIDTH: usize = 32;

/// A product of two small matrices: `scale · B A`.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct LowRank<'a> {
    /// `rank × inputs`, by rows.
    pub(in crate::model) a: &'a [f32],
    /// `outputs × rank`, by rows.
    pub(in crate::model) b: &'a [f32],
    pub(in crate::model) rank: usize,
    pub(in crate::model) scale: f32,
}

impl<'a> LowRank<'a> {
    /// Takes a module's matrices from a vector that is laid out like the adapter's parameters.
    pub(super) fn new(module: &Module, parameters: &'a [f32]) -> Self {
        let (a, b) = (&parameters[module.a()], &parameters[module.b()]);
        Self { a, b, rank: module.rank, scale: module.scale() }
    }

    /// Adds `sign · scale · B A` to one row of the weight.
    ///
    /// The products are summed before they are scaled and added, as PEFT sums them.
    pub(in crate::model) fn add_to_row(&self, row: usize, sign: f32, numbers: &mut [f32]) {
        let columns = numbers.len();
        let b = &self.b[row * self.rank..][..self.rank];
        for (index, numbers) in numbers.chunks_mut(WIDTH).enumerate() {
            let mut sums = [0.0_f32; WIDTH];
            for (b, a) in b.iter().zip(self.a.chunks_exact(columns)) {
                for (sum, a) in sums.iter_mut().zip(&a[index * WIDTH..][..numbers.len()]) {
                    *sum = b.mul_add(*a, *sum);
                }
            }
            for (number, sum) in numbers.iter_mut().zip(sums) {
                *number += sign * self.scale * sum;
            }
        }
    }
}

/// Returns the length of each row of `weight − removed + added`, as PEFT's `get_weight_norm`.
pub(in crate::model) fn row_norms(weight: &Matrix, removed: Option<&LowRank<'_>>, added: &LowRank<'_>) -> Vec<f32> {
    let mut norms = vec![0.0; weight.rows()];
    for tile in weight.tiles() {
        let rows = tile.data.par_chunks_exact(weight.columns()).enumerate();
        norms[tile.first_row..].par_iter_mut().zip(rows).for_each(|(norm, (row, numbers))| {
            let row = tile.first_row + row;
            let mut numbers = numbers.to_vec();
            if let Some(removed) = removed {
                removed.add_to_row(row, -1.0, &mut numbers);
            }
            added.add_to_row(row, 1.0, &mut numbers);
            *norm = length(&numbers);
        });
    }
    norms
}

/// Returns the square root of the sum of squares: summed in lanes of 32 bits, the lanes in 64.
pub(in crate::model) fn length(numbers: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; WIDTH];
    for numbers in numbers.chunks(WIDTH) {
        for (lane, number) in lanes.iter_mut().zip(numbers) {
            *lane = number.mul_add(*number, *lane);
        }
    }
    lanes.into_iter().map(f64::from).sum::<f64>().sqrt() as f32
}
