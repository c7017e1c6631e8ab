//! Each operation of the fused path by itself, held against its definition in 64 bits: what it gives, and its gradients
//! against central differences of that definition. Shapes are odd, rows are empty or of one token.

mod attention;
mod loss;
mod pointwise;
mod projection;

use super::super::super::gguf::tiny::noise;
use super::super::super::kernel::{Panels, row_of_bands};
use super::super::super::rows::TokenRow;

/// Numbers token by token, or a matrix's row by row.
type Rows = Vec<Vec<f64>>;

/// How far a difference looks to each side.
const STEP: f64 = 1e-5;
/// How many numbers of an input are moved, one after the other.
const MOVED: usize = 150;
/// What 32 bits may change, of the largest number.
const ROUNDING: f64 = 1e-5;

/// Returns random numbers that 32 bits hold.
fn rows(seed: u64, count: usize, columns: usize) -> Rows {
    let numbers: Vec<f64> = noise(seed, count * columns).into_iter().map(f64::from).collect();
    numbers.chunks(columns).map(<[f64]>::to_vec).collect()
}

fn flat(rows: &Rows) -> Vec<f32> {
    rows.iter().flatten().map(|number| *number as f32).collect()
}

/// Returns numbers by rows as rows.
fn by_rows(numbers: &[f32], columns: usize) -> Rows {
    numbers.chunks(columns).map(|row| row.iter().copied().map(f64::from).collect()).collect()
}

/// Returns a matrix in bands as rows.
fn by_bands(bands: &[f32], count: usize, columns: usize) -> Rows {
    let row = |row| {
        let mut numbers = vec![0.0; columns];
        row_of_bands(bands, row, &mut numbers);
        numbers.into_iter().map(f64::from).collect()
    };
    (0..count).map(row).collect()
}

/// Lays tokens of so many features in panels.
fn panels(tokens: &Rows, features: usize) -> Panels {
    let mut panels = Panels::zeros(features, tokens.len());
    for (token, numbers) in tokens.iter().enumerate() {
        panels.set_token(token, &numbers.iter().map(|number| *number as f32).collect::<Vec<_>>());
    }
    panels
}

/// Returns the first tokens of panels.
fn tokens(panels: &Panels, count: usize) -> Rows {
    let mut numbers = vec![0.0; panels.features()];
    let mut token = |token| {
        panels.token(token, &mut numbers);
        numbers.iter().copied().map(f64::from).collect()
    };
    (0..count).map(&mut token).collect()
}

/// Returns the sum of the products: the loss whose gradient is `back`.
fn product(rows: &Rows, back: &Rows) -> f64 {
    assert_eq!(rows.len(), back.len());
    rows.iter().flatten().zip(back.iter().flatten()).map(|(number, back)| number * back).sum()
}

fn largest(rows: &Rows) -> f64 {
    rows.iter().flatten().fold(0.0, |largest, number| largest.max(number.abs()))
}

/// Checks numbers against those of the definition.
#[track_caller]
fn check(what: &str, found: &Rows, expected: &Rows) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let limit = ROUNDING * largest(expected);
    for (place, (found, expected)) in found.iter().flatten().zip(expected.iter().flatten()).enumerate() {
        assert!((found - expected).abs() <= limit, "{what}, number {place}: {found} is not {expected}");
    }
}

/// Checks the gradient of `loss` at `input`: some of the numbers, spread over all, are moved to both sides.
#[track_caller]
fn check_gradient(what: &str, input: &Rows, gradient: &Rows, loss: impl Fn(&Rows) -> f64) {
    assert_eq!(gradient.len(), input.len(), "{what}");
    // What a difference of sums of 64 bits leaves.
    let limit = ROUNDING * largest(gradient) + 1e-8;
    let places = input.iter().enumerate().flat_map(|(row, numbers)| (0..numbers.len()).map(move |at| (row, at)));
    let places: Vec<(usize, usize)> = places.collect();
    let every = places.len().div_ceil(MOVED).max(1);
    let is_chosen = |place: &usize| (place.wrapping_mul(2_654_435_761) >> 16).is_multiple_of(every);
    for (row, at) in (0..places.len()).filter(is_chosen).map(|place| places[place]) {
        let mut moved = input.clone();
        let mut side = |sign: f64| {
            moved[row][at] = input[row][at] + sign * STEP;
            loss(&moved)
        };
        let (expected, found) = ((side(1.0) - side(-1.0)) / (2.0 * STEP), gradient[row][at]);
        assert!((found - expected).abs() <= limit, "{what}, row {row}, number {at}: {found} is not {expected}");
    }
}

/// Returns rows of so many tokens each, which have nothing in common.
fn rows_of(lengths: &[usize]) -> Vec<TokenRow> {
    let mut first = 0;
    let row = |length: &usize| {
        let ids: Vec<u32> = (first..).take(*length).collect();
        first += *length as u32;
        TokenRow { trained: vec![false; ids.len()], ids }
    };
    lengths.iter().map(row).collect()
}
