//! Weights as transformers writes them: one file of safetensors, or several with an index.
//!
//! Where each tensor lies is known before the first is written, so files are written by all threads at once.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use miette::Diagnostic;
use serde_json::{Map, Value, json};

use super::folder::INDEX;
use crate::model::disk::reserve;

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
    /// All.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::BF16];

    /// Returns the name in safetensors.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
        }
    }

    /// Returns the name in PyTorch, which a model's configuration has.
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

    /// Returns whether the type has the number, rounded.
    pub fn holds(self, number: f32) -> bool {
        match self {
            Self::F32 => number.is_finite(),
            Self::F16 => f16::from_f32(number).is_finite(),
            Self::BF16 => bf16::from_f32(number).is_finite(),
        }
    }
}

/// A file of weights that cannot be written.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("`{path}` cannot be written")]
#[diagnostic(code(weights::write), help("check that the disk has room for the whole model"))]
pub struct ShardError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub cause: std::io::Error,
}

/// A tensor that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTensor {
    /// The name in transformers.
    pub name: String,
    /// The size of each dimension.
    pub shape: Vec<usize>,
    /// How it is stored.
    pub float: Float,
}

impl PlannedTensor {
    /// Returns the numbers of a row.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Returns the rows; a vector is a single one.
    pub fn rows(&self) -> usize {
        self.shape.iter().rev().skip(1).product()
    }

    fn bytes(&self) -> u64 {
        (self.rows() * self.columns() * self.float.bytes()) as u64
    }
}

/// Where a tensor goes.
#[derive(Debug)]
struct Place {
    /// Which file.
    shard: usize,
    /// From the file's beginning.
    offset: u64,
}

/// Files of weights that are being written.
#[derive(Debug)]
pub struct Shards {
    output: PathBuf,
    tensors: Vec<PlannedTensor>,
    places: Vec<Place>,
    names: Vec<String>,
    files: Vec<fs_err::File>,
}

impl Shards {
    /// Makes the files below `output`, each with at most so many bytes of tensors; a tensor that is larger has a file of its
    /// own.
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn create(output: &Path, tensors: Vec<PlannedTensor>, most: u64) -> Result<Self, ShardError> {
        let mut places = places(&tensors, most);
        let shards = places.last().map_or(0, |place| place.shard) + 1;
        let names: Vec<String> = (1..=shards).map(|number| shard_name(number, shards)).collect();
        let mut files = Vec::new();
        for (shard, name) in names.iter().enumerate() {
            let (header, bytes) = header(shard, &tensors, &mut places);
            let error = |cause| write_error(output, name, cause);
            let file = fs_err::File::create(output.join(name)).map_err(error)?;
            reserve(file.file(), header.len() as u64 + bytes).map_err(error)?;
            file.file().write_all_at(&header, 0).map_err(error)?;
            files.push(file);
        }
        Ok(Self { output: output.to_owned(), tensors, places, names, files })
    }

    /// Returns the tensors as they were planned.
    pub fn tensors(&self) -> &[PlannedTensor] {
        &self.tensors
    }

    /// Writes numbers of a tensor, the `first` of which has so many before it; `bytes` keeps its memory from call to call.
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn write(&self, tensor: usize, first: usize, numbers: &[f32], bytes: &mut Vec<u8>) -> Result<(), ShardError> {
        let (float, place) = (self.tensors[tensor].float, &self.places[tensor]);
        let width = float.bytes();
        bytes.resize(numbers.len() * width, 0);
        for (bytes, &number) in bytes.chunks_exact_mut(width).zip(numbers) {
            float.encode(number, bytes);
        }
        let file = &self.files[place.shard];
        let written = file.file().write_all_at(bytes, place.offset + (first * width) as u64);
        written.map_err(|cause| ShardError { path: file.path().to_owned(), cause })
    }

    /// Writes the index, where there are several files, and returns where all are by their names.
    ///
    /// # Errors
    /// [`ShardError`].
    pub fn finish(mut self) -> Result<BTreeMap<String, PathBuf>, ShardError> {
        for (name, file) in self.names.iter().zip(&mut self.files) {
            file.sync_all().map_err(|cause| write_error(&self.output, name, cause))?;
        }
        let mut found: BTreeMap<String, PathBuf> =
            self.names.iter().map(|name| (name.clone(), self.output.join(name))).collect();
        if self.names.len() > 1 {
            let path = self.output.join(INDEX);
            fs_err::write(&path, self.index()).map_err(|cause| write_error(&self.output, INDEX, cause))?;
            found.insert(INDEX.to_owned(), path);
        }
        Ok(found)
    }

    /// Returns the text of the index: which file has which tensor.
    fn index(&self) -> String {
        let bytes: u64 = self.tensors.iter().map(PlannedTensor::bytes).sum();
        let shard = |(tensor, place): (_, &Place)| (tensor, self.names[place.shard].as_str());
        let names = self.tensors.iter().map(|tensor| tensor.name.as_str());
        let map: BTreeMap<&str, &str> = names.zip(&self.places).map(shard).collect();
        format!("{:#}\n", json!({"metadata": {"total_size": bytes}, "weight_map": map}))
    }
}

/// Gives each tensor its file, in their order.
fn places(tensors: &[PlannedTensor], most: u64) -> Vec<Place> {
    let (mut shard, mut bytes) = (0, 0);
    let place = |tensor: &PlannedTensor| {
        if bytes > 0 && bytes + tensor.bytes() > most {
            (shard, bytes) = (shard + 1, 0);
        }
        bytes += tensor.bytes();
        Place { shard, offset: 0 }
    };
    tensors.iter().map(place).collect()
}

fn shard_name(number: usize, of: usize) -> String {
    if of == 1 { "model.safetensors".to_owned() } else { format!("model-{number:05}-of-{of:05}.safetensors") }
}

/// Returns a file's header and the bytes that follow it, and says where its tensors lie.
fn header(shard: usize, tensors: &[PlannedTensor], places: &mut [Place]) -> (Vec<u8>, u64) {
    let mut entries = Map::from_iter([("__metadata__".to_owned(), json!({"format": "pt"}))]);
    let mine = tensors.iter().zip(places).filter(|(_, place)| place.shard == shard);
    let mut mine: Vec<(&PlannedTensor, &mut Place)> = mine.collect();
    // Wider types first, as in the files of the format's own library: each number lies at a multiple of its size.
    mine.sort_by_key(|(tensor, _)| std::cmp::Reverse(tensor.float.bytes()));
    let mut offset = 0;
    for (tensor, place) in &mut mine {
        let end = offset + tensor.bytes();
        let entry = json!({"dtype": tensor.float.name(), "shape": tensor.shape, "data_offsets": [offset, end]});
        entries.insert(tensor.name.clone(), entry);
        (place.offset, offset) = (offset, end);
    }
    let mut text = Value::Object(entries).to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    for (_, place) in mine {
        place.offset += bytes.len() as u64;
    }
    (bytes, offset)
}

fn write_error(output: &Path, name: &str, cause: std::io::Error) -> ShardError {
    ShardError { path: output.join(name), cause }
}
