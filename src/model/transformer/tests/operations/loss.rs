//! The output projection with cross-entropy.

use super::super::super::head::{Objective, loss};
use super::*;
use crate::model::kernel::bands_len;
use crate::model::weights::Matrix;

/// The summed loss by its definition, as PyTorch's `cross_entropy` smooths it.
fn definition(head: &Rows, x: &Rows, targets: &[u32], smoothing: f64) -> f64 {
    let one = |(x, target): (&Vec<f64>, &u32)| {
        let logits: Vec<f64> = head.iter().map(|row| row.iter().zip(x).map(|(weight, x)| weight * x).sum()).collect();
        let sum = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
        let mean = logits.iter().sum::<f64>() / logits.len() as f64;
        sum - (1.0 - smoothing) * logits[*target as usize] - smoothing * mean
    };
    x.iter().zip(targets).map(one).sum()
}

#[test]
fn the_loss_over_the_vocabulary_is_its_definition_and_has_its_gradients() {
    // Up to one token more than are computed at once.
    for (count, features, vocabulary) in [(0, 3, 5), (1, 1, 2), (3, 19, 37), (129, 5, 13)] {
        for smoothing in [0.0, 0.1] {
            let what = format!("{count} targets of {vocabulary}, smoothing {smoothing}");
            let (x, table) = (rows(1, count, features), rows(2, vocabulary, features));
            let targets: Vec<u32> = (0..count).map(|at| (at * 7 % vocabulary) as u32).collect();
            let head = Matrix::dense(vocabulary, features, flat(&table));
            let x_panels = panels(&x, features);
            let objective = Objective { weight: 0.5, label_smoothing: smoothing as f32 };
            let mut of_head = vec![0.0; bands_len(vocabulary, features)];
            let (found, of_x) = loss(&head, &x_panels, &targets, Some(objective), Some(&mut of_head));
            let smoothing = f64::from(smoothing as f32);
            let expected = definition(&table, &x, &targets, smoothing);
            assert!((found - expected).abs() <= ROUNDING * expected, "{what}: {found} is not {expected}");
            let of = |table: &Rows, x: &Rows| 0.5 * definition(table, x, &targets, smoothing);
            check_gradient(&what, &x, &tokens(&of_x, count), |x| of(&table, x));
            let of_head = by_bands(&of_head, vocabulary, features);
            check_gradient(&what, &table, &of_head, |table| of(table, &x));
            // What is only measured is not smoothed.
            let (measured, _) = loss(&head, &x_panels, &targets, None, None);
            let expected = definition(&table, &x, &targets, 0.0);
            assert!((measured - expected).abs() <= ROUNDING * expected, "{what}: {measured} is not {expected}");
        }
    }
}
