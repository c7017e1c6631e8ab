//! A matrix of a model in memory: as 32-bit floats, or as its file has it and decoded a part at a time.

use std::ops::Range;

use candle_core::quantized::GgmlDType;
use rayon::prelude::*;

use super::super::kernel::{
    BAND, DEPTH_BLOCK, Numbers, Operand, Pages, Workspace, bands_len, row_of_bands, write_band,
};
use super::blocks::{byte_len, decode};

/// Numbers that are decoded at a time: 4 MiB, so that both the decoding and the products are worth several threads.
const DECODED: usize = 1 << 20;
/// Columns that are decoded together, a multiple: whole blocks of every type.
const COLUMNS: usize = 256;

/// How a matrix is kept in memory. It never changes a result: numbers that are decoded late are the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// 32-bit floats: 4 bytes a weight, fastest.
    Dense,
    /// As the file has it, when that takes fewer bytes: quantised, or floats of 16 bits; decoded at each use.
    AsStored,
}

/// A matrix of `rows × columns`.
#[derive(Debug)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    data: Data,
}

#[derive(Debug)]
enum Data {
    /// In bands.
    Dense(Pages),
    /// By rows.
    Stored { dtype: GgmlDType, bytes: Vec<u8> },
}

/// Consecutive rows of a matrix with all their columns, or all rows with consecutive columns, in bands.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Tile<'a> {
    /// The first row's index, or the first column's.
    pub(in crate::model) first: usize,
    rows: usize,
    columns: usize,
    data: &'a [f32],
}

impl<'a> Tile<'a> {
    /// Returns the part as a matrix to multiply with.
    pub(in crate::model) fn operand(&self) -> Operand<'a> {
        Operand::bands(self.data, self.rows, self.columns)
    }

    /// Returns the part, transposed, as a matrix to multiply with.
    pub(in crate::model) fn transposed(&self) -> Operand<'a> {
        Operand::bands_transposed(self.data, self.rows, self.columns)
    }
}

impl Matrix {
    /// Makes a matrix of floats; `data` has `rows × columns` of them, by rows.
    #[cfg(test)]
    pub(in crate::model) fn dense(rows: usize, columns: usize, mut data: Vec<f32>) -> Self {
        debug_assert_eq!(data.len(), rows * columns);
        super::super::kernel::to_bands(&mut data, rows, columns);
        Self { rows, columns, data: Data::Dense(Pages::Heap(data)) }
    }

    /// Makes a matrix from the bytes of a file's tensor, each row a whole number of blocks.
    pub(in crate::model) fn from_bytes(
        shape: [usize; 2],
        dtype: GgmlDType,
        bytes: &[u8],
        storage: Storage,
    ) -> candle_core::Result<Self> {
        let [rows, columns] = shape;
        if !columns.is_multiple_of(dtype.block_size()) {
            candle_core::bail!("a row of {columns} numbers is no whole number of blocks of {dtype:?}");
        }
        if bytes.len() != rows * byte_len(dtype, columns) {
            candle_core::bail!("{} bytes are not those of {rows} × {columns} numbers of {dtype:?}", bytes.len());
        }
        let mut matrix = Self { rows, columns, data: Data::Stored { dtype, bytes: Vec::new() } };
        matrix.data = if storage == Storage::AsStored && dtype != GgmlDType::F32 {
            Data::Stored { dtype, bytes: bytes.to_vec() }
        } else {
            let mut data = Pages::zeros(bands_len(rows, columns));
            matrix.decode_bands(dtype, bytes, (0..rows, 0..columns), &mut data);
            Data::Dense(data)
        };
        Ok(matrix)
    }

    /// Returns the type and the bytes of a matrix that is kept as its file has it, by rows.
    pub(in crate::model) fn stored(&self) -> Option<(GgmlDType, &[u8])> {
        match &self.data {
            Data::Dense(_) => None,
            Data::Stored { dtype, bytes } => Some((*dtype, bytes)),
        }
    }

    /// Returns the numbers of a matrix of floats, in bands; none of one that is kept as its file has it.
    pub(in crate::model) fn floats(&self) -> &[f32] {
        match &self.data {
            Data::Dense(data) => data,
            Data::Stored { .. } => &[],
        }
    }

    /// Returns the numbers of [`Matrix::floats`], to be changed.
    pub(in crate::model) fn floats_mut(&mut self) -> &mut [f32] {
        match &mut self.data {
            Data::Dense(data) => data,
            Data::Stored { .. } => &mut [],
        }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Gives `each` the matrix in tiles of consecutive rows, from the first to the last: what a product with the matrix
    /// takes, whose results then lie one after the other. What is decoded lies in numbers of `workspace`.
    pub(in crate::model) fn for_each_rows(&self, workspace: &Workspace, each: impl FnMut(Tile<'_>)) {
        // A product sums over as many rows at a time: the tiles change no bit of it.
        let rows = (DECODED / self.columns / DEPTH_BLOCK).max(1) * DEPTH_BLOCK;
        self.for_each_tile(workspace, (rows.min(self.rows), self.columns), each);
    }

    /// Gives `each` the matrix in tiles of consecutive columns, from the first to the last: what a product with the transposed
    /// matrix takes. Each of its sums is then complete at once; over tiles of rows all would be read and written again for
    /// each tile.
    pub(in crate::model) fn for_each_columns(&self, workspace: &Workspace, each: impl FnMut(Tile<'_>)) {
        let columns = (DECODED / self.rows / COLUMNS).max(1) * COLUMNS;
        self.for_each_tile(workspace, (self.rows, columns.min(self.columns)), each);
    }

    fn for_each_tile(
        &self,
        workspace: &Workspace,
        (tile_rows, tile_columns): (usize, usize),
        mut each: impl FnMut(Tile<'_>),
    ) {
        let (rows, columns) = (self.rows, self.columns);
        match &self.data {
            Data::Dense(data) => each(Tile { first: 0, rows, columns, data }),
            Data::Stored { dtype, bytes } => {
                let mut decoded = Numbers::unset(workspace, bands_len(tile_rows, tile_columns));
                for first_row in (0..rows).step_by(tile_rows) {
                    for first_column in (0..columns).step_by(tile_columns) {
                        let (rows, columns) = (
                            first_row..rows.min(first_row + tile_rows),
                            first_column..columns.min(first_column + tile_columns),
                        );
                        let data = &mut decoded[..bands_len(rows.len(), columns.len())];
                        self.decode_bands(*dtype, bytes, (rows.clone(), columns.clone()), data);
                        let (rows, columns) = (rows.len(), columns.len());
                        // One of the two is the matrix's first.
                        each(Tile { first: first_row + first_column, rows, columns, data });
                    }
                }
            }
        }
    }

    /// Decodes some columns, whole blocks of them, of some rows into bands.
    fn decode_bands(
        &self,
        dtype: GgmlDType,
        bytes: &[u8],
        (rows, columns): (Range<usize>, Range<usize>),
        bands: &mut [f32],
    ) {
        let (row_bytes, width) = (byte_len(dtype, self.columns), columns.len());
        let (skipped, taken) = (byte_len(dtype, columns.start), byte_len(dtype, width));
        bands.par_chunks_mut(BAND * width).enumerate().for_each_init(
            || vec![0.0; BAND * width],
            |by_rows, (index, band)| {
                let first = rows.start + index * BAND;
                for (row, out) in (first..).zip(by_rows.chunks_mut(width)) {
                    if row < rows.end {
                        decode(dtype, &bytes[row * row_bytes + skipped..][..taken], out);
                    } else {
                        out.fill(0.0);
                    }
                }
                write_band(by_rows, width, band);
            },
        );
    }

    /// Returns one row.
    pub fn row(&self, row: usize) -> Vec<f32> {
        let mut numbers = vec![0.0; self.columns];
        match &self.data {
            Data::Dense(data) => row_of_bands(data, row, &mut numbers),
            Data::Stored { dtype, bytes } => {
                let row_bytes = byte_len(*dtype, self.columns);
                decode(*dtype, &bytes[row * row_bytes..][..row_bytes], &mut numbers);
            }
        }
        numbers
    }

    /// Returns all numbers, row after row.
    pub fn into_dense(self) -> Vec<f32> {
        (0..self.rows).flat_map(|row| self.row(row)).collect()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::model::kernel::{LANES, Mode, multiply};

    const ROWS: usize = 4_100;
    const WIDTH: usize = 544;

    /// Multiplies there and back with one panel, tile after tile.
    fn products(matrix: &Matrix) -> (Vec<u32>, usize) {
        let workspace = Workspace::default();
        let x: Vec<f32> = (0..ROWS * LANES).map(|index| (index % 89) as f32 / 50.0 - 0.8).collect();
        let (mut out, mut back) = (vec![0.0; ROWS * LANES], vec![0.0; WIDTH * LANES]);
        let mut tiles = 0;
        matrix.for_each_rows(&workspace, |tile| {
            let out = &mut out[tile.first * LANES..];
            multiply(tile.operand(), (&x[..WIDTH * LANES], WIDTH * LANES), (out, ROWS * LANES), Mode::Fresh);
            tiles += 1;
        });
        matrix.for_each_columns(&workspace, |tile| {
            let back = &mut back[tile.first * LANES..];
            multiply(tile.transposed(), (&x, ROWS * LANES), (back, WIDTH * LANES), Mode::Fresh);
            tiles += 1;
        });
        (out.into_iter().chain(back).map(f32::to_bits).collect(), tiles)
    }

    #[test]
    fn tiles_of_rows_and_of_columns_change_no_bit_of_a_product() {
        let numbers: Vec<f32> = (0..ROWS * WIDTH).map(|index| (index % 97) as f32 / 70.0 - 0.5).collect();
        let tensor = Tensor::from_vec(numbers, (ROWS, WIDTH), &Device::Cpu).unwrap();
        let bytes = QTensor::quantize(&tensor, GgmlDType::Q8_0).unwrap();
        let bytes = bytes.data().unwrap();
        let [dense, stored] = [Storage::Dense, Storage::AsStored]
            .map(|storage| Matrix::from_bytes([ROWS, WIDTH], GgmlDType::Q8_0, &bytes, storage).unwrap())
            .map(|matrix| products(&matrix));
        assert_eq!((dense.1, stored.1), (2, 3 + 3), "three tiles each way");
        assert!(dense.0 == stored.0);
    }
}
