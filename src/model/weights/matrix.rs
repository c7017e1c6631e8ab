//! A frozen matrix in memory: as 32-bit floats, or as its file has it and decoded a part at a time.

use candle_core::quantized::GgmlDType;
use rayon::prelude::*;

use super::super::kernel::{BAND, DEPTH_BLOCK, Operand, Pages, bands_len, row_of_bands, write_band};
use super::blocks::{byte_len, decode};

/// Numbers that are decoded at a time: 4 MiB, so that both the decoding and the products are worth several threads.
const DECODED: usize = 1 << 20;

/// How a matrix is kept in memory. It never changes a result: numbers that are decoded late are the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// 32-bit floats: 4 bytes a weight, fastest.
    Dense,
    /// As the file has it, when that takes fewer bytes: quantised, or floats of 16 bits; decoded at each use.
    AsStored,
}

/// A frozen matrix of `rows × columns`.
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

/// Some consecutive rows of a matrix, in bands.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Tile<'a> {
    /// The first row's index.
    pub(in crate::model) first_row: usize,
    rows: usize,
    columns: usize,
    data: &'a [f32],
}

impl<'a> Tile<'a> {
    /// Returns the rows as a matrix to multiply with.
    pub(in crate::model) fn operand(&self) -> Operand<'a> {
        Operand::bands(self.data, self.rows, self.columns)
    }

    /// Returns the rows, transposed, as a matrix to multiply with.
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
            matrix.decode_bands(dtype, bytes, &mut data);
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

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Gives `each` the matrix in tiles of consecutive rows, from the first to the last.
    pub(in crate::model) fn for_each_tile(&self, mut each: impl FnMut(Tile<'_>)) {
        let (rows, columns) = (self.rows, self.columns);
        match &self.data {
            Data::Dense(data) => each(Tile { first_row: 0, rows, columns, data }),
            Data::Stored { dtype, bytes } => {
                // A product sums over as many rows at a time: the tiles change no bit of it.
                let tile_rows = (DECODED / columns / DEPTH_BLOCK).max(1) * DEPTH_BLOCK;
                let mut decoded = Pages::zeros(bands_len(tile_rows.min(rows), columns));
                for first_row in (0..rows).step_by(tile_rows) {
                    let rows = tile_rows.min(rows - first_row);
                    let bytes = &bytes[first_row * byte_len(*dtype, columns)..][..rows * byte_len(*dtype, columns)];
                    let data = &mut decoded[..bands_len(rows, columns)];
                    self.decode_bands(*dtype, bytes, data);
                    each(Tile { first_row, rows, columns, data });
                }
            }
        }
    }

    /// Decodes rows into bands.
    fn decode_bands(&self, dtype: GgmlDType, bytes: &[u8], bands: &mut [f32]) {
        let row_bytes = byte_len(dtype, self.columns);
        let parts = bands.par_chunks_mut(BAND * self.columns).zip(bytes.par_chunks(BAND * row_bytes));
        parts.for_each_init(
            || vec![0.0; BAND * self.columns],
            |by_rows, (band, bytes)| {
                let (full, rest) = by_rows.split_at_mut(bytes.len() / row_bytes * self.columns);
                decode(dtype, bytes, full);
                rest.fill(0.0);
                write_band(by_rows, self.columns, band);
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
