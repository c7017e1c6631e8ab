//! Matrices whose elements are broadcast, and the order in which frozen weights are kept.

use std::ops::Range;

use super::{LANES, turn};

/// Rows of a band: the tallest tile of a micro-kernel.
pub(in crate::model) const BAND: usize = 12;

/// A matrix whose elements are broadcast: a weight, a transposed weight, or a panel read as one.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Operand<'a> {
    /// The numbers, from the first element on.
    pub(in crate::model) data: &'a [f32],
    /// Rows.
    pub(in crate::model) rows: usize,
    /// Columns: the features that are summed over.
    pub(in crate::model) columns: usize,
    pub(super) strides: Strides,
}

/// Where the elements of a matrix lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strides {
    /// From an element to the one below it, within twelve rows.
    pub(super) row: usize,
    /// From twelve rows to the next twelve.
    pub(super) band: usize,
    /// From an element to the one beside it, within a chunk of columns.
    pub(super) column: usize,
    /// Columns of a chunk.
    pub(super) chunk: usize,
    /// From a chunk of columns to the next.
    pub(super) jump: usize,
}

impl Strides {
    /// Rows and columns at even distances.
    fn even(row: usize, column: usize) -> Self {
        Self { row, band: BAND * row, column, chunk: usize::MAX, jump: 0 }
    }

    /// Returns the place of a row's first element.
    #[inline]
    pub(super) fn place_of_row(&self, row: usize) -> usize {
        row / BAND * self.band + row % BAND * self.row
    }

    /// Returns the place of an element.
    pub(super) fn place(&self, row: usize, column: usize) -> usize {
        self.place_of_row(row) + column / self.chunk * self.jump + column % self.chunk * self.column
    }
}

impl<'a> Operand<'a> {
    /// Takes a matrix by rows as it is.
    pub(in crate::model) fn by_rows(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { data, rows, columns, strides: Strides::even(columns, 1) }
    }

    /// Takes a matrix of `rows × columns`, by rows, transposed.
    pub(in crate::model) fn transposed(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { data, rows: columns, columns: rows, strides: Strides::even(1, columns) }
    }

    /// Takes a matrix in bands: twelve rows after twelve rows, as [`write_band`] writes them.
    pub(in crate::model) fn bands(data: &'a [f32], rows: usize, columns: usize) -> Self {
        let strides = Strides { row: 1, band: BAND * columns, column: BAND, chunk: usize::MAX, jump: 0 };
        Self { data, rows, columns, strides }
    }

    /// Takes a matrix of `rows × columns`, in bands, transposed.
    pub(in crate::model) fn bands_transposed(data: &'a [f32], rows: usize, columns: usize) -> Self {
        let strides = Strides { row: BAND, band: BAND * BAND, column: 1, chunk: BAND, jump: BAND * columns };
        Self { data, rows: columns, columns: rows, strides }
    }

    /// Takes `features` features of panels that lie `panel_len` numbers apart: rows are features, columns are tokens.
    pub(in crate::model) fn panels(data: &'a [f32], features: usize, panel_len: usize) -> Self {
        let panels = data.len().div_ceil(panel_len.max(1));
        let strides = Strides { row: LANES, band: BAND * LANES, column: 1, chunk: LANES, jump: panel_len };
        Self { data, rows: features, columns: panels * LANES, strides }
    }

    /// Takes some of the rows of a matrix whose rows lie at even distances.
    pub(in crate::model) fn some_rows(self, rows: Range<usize>) -> Self {
        Self { data: &self.data[self.strides.place_of_row(rows.start)..], rows: rows.len(), ..self }
    }

    /// Returns how many numbers the operand reaches over.
    pub(super) fn reach(&self) -> usize {
        match (self.rows, self.columns) {
            (0, _) | (_, 0) => 0,
            // The last element of a partial chunk may lie before that of the whole one before it.
            (rows, columns) => {
                let whole = columns / self.strides.chunk * self.strides.chunk;
                let last =
                    |columns: usize| columns.checked_sub(1).map_or(0, |column| self.strides.place(rows - 1, column));
                last(columns).max(last(whole)) + 1
            }
        }
    }
}

/// Returns how many numbers a matrix takes in bands: the last band is filled up with zeros.
pub(in crate::model) fn bands_len(rows: usize, columns: usize) -> usize {
    rows.next_multiple_of(BAND) * columns
}

/// Brings a matrix from rows into bands, in place.
#[cfg(test)]
pub(in crate::model) fn to_bands(data: &mut Vec<f32>, rows: usize, columns: usize) {
    data.resize(bands_len(rows, columns), 0.0);
    let mut by_rows = vec![0.0; BAND * columns];
    for band in data.chunks_mut((BAND * columns).max(1)) {
        by_rows.copy_from_slice(band);
        write_band(&by_rows, columns, band);
    }
}

/// Writes twelve rows as a band: column after column. A tile of a product then reads on without gaps, and one of the
/// transposed product 144 numbers at a time.
pub(in crate::model) fn write_band(by_rows: &[f32], columns: usize, band: &mut [f32]) {
    turn((by_rows, columns), (BAND, columns), (band, BAND));
}

/// Writes one row of a matrix in bands to `out`, which has as many numbers as the matrix has columns.
pub(in crate::model) fn row_of_bands(data: &[f32], row: usize, out: &mut [f32]) {
    let band = &data[row / BAND * BAND * out.len()..];
    for (out, column) in out.iter_mut().zip(band.as_chunks::<BAND>().0) {
        *out = column[row % BAND];
    }
}

/// Adds numbers to one row of a matrix in bands, one for each of its columns.
pub(in crate::model) fn add_to_row_of_bands(bands: &mut [f32], row: usize, numbers: &[f32]) {
    let band = &mut bands[row / BAND * BAND * numbers.len()..];
    for (column, number) in band.as_chunks_mut::<BAND>().0.iter_mut().zip(numbers) {
        column[row % BAND] += number;
    }
}
