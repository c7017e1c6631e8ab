//! Types of tensors so that the whole file has a size: what each costs is measured on some of its rows.

use rayon::prelude::*;
use regex::{Regex, escape};

use super::{Buffers, Heads, Piece, Planned, QUANTIZATION_VERSION, in_file_order};
use crate::llama::{Importance, dequantize};
use crate::model::convert::{ConvertError, Merge, Source};
use crate::model::gguf::{FileType, PlannedTensor, TensorType, Value, Writer};
use crate::model::quantize::{Candidate, Rules, choose, fitting, is_quantised, makes, quantize};

/// Numbers of each tensor that are quantised on trial.
const SAMPLE: u64 = 1 << 18;

/// How far below what is asked a file may be.
const TOLERANCE: f64 = 0.01;

/// What size is asked for.
#[derive(Clone, Copy)]
pub struct Sizing<'a> {
    /// Bits of the whole file for each of the model's numbers.
    pub bits: f64,
    /// Types for the tensors whose names a pattern finds: they are not chosen here.
    pub overrides: &'a [(Regex, TensorType)],
    /// How much each column of the weights that it has matters.
    pub importance: Option<&'a Importance>,
}

/// What was chosen.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The type that most numbers have, as a file's type.
    pub file_type: FileType,
    /// Patterns of single names with their types, as [`super::Target`] takes them.
    pub overrides: Vec<(Regex, TensorType)>,
    /// Tensors by type, the type with most numbers first.
    pub counts: Vec<(TensorType, usize)>,
}

/// A tensor, and how it can be stored.
struct Open<'a> {
    name: &'a str,
    elements: u64,
    kinds: Vec<TensorType>,
    candidates: Vec<Candidate>,
}

/// Chooses types so that the file that [`merge_quantised`](super::merge_quantised) writes has at most so many bits a weight,
/// and not 1 % less, with as little lost as can be: of each tensor the share of `Σ importance · w²` that its error is.
///
/// # Errors
/// [`ConvertError::Size`] for a size that the model cannot have; [`ConvertError::NoRules`]; those of
/// [`merge()`](super::merge()).
pub fn types_for_size(source: &dyn Source, how: &mut Merge<'_>, sizing: &Sizing<'_>) -> Result<Chosen, ConvertError> {
    let mut metadata = source.metadata();
    let usual = FileType::Q8_0;
    if Rules::new(usual, &metadata, sizing.overrides, sizing.importance.is_some()).is_none() {
        return Err(ConvertError::NoRules);
    }
    metadata.push(("general.quantization_version".into(), Value::U32(QUANTIZATION_VERSION)));
    metadata.push(("general.file_type".into(), Value::U32(usual.id())));
    let opened = measured(source, how, sizing, &Heads::of(&metadata))?;
    let planned = opened.iter().map(|open| {
        let tensor = source.tensors().iter().find(|tensor| tensor.name == open.name);
        let dimensions = tensor.map(|tensor| tensor.dimensions.clone()).unwrap_or_default();
        PlannedTensor { name: open.name.into(), dimensions, tensor_type: TensorType::F32 }
    });
    let header = Writer::header_size(&metadata, &planned.collect::<Vec<_>>());
    let parameters: u64 = opened.iter().map(|open| open.elements).sum();
    let bits = |bytes: u64| bytes as f64 * 8.0 / parameters.max(1) as f64;
    let candidates: Vec<Vec<Candidate>> = opened.iter().map(|open| open.candidates.clone()).collect();
    let ends = |open: &Open<'_>| {
        let bytes = open.candidates.iter().map(|candidate| candidate.bytes);
        (bytes.clone().min().unwrap_or(0), bytes.max().unwrap_or(0))
    };
    let sums = |(least, most), (smallest, largest)| (least + smallest, most + largest);
    let (least, most) = opened.iter().map(ends).fold((header, header), sums);
    let unmet = || ConvertError::Size { wanted: sizing.bits, least: bits(least), most: bits(most) };
    let budget = ((sizing.bits * parameters as f64 / 8.0) as u64).checked_sub(header).ok_or_else(unmet)?;
    let chosen = choose(&candidates, budget).ok_or_else(unmet)?;
    let bytes = header + chosen.iter().zip(&candidates).map(|(&at, tensor)| tensor[at].bytes).sum::<u64>();
    if bits(bytes) < sizing.bits * (1.0 - TOLERANCE) {
        return Err(unmet());
    }
    Ok(told(&opened, &chosen))
}

/// Returns all tensors of a file in its order, with what each way to store them costs.
fn measured<'a>(
    source: &'a dyn Source,
    how: &mut Merge<'_>,
    sizing: &Sizing<'_>,
    heads: &Heads,
) -> Result<Vec<Open<'a>>, ConvertError> {
    let (order, unplanned) = in_file_order(source.tensors(), how.float);
    let total = order.len() as u64;
    let done = std::sync::Mutex::new((0, &mut how.progress));
    let adapter = how.adapter;
    let one = |(index, tensor): (&usize, &crate::model::quantize::Unplanned<'a>)| {
        let elements = tensor.dimensions.iter().product();
        let columns = tensor.dimensions.first().copied().unwrap_or(1);
        let chosen = sizing.overrides.iter().find(|(pattern, _)| pattern.is_match(tensor.name));
        let kinds: Vec<TensorType> = match chosen {
            _ if !is_quantised(tensor) => vec![tensor.stored],
            Some((_, kind)) => vec![fitting(*kind, columns).unwrap_or(tensor.stored)],
            None => {
                let fits = |kind: &TensorType| makes(*kind) && columns.is_multiple_of(kind.block_elements());
                TensorType::all().filter(fits).chain([tensor.stored]).collect()
            }
        };
        let source_tensor = &source.tensors()[*index];
        let piece = Piece {
            place: 0,
            planned: &Planned { index: *index, kind: tensor.stored },
            tensor: source_tensor,
            module: adapter.and_then(|adapter| adapter.modules.get(tensor.name)),
            importance: sizing.importance.and_then(|all| all.get(tensor.name)).map(Vec::as_slice),
            order: heads.order(source_tensor),
            stored: tensor.stored,
            earlier: None,
            first: 0,
            rows: 1,
        };
        let errors = if kinds.len() == 1 { vec![0.0] } else { errors(source, piece, &kinds)? };
        let bytes = |kind: &TensorType| Writer::room(kind.bytes(elements).unwrap_or(0));
        let candidates =
            kinds.iter().zip(errors).map(|(kind, error)| Candidate { bytes: bytes(kind), error }).collect();
        let Ok(mut done) = done.lock() else { return Err(ConvertError::Interrupted) };
        done.0 += 1;
        let so_far = done.0;
        if !(done.1)(so_far, total) {
            return Err(ConvertError::Interrupted);
        }
        Ok(Open { name: tensor.name, elements, kinds, candidates })
    };
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(how.threads.max(1)).build().map_err(ConvertError::Threads)?;
    pool.install(|| order.par_iter().zip(&unplanned).map(one).collect())
}

/// Returns what a tensor loses as each type: the share of its weighted squares, over rows evenly spaced.
fn errors(source: &dyn Source, mut piece: Piece<'_>, kinds: &[TensorType]) -> Result<Vec<f64>, ConvertError> {
    let (rows, columns) = (piece.tensor.rows(), piece.tensor.columns());
    let taken = (SAMPLE / columns.max(1)).clamp(1, rows.max(1));
    let mut buffers = Buffers::default();
    let (mut lost, mut whole) = (vec![0.0; kinds.len()], 0.0);
    let importance = piece.importance;
    let weigh = |squares: &mut dyn Iterator<Item = f64>| match importance {
        Some(importance) => {
            squares.zip(importance).map(|(square, importance)| square * f64::from(*importance)).sum::<f64>()
        }
        None => squares.sum::<f64>(),
    };
    let mut decoded = vec![0.0_f32; columns as usize];
    for sample in 0..taken {
        piece.first = sample * rows / taken;
        buffers.merge(source, &piece)?;
        let numbers = &buffers.numbers;
        whole += weigh(&mut numbers.iter().map(|number| f64::from(number * number)));
        for (kind, lost) in kinds.iter().zip(&mut lost) {
            if !makes(*kind) {
                continue;
            }
            let mut bytes = vec![0; kind.bytes(columns).unwrap_or(0) as usize];
            if !quantize(*kind, numbers, columns as usize, importance, &mut bytes) {
                *lost = f64::INFINITY;
                continue;
            }
            dequantize(kind.id(), &bytes, &mut decoded)?;
            let differences = numbers.iter().zip(&decoded).map(|(number, decoded)| f64::from(number - decoded));
            *lost += weigh(&mut differences.map(|difference| difference * difference));
        }
    }
    Ok(lost.into_iter().map(|lost| if whole > 0.0 { lost / whole } else { 0.0 }).collect())
}

fn told(opened: &[Open<'_>], chosen: &[usize]) -> Chosen {
    let mut counts: Vec<(TensorType, usize, u64)> = Vec::new();
    let mut overrides = Vec::new();
    for (open, &at) in opened.iter().zip(chosen) {
        let kind = open.kinds[at];
        match counts.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, tensors, elements)) => (*tensors, *elements) = (*tensors + 1, *elements + open.elements),
            None => counts.push((kind, 1, open.elements)),
        }
        if let Ok(pattern) = Regex::new(&format!("^{}$", escape(open.name))) {
            overrides.push((pattern, kind));
        }
    }
    counts.sort_by_key(|(kind, _, elements)| (std::cmp::Reverse(*elements), kind.id()));
    let file_type = counts.iter().find_map(|(kind, ..)| file_type(*kind)).unwrap_or(FileType::F16);
    Chosen { file_type, overrides, counts: counts.into_iter().map(|(kind, tensors, _)| (kind, tensors)).collect() }
}

/// Returns the file type that is named after a tensor's type.
fn file_type(kind: TensorType) -> Option<FileType> {
    FileType::from_name(match kind.name() {
        "Q3_K" => "Q3_K_M",
        "Q4_K" => "Q4_K_M",
        "Q5_K" => "Q5_K_M",
        "F16" | "BF16" | "F32" => return None,
        same => same,
    })
}
