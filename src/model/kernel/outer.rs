//! Sums over tokens: the gradient of a small matrix is the product of what it was given and of what came back.

use rayon::prelude::*;

use super::{LANES, Mode, Numbers, Operand, Panels, multiply};

/// Features of the wide side that one task takes.
const TASK_FEATURES: usize = 96;

/// How the small matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Layout {
    /// A row for each feature of the wide side: `B`.
    WideByNarrow,
    /// A row for each feature of the narrow side: `A`.
    NarrowByWide,
}

/// Adds the products of all features of `wide` with all of `narrow`, summed over the tokens, to `out`.
///
/// The narrow side is turned so that its features lie side by side; each number is then a sum of chains of fused
/// multiply-adds in the order of the tokens.
pub(in crate::model) fn add_outer(wide: &Panels, narrow: &Panels, layout: Layout, out: &mut [f32]) {
    let (rows, columns) = (wide.features(), narrow.features());
    let tokens = wide.panels() * LANES;
    let turned = turned(narrow);
    let strips = columns.div_ceil(LANES);
    let mut sums = Numbers::unset(wide.workspace(), strips * rows * LANES);
    // Task after task, in each strip after strip.
    sums.par_chunks_mut(strips * TASK_FEATURES * LANES).enumerate().for_each(|(task, sums)| {
        let features = sums.len() / strips / LANES;
        let wide = Operand::panels(&wide.data()[task * TASK_FEATURES * LANES..], features, rows * LANES);
        for (sums, narrow) in sums.chunks_mut(features * LANES).zip(turned.chunks(tokens * LANES)) {
            multiply(wide, (narrow, tokens * LANES), (sums, features * LANES), Mode::Fresh);
        }
    });
    // Where the sums of a feature begin, of those of a narrow feature's strip.
    let of = |row: usize, strip: usize| {
        let first = row / TASK_FEATURES * TASK_FEATURES;
        let features = TASK_FEATURES.min(rows - first);
        &sums[(strips * first + strip * features + row - first) * LANES..][..LANES]
    };
    match layout {
        Layout::WideByNarrow => out.par_chunks_mut(TASK_FEATURES * columns).enumerate().for_each(|(task, out)| {
            for (row, out) in out.chunks_mut(columns).enumerate() {
                for (strip, out) in out.chunks_mut(LANES).enumerate() {
                    let sums = of(task * TASK_FEATURES + row, strip);
                    out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
                }
            }
        }),
        Layout::NarrowByWide => out.par_chunks_mut(rows).enumerate().for_each(|(column, out)| {
            let (strip, lane) = (column / LANES, column % LANES);
            out.iter_mut().enumerate().for_each(|(row, out)| *out += of(row, strip)[lane]);
        }),
    }
}

/// Returns for each sixteen features the tokens one after the other, their features side by side.
fn turned(narrow: &Panels) -> Numbers {
    let (panels, strips) = (narrow.panels(), narrow.features().div_ceil(LANES));
    let len = panels * strips * LANES * LANES;
    let is_whole = narrow.features().is_multiple_of(LANES);
    let mut turned =
        if is_whole { Numbers::unset(narrow.workspace(), len) } else { Numbers::zeros(narrow.workspace(), len) };
    for panel in 0..panels {
        for (feature, tokens) in narrow.panel(panel).as_chunks::<LANES>().0.iter().enumerate() {
            let start = (feature / LANES * panels + panel) * LANES * LANES + feature % LANES;
            for (token, value) in tokens.iter().enumerate() {
                turned[start + token * LANES] = *value;
            }
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "sums of small whole numbers are exact")]
    fn the_sum_over_tokens_is_right_and_added_in_both_layouts() {
        let mut wide = Panels::zeros(3, 20);
        let mut narrow = Panels::zeros(18, 20);
        for token in 0..20 {
            wide.set_token(token, &[token as f32, 1.0, -1.0]);
            let mut features = [0.0; 18];
            (features[0], features[17]) = (1.0, token as f32);
            narrow.set_token(token, &features);
        }
        let mut out = vec![1.0; 54];
        add_outer(&wide, &narrow, Layout::WideByNarrow, &mut out);
        assert_eq!([out[0], out[1], out[17], out[18], out[35], out[53]], [191.0, 1.0, 2471.0, 21.0, 191.0, -189.0]);
        let mut other = vec![1.0; 54];
        add_outer(&wide, &narrow, Layout::NarrowByWide, &mut other);
        assert!((0..3).all(|row| (0..18).all(|column| out[row * 18 + column] == other[column * 3 + row])));
    }
}
