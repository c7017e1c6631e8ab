//! Causal attention within rows, over beginnings that rows share.

use super::super::super::attention::{Heads, Inputs};
use super::super::super::batch::Batch;
use super::*;

/// Attention by its definition: each token of a row looks at those of its row up to itself.
fn mixed(heads: Heads, batch: &Batch, [q, k, v]: [&Rows; 3]) -> Rows {
    let mut out = vec![vec![0.0; heads.queries * heads.size]; batch.tokens()];
    for segment in batch.segments() {
        let before: Vec<usize> = segment.before.iter().cloned().flatten().collect();
        for token in segment.tokens.clone() {
            let seen: Vec<usize> = before.iter().copied().chain(segment.tokens.start..=token).collect();
            for head in 0..heads.queries {
                let key_head = head / (heads.queries / heads.keys);
                let of = |x: &Rows, token: usize, head: usize| x[token][head * heads.size..][..heads.size].to_vec();
                let query = of(q, token, head);
                let score = |key: &usize| {
                    let key = of(k, *key, key_head);
                    query.iter().zip(key).map(|(query, key)| query * key).sum::<f64>() / (heads.size as f64).sqrt()
                };
                let shares: Vec<f64> = seen.iter().map(|key| score(key).exp()).collect();
                let sum: f64 = shares.iter().sum();
                for (key, share) in seen.iter().zip(shares) {
                    let value = of(v, *key, key_head);
                    for (out, value) in out[token][head * heads.size..].iter_mut().zip(value) {
                        *out += share / sum * value;
                    }
                }
            }
        }
    }
    out
}

fn check_rows(what: &str, given: &[TokenRow]) {
    let batch = Batch::new((0..).zip(given));
    let count = batch.tokens();
    for (queries, keys, size) in [(1, 1, 2), (4, 2, 3), (3, 1, 5)] {
        let what = format!("{what}, {queries} heads of {size}");
        let heads = Heads { queries, keys, size };
        let widths = [queries * size, keys * size, keys * size];
        let [q, k, v] = [0, 1, 2].map(|input: usize| {
            let numbers = rows(input as u64 + 1, count, widths[input]);
            numbers.into_iter().map(|row| row.into_iter().map(|x| 2.0 * x).collect()).collect::<Rows>()
        });
        let back = rows(4, count, widths[0]);
        let [q_panels, k_panels, v_panels] =
            [(&q, widths[0]), (&k, widths[1]), (&v, widths[2])].map(|(numbers, width)| panels(numbers, width));
        let inputs = Inputs { heads, q: &q_panels, k: &k_panels, v: &v_panels, batch: &batch, first: 0 };
        let (out, statistics) = inputs.forward();
        check(&what, &tokens(&out, count), &mixed(heads, &batch, [&q, &k, &v]));
        let back_panels = panels(&back, widths[0]);
        let gradients = inputs.backward(&out, &back_panels, &statistics).map(|gradient| tokens(&gradient, count));
        let of = |inputs: [&Rows; 3]| product(&mixed(heads, &batch, inputs), &back);
        check_gradient(&format!("{what}: queries"), &q, &gradients[0], |q| of([q, &k, &v]));
        check_gradient(&format!("{what}: keys"), &k, &gradients[1], |k| of([&q, k, &v]));
        check_gradient(&format!("{what}: values"), &v, &gradients[2], |v| of([&q, &k, v]));
    }
}

#[test]
fn attention_is_its_definition_and_has_its_gradients_for_rows_of_any_length() {
    check_rows("no row", &[]);
    check_rows("one token", &rows_of(&[1]));
    check_rows("single tokens and empty rows", &rows_of(&[1, 0, 1, 1, 0]));
    check_rows("rows that end within and at panels", &rows_of(&[5, 0, 11, 1, 17, 16, 2]));
    check_rows("one row over several panels", &rows_of(&[39]));
}

#[test]
fn attention_over_a_shared_beginning_is_that_of_each_row() {
    let row = |ids: std::iter::Chain<std::ops::Range<u32>, std::ops::Range<u32>>| {
        let ids: Vec<u32> = ids.collect();
        TokenRow { trained: vec![false; ids.len()], ids }
    };
    let given = [row((0..20).chain(100..103)), row((0..20).chain(200..219)), row((0..18).chain(300..301))];
    assert!(Batch::new((0..).zip(&given)).tokens() < 60);
    check_rows("shared", &given);
}
