//! Base and adapter → the merged model in safetensors, as transformers has it: one file, or several with an index.
//!
//! As with a GGUF a tensor goes through a few rows at a time: read, merged in 32 bits, rounded once, written where it
//! belongs. Where each tensor lies is known before the first is read, so files are written by all threads at once.

mod base;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use half::{bf16, f16};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::merge::{Order, add};
use super::{ConvertError, Merged};
use crate::model::lora::{PeftAdapter, PeftModule};
use crate::model::weights::WeightFiles;
use base::Base;

pub use base::{Usual, usual_float};

/// Numbers that a thread has in memory at once.
const PIECE: usize = 1 << 16;

/// What names the files of a model whose weights are in several.
const INDEX: &str = "model.safetensors.index.json";

/// A type of plain floats, by its name in safetensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    /// 32 bits.
    F32,
    /// 16 bits, of which 5 are the exponent's.
    F16,
    /// 16 bits, of which 8 are the exponent's.
    BF16,
}

impl Float {
    const ALL: [Self; 3] = [Self::F32, Self::F16, Self::BF16];

    /// Returns the name in safetensors.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
        }
    }

    /// Returns the name in transformers' configurations.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
        }
    }

    fn bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    fn encode(self, number: f32, bytes: &mut [u8]) {
        match self {
            Self::F32 => bytes.copy_from_slice(&number.to_le_bytes()),
            Self::F16 => bytes.copy_from_slice(&f16::from_f32(number).to_le_bytes()),
            Self::BF16 => bytes.copy_from_slice(&bf16::from_f32(number).to_le_bytes()),
        }
    }

    fn holds(self, number: f32) -> bool {
        match self {
            Self::F32 => number.is_finite(),
            Self::F16 => f16::from_f32(number).is_finite(),
            Self::BF16 => bf16::from_f32(number).is_finite(),
        }
    }
}

/// How to merge a base into a folder.
pub struct MergeFolder<'a> {
    /// What is added to the base, if anything.
    pub adapter: Option<&'a PeftAdapter>,
    /// How all weights are stored; nothing for how the base has each. Of a GGUF that is how it has most of its numbers, or
    /// [`Float::F16`] where these are quantised: the type of its norms says nothing of the model's.
    pub float: Option<Float>,
    /// The most bytes of tensors in one file; a tensor that is larger has a file of its own.
    pub shard_bytes: u64,
    /// Threads; they change no byte.
    pub threads: usize,
    /// Told the numbers written and in all, by any thread; ends the work by returning `false`.
    pub progress: &'a mut (dyn FnMut(u64, u64) -> bool + Send),
}

/// Where a tensor goes.
struct Placed {
    /// Its place in the base.
    index: usize,
    name: String,
    shape: Vec<usize>,
    float: Float,
    /// Which file.
    shard: usize,
    /// From the file's beginning.
    offset: u64,
}

impl Placed {
    fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    fn rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }

    fn bytes(&self) -> u64 {
        (self.rows() * self.columns() * self.float.bytes()) as u64
    }
}

/// Writes the base's weights with the adapter merged into them below `output`, and returns the files by name.
///
/// # Errors
/// An adapter that does not fit the base; a base that is none; numbers that the type cannot hold; files that cannot be read
/// or written.
pub fn merge_folder(
    files: &WeightFiles,
    output: &Path,
    how: &mut MergeFolder<'_>,
) -> Result<(BTreeMap<String, PathBuf>, Merged), ConvertError> {
    let base = base::open(files)?;
    let placed = base.tensors().iter().enumerate().map(|(index, tensor)| {
        let float = how.float.unwrap_or(tensor.float);
        Placed { index, name: tensor.name.clone(), shape: tensor.shape.clone(), float, shard: 0, offset: 0 }
    });
    let mut placed: Vec<Placed> = placed.collect();
    let modules = modules(how.adapter, &placed)?;
    let shards = shards(&mut placed, how.shard_bytes);
    let names: Vec<String> = (1..=shards).map(|number| shard_name(number, shards)).collect();
    let mut written = create(&mut placed, &names, output)?;
    fill(base.as_ref(), &placed, &modules, &written, how)?;
    let mut found: BTreeMap<String, PathBuf> = names.iter().map(|name| (name.clone(), output.join(name))).collect();
    for (name, file) in names.iter().zip(&mut written) {
        file.sync_all().map_err(|cause| write_error(output, name, cause))?;
    }
    if shards > 1 {
        let path = output.join(INDEX);
        fs_err::write(&path, index(&placed, &names)).map_err(|cause| write_error(output, INDEX, cause))?;
        found.insert(INDEX.to_owned(), path);
    }
    let parameters = placed.iter().map(|placed| (placed.rows() * placed.columns()) as u64).sum();
    Ok((found, Merged { tensors: placed.len(), changed: modules.len(), quantised: 0, taken: 0, parameters }))
}

/// Returns the adapter's modules by the tensor that each changes.
fn modules<'a>(
    adapter: Option<&'a PeftAdapter>,
    placed: &[Placed],
) -> Result<BTreeMap<String, &'a PeftModule>, ConvertError> {
    let mut modules = BTreeMap::new();
    for (path, module) in adapter.into_iter().flat_map(|adapter| &adapter.modules) {
        let name = format!("{path}.weight");
        let tensor = placed.iter().find(|placed| placed.name == name);
        let tensor = tensor.ok_or_else(|| ConvertError::NoSuchTensor { tensor: name.clone() })?;
        let found = (module.outputs(), module.inputs());
        if found != (tensor.rows(), tensor.columns()) {
            return Err(ConvertError::OtherShape {
                tensor: name,
                adapter_rows: found.0 as u64,
                adapter_columns: found.1 as u64,
                rows: tensor.rows() as u64,
                columns: tensor.columns() as u64,
            });
        }
        modules.insert(name, module);
    }
    Ok(modules)
}

/// Gives each tensor its file, in their order, and returns how many files there are.
fn shards(placed: &mut [Placed], most: u64) -> usize {
    let (mut shard, mut bytes) = (0, 0);
    for tensor in placed {
        if bytes > 0 && bytes + tensor.bytes() > most {
            (shard, bytes) = (shard + 1, 0);
        }
        tensor.shard = shard;
        bytes += tensor.bytes();
    }
    shard + 1
}

fn shard_name(number: usize, of: usize) -> String {
    if of == 1 { "model.safetensors".to_owned() } else { format!("model-{number:05}-of-{of:05}.safetensors") }
}

/// Writes the files' headers and says where each tensor lies.
fn create(placed: &mut [Placed], names: &[String], output: &Path) -> Result<Vec<fs_err::File>, ConvertError> {
    let mut files = Vec::new();
    for (shard, name) in names.iter().enumerate() {
        let mut header = Map::from_iter([("__metadata__".to_owned(), json!({"format": "pt"}))]);
        let mut tensors: Vec<&mut Placed> = placed.iter_mut().filter(|placed| placed.shard == shard).collect();
        // Wider types first, as in the files of the format's own library: each number lies at a multiple of its size.
        tensors.sort_by_key(|placed| std::cmp::Reverse(placed.float.bytes()));
        let mut offset = 0;
        for tensor in &mut tensors {
            let end = offset + tensor.bytes();
            let entry = json!({"dtype": tensor.float.name(), "shape": tensor.shape, "data_offsets": [offset, end]});
            header.insert(tensor.name.clone(), entry);
            (tensor.offset, offset) = (offset, end);
        }
        let mut text = Value::Object(header).to_string();
        while !text.len().is_multiple_of(8) {
            text.push(' ');
        }
        let start = 8 + text.len() as u64;
        for tensor in tensors {
            tensor.offset += start;
        }
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        let error = |cause| write_error(output, name, cause);
        let file = fs_err::File::create(output.join(name)).map_err(error)?;
        file.set_len(start + offset).map_err(error)?;
        file.file().write_all_at(&bytes, 0).map_err(error)?;
        files.push(file);
    }
    Ok(files)
}

/// Writes all tensors.
fn fill(
    base: &dyn Base,
    placed: &[Placed],
    modules: &BTreeMap<String, &PeftModule>,
    files: &[fs_err::File],
    how: &mut MergeFolder<'_>,
) -> Result<(), ConvertError> {
    let mut pieces = Vec::new();
    for tensor in placed {
        let step = (PIECE / tensor.columns().max(1)).max(1);
        pieces.extend((0..tensor.rows()).step_by(step).map(|first| (tensor, first, step.min(tensor.rows() - first))));
    }
    let total: u64 = placed.iter().map(|placed| (placed.rows() * placed.columns()) as u64).sum();
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(how.threads.max(1)).build().map_err(ConvertError::Threads)?;
    let done = Mutex::new((0, &mut how.progress));
    pool.install(|| {
        pieces.par_iter().try_for_each_init(
            || (Vec::new(), Vec::new()),
            |(numbers, bytes): &mut (Vec<f32>, Vec<u8>), &(tensor, first, rows)| {
                let columns = tensor.columns();
                numbers.resize(rows * columns, 0.0);
                base.rows(tensor.index, first, numbers)?;
                if let Some(module) = modules.get(&tensor.name) {
                    add(numbers, first, columns, module, &Order::Same);
                }
                let width = tensor.float.bytes();
                bytes.resize(numbers.len() * width, 0);
                for (bytes, &number) in bytes.chunks_exact_mut(width).zip(numbers.iter()) {
                    tensor.float.encode(number, bytes);
                }
                if let Some(number) = numbers.iter().copied().find(|number| !tensor.float.holds(*number)) {
                    let (tensor, target) = (tensor.name.clone(), tensor.float.name());
                    return Err(ConvertError::NotFinite { tensor, target, number });
                }
                let file = &files[tensor.shard];
                let written = file.file().write_all_at(bytes, tensor.offset + (first * columns * width) as u64);
                written.map_err(|cause| ConvertError::Write { path: file.path().to_owned(), cause })?;
                let Ok(mut done) = done.lock() else { return Err(ConvertError::Interrupted) };
                done.0 += numbers.len() as u64;
                let so_far = done.0;
                if (done.1)(so_far, total) { Ok(()) } else { Err(ConvertError::Interrupted) }
            },
        )
    })
}

/// Returns the text of the index: which file has which tensor.
fn index(placed: &[Placed], names: &[String]) -> String {
    let bytes: u64 = placed.iter().map(Placed::bytes).sum();
    let map: BTreeMap<&str, &str> =
        placed.iter().map(|placed| (placed.name.as_str(), names[placed.shard].as_str())).collect();
    format!("{:#}\n", json!({"metadata": {"total_size": bytes}, "weight_map": map}))
}

fn write_error(output: &Path, name: &str, cause: std::io::Error) -> ConvertError {
    ConvertError::Write { path: output.join(name), cause }
}

#[cfg(test)]
mod tests;
