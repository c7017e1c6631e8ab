//! The merge itself.

use std::path::Path;

use rayon::prelude::*;

use super::stream::merge_floats;
use super::{Adapter, ConvertError, Lora, Source, SourceTensor};
use crate::model::gguf::{FileType, Value};

/// How to merge.
pub struct Merge<'a> {
    /// What is added to the base, if anything.
    pub adapter: Option<&'a Adapter>,
    /// How weights are stored, or rounded before they are quantised: one of the float types.
    pub float: FileType,
    /// Threads; they change no byte.
    pub threads: usize,
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
    /// Numbers in all.
    pub parameters: u64,
}

/// Writes `source`, with the adapter merged into it, as a GGUF at `output`.
///
/// # Errors
/// An adapter that does not fit the base; numbers that the target cannot hold; files that cannot be read or written.
pub fn merge(source: &dyn Source, output: &Path, how: &mut Merge<'_>) -> Result<Merged, ConvertError> {
    merge_floats(source, output, how)
}

pub(super) fn fits(adapter: &Adapter, tensors: &[SourceTensor]) -> Result<(), ConvertError> {
    for (name, lora) in &adapter.pairs {
        let tensor = tensors.iter().find(|tensor| tensor.name == *name);
        let tensor = tensor.ok_or_else(|| ConvertError::NoSuchTensor { tensor: name.clone() })?;
        let (rows, columns) = ((lora.b.len() / lora.rank) as u64, (lora.a.len() / lora.rank) as u64);
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
        Self { query, key: number(".attention.head_count_kv").unwrap_or(query) }
    }

    pub(super) fn order(self, tensor: &SourceTensor) -> Order {
        let heads = if tensor.name.contains(".attn_q.") {
            self.query
        } else if tensor.name.contains(".attn_k.") {
            self.key
        } else {
            return Order::Same;
        };
        Order::Interleaved { size: (tensor.rows() / heads.max(1)) as usize }
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
}

/// Adds `scale · B·A` to rows from `first` on. Each row is summed by one thread, in the order of the ranks.
pub(super) fn add(numbers: &mut [f32], first: usize, columns: usize, lora: &Lora, order: &Order) {
    numbers.par_chunks_mut(columns).enumerate().for_each(|(at, row)| {
        let b = &lora.b[order.original(first + at) * lora.rank..][..lora.rank];
        let mut delta = vec![0.0_f32; columns];
        for (&weight, a) in b.iter().zip(lora.a.chunks_exact(columns)) {
            for (delta, a) in delta.iter_mut().zip(a) {
                *delta += weight * a;
            }
        }
        for (number, delta) in row.iter_mut().zip(delta) {
            *number += lora.scale * delta;
        }
    });
}
