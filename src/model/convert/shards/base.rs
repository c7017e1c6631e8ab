//! Where a merged folder's numbers come from: a folder of safetensors, or a GGUF, whose tensors get their names and the
//! order of their rows back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::ModelError;
use crate::model::convert::merge::{Heads, Order};
use crate::model::convert::{ConvertError, GgufSource, Source as _};
use crate::model::gguf::{Header, TensorType};
use crate::model::weights::{
    Base as Weights, Float, Folder, PlannedTensor, WeightFiles, gguf_name, inventory, is_needless,
};

/// A base model in transformers' names and order of rows, which several threads read at once.
pub(super) trait Base: Sync {
    /// Returns the tensors in the order in which they lie, each as the base has it.
    fn tensors(&self) -> &[PlannedTensor];

    /// Fills `numbers` with whole rows of a tensor, from row `first` on.
    fn rows(&self, tensor: usize, first: usize, numbers: &mut [f32]) -> Result<(), ConvertError>;
}

/// Opens a base, and checks that its tensors are those of its architecture.
pub(super) fn open(files: &WeightFiles) -> Result<Box<dyn Base>, ConvertError> {
    Ok(match files {
        WeightFiles::Folder(files) => Box::new(FolderBase::open(files)?),
        WeightFiles::Gguf(path) => Box::new(GgufBase::open(path)?),
    })
}

struct FolderBase {
    folder: Folder,
    tensors: Vec<PlannedTensor>,
}

impl FolderBase {
    fn open(files: &BTreeMap<String, PathBuf>) -> Result<Self, ConvertError> {
        let folder = Folder::open(files)?;
        let config = folder.config()?.checked()?;
        folder.check(&config)?;
        let mut tensors = Vec::new();
        for (name, shape) in folder.tensors() {
            if is_needless(&config, name) {
                continue;
            }
            let found = folder.stored(name)?;
            let foreign = || ModelError::DType { name: name.to_owned(), found: found.to_owned() };
            let float = Float::ALL.into_iter().find(|float| float.name() == found).ok_or_else(foreign)?;
            tensors.push(PlannedTensor { name: name.to_owned(), shape: shape.to_owned(), float });
        }
        Ok(Self { folder, tensors })
    }
}

impl Base for FolderBase {
    fn tensors(&self) -> &[PlannedTensor] {
        &self.tensors
    }

    fn rows(&self, tensor: usize, first: usize, numbers: &mut [f32]) -> Result<(), ConvertError> {
        let PlannedTensor { name, shape, .. } = &self.tensors[tensor];
        let columns = shape.last().copied().unwrap_or(1);
        Ok(self.folder.numbers(name, (first * columns) as u64, numbers)?)
    }
}

struct GgufBase {
    source: GgufSource,
    tensors: Vec<PlannedTensor>,
    /// Of each tensor, its place in the file and the order of its rows there.
    origins: Vec<(usize, Order)>,
}

impl GgufBase {
    fn open(path: &Path) -> Result<Self, ConvertError> {
        let weights = Weights::open(&WeightFiles::Gguf(path.to_owned()))?;
        let header = Header::read(path)?;
        let source = GgufSource::open(path)?;
        let (heads, float) = (Heads::of(&header.metadata), usual(&header).float);
        let names = inventory(weights.config()).into_iter().map(|(name, shape)| (gguf_name(&name), (name, shape)));
        let mut names: BTreeMap<String, (String, Vec<usize>)> = names.collect();
        let (mut tensors, mut origins) = (Vec::new(), Vec::new());
        for (index, tensor) in source.tensors().iter().enumerate() {
            // What is no weight, such as Llama 3's factors, is told by the configuration.
            let Some((name, shape)) = names.remove(&tensor.name) else { continue };
            tensors.push(PlannedTensor { name, shape, float });
            origins.push((index, heads.order(tensor)));
        }
        Ok(Self { source, tensors, origins })
    }
}

/// How the weights of a GGUF are stored in safetensors where nothing else is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usual {
    /// How all of them are.
    pub float: Float,
    /// The type of blocks that most are decoded from.
    pub decoded: Option<TensorType>,
}

/// Returns how the weights of a GGUF are stored in safetensors: as most of them are in the file, or in 16 bits.
///
/// # Errors
/// A file that is no GGUF.
pub fn usual_float(path: &Path) -> Result<Usual, ConvertError> {
    Ok(usual(&Header::read(path)?))
}

fn usual(header: &Header) -> Usual {
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for tensor in &header.tensors {
        *counts.entry(tensor.tensor_type.id()).or_default() += tensor.elements();
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count).and_then(|(id, _)| TensorType::from_id(id));
    match Float::ALL.into_iter().find(|float| Some(float.name()) == most.map(TensorType::name)) {
        Some(float) => Usual { float, decoded: None },
        None => Usual { float: Float::F16, decoded: most },
    }
}

impl Base for GgufBase {
    fn tensors(&self) -> &[PlannedTensor] {
        &self.tensors
    }

    fn rows(&self, tensor: usize, first: usize, numbers: &mut [f32]) -> Result<(), ConvertError> {
        let (index, order) = &self.origins[tensor];
        let shape = &self.tensors[tensor].shape;
        match (order, shape.as_slice()) {
            (Order::Same, _) => self.source.rows(*index, first as u64, numbers),
            // A bias has in its one row what a matrix has in its rows.
            (order, [count]) => {
                let mut row = vec![0.0; *count];
                self.source.rows(*index, 0, &mut row)?;
                for (at, number) in numbers.iter_mut().enumerate() {
                    *number = row[order.place(at)];
                }
                Ok(())
            }
            (order, shape) => {
                let columns = shape.last().copied().unwrap_or(1);
                (first..)
                    .zip(numbers.chunks_exact_mut(columns.max(1)))
                    .try_for_each(|(row, numbers)| self.source.rows(*index, order.place(row) as u64, numbers))
            }
        }
    }
}
