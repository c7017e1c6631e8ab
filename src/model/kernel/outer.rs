//! Sums over tokens: the gradient of a small matrix is the product of what it was given and of what came back.

use rayon::prelude::*;

use super::{LANES, Mode, Numbers, Operand, Panels, multiply, turn};

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
    parts(out, layout, rows, columns).into_par_iter().enumerate().for_each(|(task, mut out)| {
        let features = TASK_FEATURES.min(rows - task * TASK_FEATURES);
        let wide = Operand::panels(&wide.data()[task * TASK_FEATURES * LANES..], features, rows * LANES);
        // Strip after strip of sixteen narrow features, in each feature after feature of the wide side.
        let mut sums = Numbers::unset(turned.workspace(), columns.div_ceil(LANES) * features * LANES);
        multiply(wide, (&turned, tokens * LANES), (&mut sums, features * LANES), Mode::Fresh);
        let of = |row: usize, strip: usize| &sums[(strip * features + row) * LANES..][..LANES];
        match layout {
            Layout::WideByNarrow => {
                let rows = out.iter_mut().flat_map(|out| out.chunks_mut(columns));
                for (row, out) in rows.enumerate() {
                    for (strip, out) in out.chunks_mut(LANES).enumerate() {
                        out.iter_mut().zip(of(row, strip)).for_each(|(out, sum)| *out += sum);
                    }
                }
            }
            Layout::NarrowByWide => {
                for (column, out) in out.iter_mut().enumerate() {
                    let (strip, lane) = (column / LANES, column % LANES);
                    out.iter_mut().enumerate().for_each(|(row, out)| *out += of(row, strip)[lane]);
                }
            }
        }
    });
}

/// Cuts the small matrix into what each task adds to: one run of it, or a run of each narrow feature's row.
fn parts(out: &mut [f32], layout: Layout, rows: usize, columns: usize) -> Vec<Vec<&mut [f32]>> {
    match layout {
        Layout::WideByNarrow => out.chunks_mut(TASK_FEATURES * columns).map(|out| vec![out]).collect(),
        Layout::NarrowByWide => {
            let mut parts: Vec<Vec<&mut [f32]>> = (0..rows.div_ceil(TASK_FEATURES)).map(|_| Vec::new()).collect();
            for row in out.chunks_mut(rows) {
                parts.iter_mut().zip(row.chunks_mut(TASK_FEATURES)).for_each(|(part, run)| part.push(run));
            }
            parts
        }
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
        for (strip, tokens) in narrow.panel(panel).chunks(LANES * LANES).enumerate() {
            let to = &mut turned[(strip * panels + panel) * LANES * LANES..][..LANES * LANES];
            turn((tokens, LANES), (tokens.len() / LANES, LANES), (to, LANES));
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

    #[test]
    #[expect(clippy::float_cmp, reason = "sums of small whole numbers are exact")]
    fn features_of_several_tasks_come_to_their_places() {
        let (rows, columns, tokens) = (2 * TASK_FEATURES + 7, 18, 20);
        let number = |feature: usize, token: usize| ((feature * 5 + token * 3) % 11) as f32 - 5.0;
        let [mut wide, mut narrow] = [rows, columns].map(|features| Panels::zeros(features, tokens));
        for token in 0..tokens {
            for panels in [&mut wide, &mut narrow] {
                let features: Vec<f32> = (0..panels.features()).map(|feature| number(feature, token)).collect();
                panels.set_token(token, &features);
            }
        }
        for layout in [Layout::WideByNarrow, Layout::NarrowByWide] {
            let mut out = vec![0.0; rows * columns];
            add_outer(&wide, &narrow, layout, &mut out);
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let expected: f32 = (0..tokens).map(|token| number(row, token) * number(column, token)).sum();
                let place = if layout == Layout::WideByNarrow { row * columns + column } else { column * rows + row };
                assert_eq!(out[place], expected, "{layout:?} {row} {column}");
            }
        }
    }
}
