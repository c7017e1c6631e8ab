//! The merge itself, and the writing.

use std::path::Path;

use rayon::prelude::*;

use super::{Adapter, ConvertError, Source, SourceTensor};
use crate::model::config::Architecture;
use crate::model::gguf::{FileType, PlannedTensor, TensorType, Value, Writer};
use crate::model::lora::{PeftModule, length};

/// Numbers that are in memory at once.
const SLAB: u64 = 16 << 20;

/// The layout of llama.cpp's quantised blocks, which each file names (`GGML_QNT_VERSION`).
const QUANTIZATION_VERSION: u32 = 2;

/// How to merge.
pub struct Merge<'a> {
    /// What is added to the base, if anything.
    pub adapter: Option<&'a Adapter>,
    /// The target: one of the float types, or `Q8_0`, whose rows that fill no whole blocks stay in 16 bits.
    pub float: FileType,
    /// Threads; they change no byte.
    pub threads: usize,
    /// Told the numbers written and in all; ends the work by returning `false`.
    pub progress: &'a mut dyn FnMut(u64, u64) -> bool,
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
pub fn merge(source: &mut dyn Source, output: &Path, how: &mut Merge<'_>) -> Result<Merged, ConvertError> {
    let tensors = source.tensors().to_vec();
    let heads = Heads::of(&source.metadata());
    if let Some(adapter) = how.adapter {
        fits(adapter, &tensors)?;
    }
    let mut metadata = source.metadata();
    metadata.push(("general.file_type".into(), Value::U32(how.float.id())));
    metadata.push(("general.quantization_version".into(), Value::U32(QUANTIZATION_VERSION)));
    let planned: Vec<PlannedTensor> = tensors
        .iter()
        .map(|tensor| PlannedTensor {
            name: tensor.name.clone(),
            dimensions: tensor.dimensions.clone(),
            tensor_type: target_type(tensor, how.float),
        })
        .collect();
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(how.threads.max(1)).build().map_err(ConvertError::Threads)?;
    let mut writer = Writer::create(output, &metadata, planned.clone())?;
    let total = tensors.iter().map(|tensor| tensor.columns() * tensor.rows()).sum();
    let (mut done, mut changed) = (0, 0);
    for (index, (tensor, planned)) in tensors.iter().zip(&planned).enumerate() {
        let module = how.adapter.and_then(|adapter| adapter.modules.get(&tensor.name));
        changed += usize::from(module.is_some());
        let order = heads.order(tensor);
        let slab = (SLAB / tensor.columns().max(1)).max(1);
        let mut first = 0;
        while first < tensor.rows() {
            let rows = slab.min(tensor.rows() - first);
            let mut numbers = vec![0.0; (rows * tensor.columns()) as usize];
            source.rows(index, first, &mut numbers)?;
            let bytes = pool.install(|| {
                if let Some(module) = module {
                    add(&mut numbers, first as usize, tensor.columns() as usize, module, &order);
                }
                encode(&numbers, planned)
            })?;
            writer.write(&bytes)?;
            first += rows;
            done += rows * tensor.columns();
            if !(how.progress)(done, total) {
                return Err(ConvertError::Interrupted);
            }
        }
    }
    writer.finish()?;
    Ok(Merged { tensors: tensors.len(), changed, parameters: total })
}

/// Norms, and whatever is no weight, stay in 32 bits, as the reference converter has it.
fn target_type(tensor: &SourceTensor, float: FileType) -> TensorType {
    let name = &tensor.name;
    if tensor.dimensions.len() < 2 || name.ends_with("_norm.weight") || !name.ends_with(".weight") {
        return TensorType::F32;
    }
    match float {
        FileType::F32 => TensorType::F32,
        FileType::BF16 => TensorType::BF16,
        FileType::Q8_0 if tensor.columns().is_multiple_of(TensorType::Q8_0.block_elements()) => TensorType::Q8_0,
        _ => TensorType::F16,
    }
}

fn fits(adapter: &Adapter, tensors: &[SourceTensor]) -> Result<(), ConvertError> {
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
}

/// Merges a module into rows from `first` on, as PEFT's `merge_and_unload` does. Each row is computed by one thread.
fn add(numbers: &mut [f32], first: usize, columns: usize, module: &PeftModule, order: &Order) {
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

fn encode(numbers: &[f32], tensor: &PlannedTensor) -> Result<Vec<u8>, ConvertError> {
    let kind = tensor.tensor_type;
    let (width, block) = (kind.block_bytes() as usize, kind.block_elements() as usize);
    let mut bytes = vec![0; numbers.len() / block * width];
    let piece = 1 << 10;
    let pieces = bytes.par_chunks_mut(piece * width).zip(numbers.par_chunks(piece * block));
    let held = pieces.try_for_each(|(bytes, numbers)| {
        for (bytes, numbers) in bytes.chunks_exact_mut(width).zip(numbers.chunks_exact(block)) {
            if !store(kind, numbers, bytes) {
                let infinite = |number: &&f32| !number.is_finite();
                let largest = numbers.iter().copied().fold(0.0, |a: f32, b| if b.abs() > a.abs() { b } else { a });
                return Err(numbers.iter().find(infinite).copied().unwrap_or(largest));
            }
        }
        Ok(())
    });
    match held {
        Ok(()) => Ok(bytes),
        Err(number) => Err(ConvertError::NotFinite { tensor: tensor.name.clone(), target: kind.name(), number }),
    }
}

/// Writes one block of numbers; returns whether it could hold them.
fn store(kind: TensorType, numbers: &[f32], bytes: &mut [u8]) -> bool {
    match kind {
        TensorType::Q8_0 => {
            // As the reference converter rounds: by the scale before it becomes a half, and halves away from zero.
            let largest = numbers.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
            let scale = largest / 127.0;
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            let half = half::f16::from_f32(scale);
            bytes[..2].copy_from_slice(&half.to_le_bytes());
            for (byte, number) in bytes[2..].iter_mut().zip(numbers) {
                *byte = (number * inverse).round() as i8 as u8;
            }
            half.is_finite() && numbers.iter().all(|number| number.is_finite())
        }
        TensorType::F16 => {
            let half = half::f16::from_f32(numbers[0]);
            bytes.copy_from_slice(&half.to_le_bytes());
            half.is_finite()
        }
        TensorType::BF16 => {
            let half = half::bf16::from_f32(numbers[0]);
            bytes.copy_from_slice(&half.to_le_bytes());
            half.is_finite()
        }
        _ => {
            bytes.copy_from_slice(&numbers[0].to_le_bytes());
            numbers[0].is_finite()
        }
    }
}
