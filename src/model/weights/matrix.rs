//! A frozen matrix in memory: as 32-bit floats, or still quantised and dequantised a tile at a time.

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QTensor, ggml_file::qtensor_from_ggml};
use std::borrow::Cow;

/// Rows of a tile of a quantised matrix.
const TILE_ROWS: usize = 256;

/// How a matrix is kept in memory. It never changes a result: a tile dequantised late has the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// 32-bit floats: 4 bytes a weight, fastest.
    Dense,
    /// As the file has it, when the file is quantised; dequantised at each use.
    AsStored,
}

/// A frozen matrix of `rows × columns`, by rows.
#[derive(Debug)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Dense(Vec<f32>),
    Quantised(Vec<QTensor>),
}

/// Some consecutive rows of a matrix.
#[derive(Debug)]
pub struct Tile<'a> {
    /// The first row's index.
    pub first_row: usize,
    /// The rows' numbers, one row after the other.
    pub data: Cow<'a, [f32]>,
}

impl Matrix {
    /// Makes a matrix of floats; `data` has `rows × columns` of them.
    pub(in crate::model) fn dense(rows: usize, columns: usize, data: Vec<f32>) -> Self {
        debug_assert_eq!(data.len(), rows * columns);
        Self { rows, columns, data: Data::Dense(data) }
    }

    /// Makes a matrix from the bytes of a file's tensor, each row a whole number of blocks.
    pub(super) fn from_bytes(
        shape: [usize; 2],
        dtype: GgmlDType,
        bytes: &[u8],
        storage: Storage,
    ) -> candle_core::Result<Self> {
        let [rows, columns] = shape;
        if !columns.is_multiple_of(dtype.block_size()) {
            candle_core::bail!("a row of {columns} numbers is no whole number of blocks of {dtype:?}");
        }
        let row_bytes = columns / dtype.block_size() * dtype.type_size();
        let plain = matches!(dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
        let mut tiles = Vec::new();
        for (index, bytes) in bytes.chunks(row_bytes * TILE_ROWS).enumerate() {
            let tile_rows = TILE_ROWS.min(rows - index * TILE_ROWS);
            tiles.push(qtensor_from_ggml(dtype, bytes, vec![tile_rows, columns], &Device::Cpu)?);
        }
        if storage == Storage::AsStored && !plain {
            return Ok(Self { rows, columns, data: Data::Quantised(tiles) });
        }
        let mut data = Vec::with_capacity(rows * columns);
        for tile in tiles {
            data.extend(floats(&tile)?);
        }
        Ok(Self::dense(rows, columns, data))
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the matrix in tiles of consecutive rows, from the first to the last.
    ///
    /// # Panics
    /// When candle cannot dequantise a tile that it made itself.
    pub fn tiles(&self) -> impl Iterator<Item = Tile<'_>> {
        let count = match &self.data {
            Data::Dense(_) => 1,
            Data::Quantised(tiles) => tiles.len(),
        };
        (0..count).map(|index| match &self.data {
            Data::Dense(data) => Tile { first_row: 0, data: Cow::Borrowed(data) },
            Data::Quantised(tiles) => Tile {
                first_row: index * TILE_ROWS,
                data: Cow::Owned(floats(&tiles[index]).expect("a tile that was made from checked bytes")),
            },
        })
    }

    /// Returns one row.
    pub fn row(&self, row: usize) -> Cow<'_, [f32]> {
        match &self.data {
            Data::Dense(data) => Cow::Borrowed(&data[row * self.columns..][..self.columns]),
            Data::Quantised(tiles) => {
                let tile = floats(&tiles[row / TILE_ROWS]).expect("a tile that was made from checked bytes");
                Cow::Owned(tile[row % TILE_ROWS * self.columns..][..self.columns].to_vec())
            }
        }
    }

    /// Returns all numbers, row after row.
    pub fn into_dense(self) -> Vec<f32> {
        match self.data {
            Data::Dense(data) => data,
            Data::Quantised(_) => self.tiles().flat_map(|tile| tile.data.into_owned()).collect(),
        }
    }
}

/// Dequantises one tile.
pub(super) fn floats(tensor: &QTensor) -> candle_core::Result<Vec<f32>> {
    tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()
}
