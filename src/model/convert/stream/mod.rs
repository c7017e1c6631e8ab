//! From a base's rows to the tensors of a file: read, merged, rounded to 16 bits, quantised and written a few rows at a
//! time, by all threads at once. What is in memory is some rows a thread.

mod earlier;
mod size;

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;

use half::f16;
use half::slice::HalfFloatSliceExt as _;
use rayon::prelude::*;
use regex::Regex;

use super::merge::{Heads, Order, add, fits};
use super::{ConvertError, Merge, Merged, Source, SourceTensor};
use crate::llama::{Importance, quantize_rows};
use crate::model::gguf::{FileType, PlannedTensor, TensorType, Value, Writer};
use crate::model::lora::PeftModule;
use crate::model::quantize::{Rules, Unplanned, file_order, makes, quantize};

pub use earlier::{Earlier, Place};
pub use size::{Chosen, Sizing, types_for_size};

/// Numbers that a thread has in memory at once: they stay in its second cache.
const PIECE: u64 = 1 << 16;

/// The layout of llama.cpp's quantised blocks, which each file names (`GGML_QNT_VERSION`).
const QUANTIZATION_VERSION: u32 = 2;

/// How to quantise what was merged.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The file's type.
    pub file_type: FileType,
    /// Types for the tensors whose names a pattern finds, the first of them, instead of the file type's own.
    pub overrides: &'a [(Regex, TensorType)],
    /// How much each column of the weights that it has matters.
    pub importance: Option<&'a Importance>,
}

/// Writes `source`, with the adapter merged into it, as a GGUF at `output`, quantised as `llama-quantize` does from the
/// file that [`merge()`](super::merge()) would write: the bytes are the same.
///
/// Returns nothing, and writes nothing, for a model or a file type that [`Rules`] leaves to llama.cpp.
///
/// # Errors
/// Those of [`merge()`](super::merge()); [`ConvertError::NeedsImportance`].
pub fn merge_quantised(
    source: &dyn Source,
    output: &Path,
    how: &mut Merge<'_>,
    target: &Target<'_>,
) -> Result<Option<Merged>, ConvertError> {
    let mut metadata = source.metadata();
    let Some(rules) = Rules::new(target.file_type, &metadata, target.overrides, target.importance.is_some()) else {
        return Ok(None);
    };
    metadata.push(("general.quantization_version".into(), Value::U32(QUANTIZATION_VERSION)));
    metadata.push(("general.file_type".into(), Value::U32(target.file_type.id())));
    let (order, unplanned) = in_file_order(source.tensors(), how.float);
    let Some(types) = rules.types(&unplanned) else { return Ok(None) };
    for (tensor, &kind) in unplanned.iter().zip(&types) {
        let has_importance = target.importance.is_some_and(|importance| importance.contains_key(tensor.name));
        if kind != tensor.stored && !has_importance && rules.needs_importance(tensor.name, kind) {
            return Err(ConvertError::NeedsImportance { tensor: tensor.name.into(), kind: kind.name() });
        }
    }
    let plan = order.into_iter().zip(types).map(|(index, kind)| Planned { index, kind });
    stream(source, output, how, (&metadata, target.importance), plan.collect()).map(Some)
}

/// Returns the places of tensors in the order of a quantised file, and what their types follow from.
fn in_file_order(tensors: &[SourceTensor], float: FileType) -> (Vec<usize>, Vec<Unplanned<'_>>) {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|&a, &b| file_order(&tensors[a].name, &tensors[b].name));
    let unplanned = order.iter().map(|&index| &tensors[index]).map(|tensor| Unplanned {
        name: &tensor.name,
        dimensions: &tensor.dimensions,
        stored: stored(tensor, float),
    });
    let unplanned = unplanned.collect();
    (order, unplanned)
}

/// Writes `source`, with the adapter merged into it, as a GGUF of plain floats at `output`.
///
/// # Errors
/// An adapter that does not fit the base; numbers that the target cannot hold; files that cannot be read or written.
pub fn merge(source: &dyn Source, output: &Path, how: &mut Merge<'_>) -> Result<Merged, ConvertError> {
    let mut metadata = source.metadata();
    metadata.push(("general.file_type".into(), Value::U32(how.float.id())));
    metadata.push(("general.quantization_version".into(), Value::U32(QUANTIZATION_VERSION)));
    let plan = source.tensors().iter().enumerate();
    let plan = plan.map(|(index, tensor)| Planned { index, kind: stored(tensor, how.float) });
    stream(source, output, how, (&metadata, None), plan.collect())
}

/// How a tensor is stored that is not quantised: norms, and whatever is no weight, stay in 32 bits, as the reference
/// converter has it.
fn stored(tensor: &SourceTensor, float: FileType) -> TensorType {
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

/// A tensor of the file to be.
struct Planned {
    /// Its place in the source.
    index: usize,
    /// Its type.
    kind: TensorType,
}

/// Some rows of a tensor.
#[derive(Clone)]
struct Piece<'a> {
    /// The tensor's place in the file.
    place: usize,
    planned: &'a Planned,
    tensor: &'a SourceTensor,
    module: Option<&'a PeftModule>,
    importance: Option<&'a [f32]>,
    order: Order,
    /// How the tensor is stored before it is quantised.
    stored: TensorType,
    /// Where an earlier file has the tensor.
    earlier: Option<Place>,
    first: u64,
    rows: u64,
}

fn stream(
    source: &dyn Source,
    output: &Path,
    how: &mut Merge<'_>,
    (metadata, importance): (&[(String, Value)], Option<&Importance>),
    plan: Vec<Planned>,
) -> Result<Merged, ConvertError> {
    let tensors = source.tensors();
    if let Some(adapter) = how.adapter {
        fits(adapter, tensors)?;
    }
    let planned = plan.iter().map(|planned| PlannedTensor {
        name: tensors[planned.index].name.clone(),
        dimensions: tensors[planned.index].dimensions.clone(),
        tensor_type: planned.kind,
    });
    let writer = Writer::create(output, metadata, planned.collect())?;
    let heads = Heads::of(metadata);
    let mut pieces = Vec::new();
    let mut merged = Merged { tensors: tensors.len(), changed: 0, quantised: 0, taken: 0, parameters: 0 };
    for (place, planned) in plan.iter().enumerate() {
        let tensor = &tensors[planned.index];
        let step = (PIECE / tensor.columns().max(1)).max(1);
        let mut whole = Piece {
            place,
            planned,
            tensor,
            module: how.adapter.and_then(|adapter| adapter.modules.get(&tensor.name)),
            importance: importance.and_then(|importance| importance.get(&tensor.name)).map(Vec::as_slice),
            order: heads.order(tensor),
            stored: stored(tensor, how.float),
            earlier: None,
            first: 0,
            rows: tensor.rows(),
        };
        whole.earlier = how.earlier.and_then(|earlier| whole.find(earlier));
        merged.changed += usize::from(whole.module.is_some());
        merged.quantised += usize::from(whole.is_quantised());
        merged.taken += usize::from(whole.earlier.is_some());
        merged.parameters += tensor.rows() * tensor.columns();
        let part = |first| Piece { first, rows: step.min(tensor.rows() - first), ..whole.clone() };
        pieces.extend((0..tensor.rows()).step_by(step as usize).map(part));
    }
    let total = merged.parameters;
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(how.threads.max(1)).build().map_err(ConvertError::Threads)?;
    let done = Mutex::new((0, &mut how.progress));
    pool.install(|| {
        pieces.par_iter().try_for_each_init(Buffers::default, |buffers, piece| {
            let bytes = buffers.bytes(source, piece)?;
            let row_bytes = bytes.len() as u64 / piece.rows;
            writer.write_at(piece.place, piece.first * row_bytes, bytes)?;
            let Ok(mut done) = done.lock() else { return Err(ConvertError::Interrupted) };
            done.0 += piece.rows * piece.tensor.columns();
            let so_far = done.0;
            if (done.1)(so_far, total) { Ok(()) } else { Err(ConvertError::Interrupted) }
        })
    })?;
    writer.finish()?;
    Ok(merged)
}

impl Piece<'_> {
    /// Returns whether the tensor's numbers are stored in blocks.
    fn is_quantised(&self) -> bool {
        self.planned.kind.block_elements() > 1
    }

    /// Returns where an earlier file has the tensor, whole.
    fn find(&self, earlier: &dyn Earlier) -> Option<Place> {
        let bytes = self.planned.kind.bytes(self.tensor.rows() * self.tensor.columns());
        let place = self.is_quantised().then(|| earlier.find(&self.tensor.name, earlier::recipe(self)))?;
        place.filter(|place| Some(place.bytes) == bytes)
    }
}

/// What a thread works in.
#[derive(Default)]
struct Buffers {
    numbers: Vec<f32>,
    halves: Vec<f16>,
    bytes: Vec<u8>,
}

impl Buffers {
    /// Reads and merges a piece, and rounds it to what the type before quantisation holds.
    fn merge(&mut self, source: &dyn Source, piece: &Piece<'_>) -> Result<(), ConvertError> {
        self.read(source, piece)?;
        if piece.stored == TensorType::F16 {
            self.halves.convert_to_f32_slice(&mut self.numbers);
        }
        Ok(())
    }

    /// Reads and merges a piece, and refuses numbers that the type before quantisation does not hold; where that has 16 bits,
    /// `halves` has the rounded ones.
    fn read(&mut self, source: &dyn Source, piece: &Piece<'_>) -> Result<(), ConvertError> {
        let columns = piece.tensor.columns() as usize;
        self.numbers.resize(piece.rows as usize * columns, 0.0);
        source.rows(piece.planned.index, piece.first, &mut self.numbers)?;
        if let Some(module) = piece.module {
            add(&mut self.numbers, piece.first as usize, columns, module, &piece.order);
        }
        self.check(piece.tensor, piece.stored)
    }

    /// Returns the bytes of a piece.
    fn bytes(&mut self, source: &dyn Source, piece: &Piece<'_>) -> Result<&[u8], ConvertError> {
        let Some(place) = &piece.earlier else { return self.encode(source, piece) };
        let of_rows = |rows: u64| piece.planned.kind.bytes(rows * piece.tensor.columns()).unwrap_or(0);
        self.bytes.resize(of_rows(piece.rows) as usize, 0);
        let read = place.file.read_exact_at(&mut self.bytes, place.start + of_rows(piece.first));
        read.map_err(|cause| ConvertError::Read { path: place.path.clone(), cause })?;
        Ok(&self.bytes)
    }

    /// Makes the bytes of a piece.
    fn encode(&mut self, source: &dyn Source, piece: &Piece<'_>) -> Result<&[u8], ConvertError> {
        let (tensor, kind) = (piece.tensor, piece.planned.kind);
        // What is written as it was rounded needs no way back.
        let is_rounded = (kind, piece.stored) == (TensorType::F16, TensorType::F16);
        if is_rounded {
            self.read(source, piece)?;
        } else {
            self.merge(source, piece)?;
        }
        let (columns, count) = (tensor.columns() as usize, self.numbers.len());
        if kind == TensorType::F16 {
            if !is_rounded {
                self.halves.resize(count, f16::ZERO);
                self.halves.convert_from_f32_slice(&self.numbers);
            }
            let halves = self.halves.reinterpret_cast_mut();
            for half in &mut *halves {
                *half = half.to_le();
            }
            return Ok(bytemuck::cast_slice(halves));
        }
        self.bytes.resize(kind.bytes(count as u64).unwrap_or(0) as usize, 0);
        match kind {
            TensorType::F32 => {
                for (bytes, number) in self.bytes.as_chunks_mut().0.iter_mut().zip(&self.numbers) {
                    *bytes = number.to_le_bytes();
                }
            }
            TensorType::BF16 => {
                for (bytes, &number) in self.bytes.as_chunks_mut().0.iter_mut().zip(&self.numbers) {
                    *bytes = half::bf16::from_f32(number).to_le_bytes();
                }
            }
            _ if makes(kind) => {
                if !quantize(kind, &self.numbers, columns, piece.importance, &mut self.bytes) {
                    let magnitude = |number: &f32| number.abs();
                    let number = self.numbers.iter().max_by(|a, b| magnitude(a).total_cmp(&magnitude(b)));
                    return Err(not_finite(tensor, kind, number.copied().unwrap_or(0.0)));
                }
            }
            _ => quantize_rows(kind.id(), &self.numbers, columns, piece.importance, &mut self.bytes)?,
        }
        Ok(&self.bytes)
    }

    /// Refuses numbers that a type does not hold, and rounds them to 16 bits where that is the type.
    fn check(&mut self, tensor: &SourceTensor, stored: TensorType) -> Result<(), ConvertError> {
        let finite = match stored {
            TensorType::F16 => {
                self.halves.resize(self.numbers.len(), f16::ZERO);
                self.halves.convert_from_f32_slice(&self.numbers);
                // The largest without its sign: signed numbers of 16 bits are compared side by side on every machine.
                let largest = |largest: i16, half: &f16| largest.max((half.to_bits() & 0x7fff) as i16);
                self.halves.iter().fold(0, largest) < f16::INFINITY.to_bits() as i16
            }
            TensorType::BF16 => self.numbers.iter().all(|&number| half::bf16::from_f32(number).is_finite()),
            _ => self.numbers.iter().all(|number| number.is_finite()),
        };
        if !finite {
            let is_beyond = |number: &&f32| !number.is_finite() || number.abs() >= 65_520.0;
            let number = self.numbers.iter().find(is_beyond).copied().unwrap_or(f32::NAN);
            return Err(not_finite(tensor, stored, number));
        }
        Ok(())
    }
}

fn not_finite(tensor: &SourceTensor, kind: TensorType, number: f32) -> ConvertError {
    ConvertError::NotFinite { tensor: tensor.name.clone(), target: kind.name(), number }
}

#[cfg(test)]
mod tests;
