//! Sums over tokens: the gradient of a matrix is the product of what it was given and of what came back.

use rayon::prelude::*;

use super::{BAND, LANES, Mode, Numbers, Operand, Panels, Workspace, multiply, turn};

/// Features of the wide side that one task takes: whole bands.
const TASK_FEATURES: usize = 8 * BAND;
/// Strips of sixteen features that a task multiplies together, so that their sums stay in the second cache.
const TASK_STRIPS: usize = 8;

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
    if tokens == 0 {
        return;
    }
    let turned = turned(wide.workspace(), narrow.data(), columns);
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

/// Activations as a product takes them: panels of so many features, one after the other.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Features<'a> {
    pub(in crate::model) data: &'a [f32],
    pub(in crate::model) features: usize,
}

impl<'a> Features<'a> {
    /// Takes all panels.
    pub(in crate::model) fn of(x: &'a Panels) -> Self {
        Self { data: x.data(), features: x.features() }
    }
}

/// Adds the products of all features of `back` with all of `x`, summed over the tokens, to `out`: a matrix in bands with a
/// row for each feature of `back` and a column for each of `x`.
///
/// As in [`add_outer`] each number is a sum of chains in the order of the tokens, whatever the number of threads.
pub(in crate::model) fn add_outer_bands(workspace: &Workspace, back: Features<'_>, x: Features<'_>, out: &mut [f32]) {
    let (rows, columns) = (back.features, x.features);
    if x.data.is_empty() {
        return;
    }
    let turned = turned(workspace, x.data, columns);
    let strip = x.data.len() / columns * LANES;
    out.par_chunks_mut(TASK_FEATURES * columns).enumerate().for_each(|(task, out)| {
        let features = TASK_FEATURES.min(rows - task * TASK_FEATURES);
        let back = Operand::panels(&back.data[task * TASK_FEATURES * LANES..], features, rows * LANES);
        let mut sums = Numbers::unset(workspace, TASK_STRIPS * features * LANES);
        let mut first = 0;
        for turned in turned.chunks(TASK_STRIPS * strip) {
            let sums = &mut sums[..turned.len() / strip * features * LANES];
            multiply(back, (turned, strip), (sums, features * LANES), Mode::Fresh);
            for sums in sums.chunks(features * LANES) {
                add_strip(sums, first, columns, out);
                first += LANES;
            }
        }
    });
}

/// Adds sixteen columns of some rows, from the column `first` on, to a matrix in bands.
fn add_strip(sums: &[f32], first: usize, columns: usize, out: &mut [f32]) {
    let bands = out.chunks_mut(BAND * columns).zip(sums.as_chunks::<LANES>().0.chunks(BAND));
    for (band, rows) in bands {
        let band = band.as_chunks_mut::<BAND>().0;
        for (lane, column) in band[first..columns.min(first + LANES)].iter_mut().enumerate() {
            for (out, row) in column.iter_mut().zip(rows) {
                *out += row[lane];
            }
        }
    }
}

/// Returns for each sixteen features the tokens one after the other, their features side by side.
fn turned(workspace: &Workspace, x: &[f32], features: usize) -> Numbers {
    let (panels, strips) = (x.len() / (features * LANES), features.div_ceil(LANES));
    let len = panels * strips * LANES * LANES;
    let is_whole = features.is_multiple_of(LANES);
    let mut turned = if is_whole { Numbers::unset(workspace, len) } else { Numbers::zeros(workspace, len) };
    turned.par_chunks_mut(panels * LANES * LANES).enumerate().for_each(|(strip, turned)| {
        let count = LANES.min(features - strip * LANES);
        for (panel, turned) in turned.as_chunks_mut::<{ LANES * LANES }>().0.iter_mut().enumerate() {
            let x = &x[(panel * features + strip * LANES) * LANES..][..count * LANES];
            turn((x, LANES), (count, LANES), (turned, LANES));
        }
    });
    turned
}

#[cfg(test)]
mod tests {
    use super::super::{bands_len, row_of_bands};
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

    #[test]
    #[expect(clippy::float_cmp, reason = "nothing is added")]
    fn a_batch_without_tokens_adds_nothing() {
        let (wide, narrow) = (Panels::zeros(3, 0), Panels::zeros(5, 0));
        let mut out = vec![2.0; bands_len(3, 5)];
        add_outer(&wide, &narrow, Layout::WideByNarrow, &mut out[..15]);
        add_outer(&wide, &narrow, Layout::NarrowByWide, &mut out[..15]);
        add_outer_bands(&Workspace::default(), Features::of(&wide), Features::of(&narrow), &mut out);
        assert!(out.iter().all(|number| *number == 2.0));
    }

    #[test]
    fn a_matrix_in_bands_gets_what_one_by_rows_gets() {
        // Rows beyond a task, a last band that is not full, more strips than a task takes, a last one that is not full.
        let (rows, columns, tokens) = (TASK_FEATURES + 17, TASK_STRIPS * LANES + 19, 37);
        let (mut back, mut x) = (Panels::zeros(rows, tokens), Panels::zeros(columns, tokens));
        for token in 0..tokens {
            let numbers = |len: usize, by: usize| (0..len).map(move |at| ((at * by + token * 7) % 9) as f32 - 4.0);
            back.set_token(token, &numbers(rows, 5).collect::<Vec<_>>());
            x.set_token(token, &numbers(columns, 3).collect::<Vec<_>>());
        }
        let mut expected = vec![2.0; rows * columns];
        add_outer(&back, &x, Layout::WideByNarrow, &mut expected);
        let mut found = vec![0.0; bands_len(rows, columns)];
        for place in 0..rows {
            for column in 0..columns {
                found[place / BAND * BAND * columns + column * BAND + place % BAND] = 2.0;
            }
        }
        add_outer_bands(&Workspace::default(), Features::of(&back), Features::of(&x), &mut found);
        for (row, expected) in expected.chunks(columns).enumerate() {
            let mut numbers = vec![0.0; columns];
            row_of_bands(&found, row, &mut numbers);
            assert_eq!(numbers, expected, "row {row}");
        }
        // What fills the last band up stays zero.
        let last = &found[rows / BAND * BAND * columns..];
        assert!(
            last.as_chunks::<BAND>().0.iter().all(|column| column[rows % BAND..].iter().all(|number| *number == 0.0))
        );
    }
}
