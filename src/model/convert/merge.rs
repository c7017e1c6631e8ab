//! The merge itself.

use rayon::prelude::*;

use super::{Adapter, ConvertError, Earlier, SourceTensor};
use crate::model::config::Architecture;
use crate::model::gguf::{FileType, Value};
use crate::model::lora::{PeftModule, length};

/// How to merge.
pub struct Merge<'a> {
    /// What is added to the base, if anything.
    pub adapter: Option<&'a Adapter>,
    /// How weights are stored, or rounded before they are quantised: one of the float types, or `Q8_0`, with which rows
    /// that fill no whole blocks stay in 16 bits.
    pub float: FileType,
    /// Threads; they change no byte.
    pub threads: usize,
    /// Files that may have some of the quantised tensors already; they change no byte.
    pub earlier: Option<&'a dyn Earlier>,
    /// Told the numbers written and in all, by any thread; ends the work by returning `false`.
    pub progress: &'a mut (dyn FnMut(u64, u64) -> bool + Send),
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Tensors in all.
    pub tensors: usize,
    /// Tensors that the adapter changed.
    pub changed: usize,
    /// Tensors that were quantised.
    pub quantised: usize,
    /// Quantised tensors that an earlier file had.
    pub taken: usize,
    /// Numbers in all.
    pub parameters: u64,
}

pub(super) fn fits(adapter: &Adapter, tensors: &[SourceTensor]) -> Result<(), ConvertError> {
    for (name, module) in &adapter.modules {
        let tensor = tensors.iter().find(|tensor| tensor.name == *name);
        let tensor = tensor.ok_or_else(|| ConvertError::NoSuchTensor { tensor: name.clone() })?;
        let (rows, columns) = (module.outputs() as u64, module.inputs() as u64);
        if (rows, columns) != (tensor.rows(), tensor.columns()) {
            return Err(ConvertError::OtherShape {
                tensor: name.clone(),
                adapter_rows: rows,
                adapter_columns: columns,
                rows: tensor.rows(),
                columns: tensor.columns(),
            });
        }
    }
    Ok(())
}

/// How many heads queries and keys have: their rows stand in another order in a GGUF than in safetensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    query: u64,
    key: u64,
    is_paired: bool,
}

/// The order of a tensor's rows in GGUF.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// That of safetensors.
    Same,
    /// In each head of `size` rows, row `i` of the first half is followed by row `i` of the second.
    Interleaved {
        /// Rows of a head.
        size: usize,
    },
}

impl Heads {
    pub(super) fn of(metadata: &[(String, Value)]) -> Self {
        let number =
            |end: &str| metadata.iter().find(|(key, _)| key.ends_with(end)).and_then(|(_, value)| value.as_u64());
        let query = number(".attention.head_count").unwrap_or(1);
        let architecture = metadata.iter().find(|(key, _)| key == "general.architecture");
        let architecture = architecture.and_then(|(_, value)| Architecture::from_gguf(value.as_str()?));
        let is_paired = architecture.is_some_and(Architecture::has_paired_rows);
        Self { query, key: number(".attention.head_count_kv").unwrap_or(query), is_paired }
    }

    pub(super) fn order(self, tensor: &SourceTensor) -> Order {
        let heads = if !self.is_paired {
            return Order::Same;
        } else if tensor.name.contains(".attn_q.") {
            self.query
        } else if tensor.name.contains(".attn_k.") {
            self.key
        } else {
            return Order::Same;
        };
        // A bias has in its one row what a matrix has in its rows.
        let rows = if tensor.dimensions.len() == 1 { tensor.columns() } else { tensor.rows() };
        Order::Interleaved { size: (rows / heads.max(1)) as usize }
    }
}

impl Order {
    /// Returns which row of the safetensors stands at `row` of the GGUF.
    pub(super) fn original(&self, row: usize) -> usize {
        match *self {
            Self::Interleaved { size } if size > 1 => {
                let (head, within) = (row / size, row % size);
                head * size + (within % 2) * (size / 2) + within / 2
            }
            _ => row,
        }
    }

    /// Returns at which row of the GGUF a row of the safetensors stands: the opposite of [`Self::original`].
    pub(super) fn place(&self, row: usize) -> usize {
        match *self {
            Self::Interleaved { size } if size > 1 => {
                let (head, within, half) = (row / size, row % size, size / 2);
                head * size + within % half * 2 + within / half
            }
            _ => row,
        }
    }
}

/// Merges a module into rows from `first` on, as PEFT's `merge_and_unload` does. Each row is computed by one thread.
pub(super) fn add(numbers: &mut [f32], first: usize, columns: usize, module: &PeftModule, order: &Order) {
    let pair = module.low_rank();
    numbers.par_chunks_mut(columns).enumerate().for_each(|(at, row)| {
        let original = order.original(first + at);
        pair.add_to_row(original, 1.0, row);
        if let Some(magnitude) = &module.magnitude {
            // A row of zeros stays one.
            let length = length(row);
            if length > 0.0 {
                let factor = magnitude[original] / length;
                for number in row {
                    *number *= factor;
                }
            }
        }
    });
}
