//! Sums over tokens: the gradient of a small matrix is the product of what it was given and of what came back.

use rayon::prelude::*;

use super::{LANES, Panels};

/// Columns that are summed at once.
const TILE: usize = 4;
/// Rows of the result that one task computes.
const TASK_ROWS: usize = 32;

/// Adds `scale · left · rightᵀ`, summed over the tokens, to `out`: rows are features of `left`, columns of `right`.
///
/// Each number is sixteen sums, one a lane, in the order of the panels, then added in a fixed tree.
pub(in crate::model) fn add_outer(left: &Panels, right: &Panels, scale: f32, out: &mut [f32]) {
    let columns = right.features();
    out.par_chunks_mut(TASK_ROWS * columns).enumerate().for_each(|(task, out)| {
        for (row, out) in out.chunks_mut(columns).enumerate() {
            let row = task * TASK_ROWS + row;
            for (tile, out) in out.chunks_mut(TILE).enumerate() {
                let first = tile * TILE;
                if out.len() == TILE {
                    add_tile::<TILE>(left, right, row, first, scale, out);
                } else {
                    for (column, out) in out.chunks_mut(1).enumerate() {
                        add_tile::<1>(left, right, row, first + column, scale, out);
                    }
                }
            }
        }
    });
}

/// Adds one row of `N` columns.
fn add_tile<const N: usize>(left: &Panels, right: &Panels, row: usize, first: usize, scale: f32, out: &mut [f32]) {
    let mut sums = [[0.0_f32; LANES]; N];
    for panel in 0..left.panels() {
        let left = &left.panel(panel).as_chunks::<LANES>().0[row];
        let right = &right.panel(panel).as_chunks::<LANES>().0[first..first + N];
        for (sums, right) in sums.iter_mut().zip(right) {
            for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
                *sum = left.mul_add(*right, *sum);
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        *out += scale * tree(sums);
    }
}

/// Adds sixteen numbers in pairs, pairs of pairs, and so on.
fn tree(mut sums: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_over_tokens_is_right_and_added() {
        let mut left = Panels::zeros(3, 20);
        let mut right = Panels::zeros(5, 20);
        for token in 0..20 {
            left.set_token(token, &[token as f32, 1.0, -1.0]);
            right.set_token(token, &[1.0, 2.0, 0.0, token as f32, 0.5]);
        }
        let mut out = vec![1.0; 15];
        add_outer(&left, &right, 2.0, &mut out);
        assert_eq!(out[..5], [381.0, 761.0, 1.0, 4941.0, 191.0]);
        assert_eq!(out[5..10], [41.0, 81.0, 1.0, 381.0, 21.0]);
    }
}
