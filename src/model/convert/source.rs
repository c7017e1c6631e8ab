//! Where the base's numbers come from, in GGUF's names and layout.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{ConvertError, FolderSource};
use crate::llama::dequantize;
use crate::model::config::Architecture;
use crate::model::floats;
use crate::model::gguf::{Header, TensorType, Value};
use crate::model::weights::WeightFiles;

/// A base model, as rows of 32-bit floats, which several threads read at once.
pub trait Source: Sync {
    /// Returns the metadata of the GGUF to be.
    fn metadata(&self) -> Vec<(String, Value)>;

    /// Returns the tensors in the order in which they will be written.
    fn tensors(&self) -> &[SourceTensor];

    /// Fills `numbers` with whole rows of a tensor, from `first_row` on.
    ///
    /// # Errors
    /// Files that cannot be read.
    fn rows(&self, tensor: usize, first_row: u64, numbers: &mut [f32]) -> Result<(), ConvertError>;
}

/// A tensor of a base model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTensor {
    /// Its GGUF name.
    pub name: String,
    /// Sizes, the one that runs fastest first.
    pub dimensions: Vec<u64>,
}

impl SourceTensor {
    /// Returns the length of a row.
    pub fn columns(&self) -> u64 {
        self.dimensions.first().copied().unwrap_or(0)
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.dimensions.iter().skip(1).product()
    }
}

/// Opens a base model.
///
/// # Errors
/// Those of [`GgufSource::open`] and [`FolderSource::open`].
pub fn open(files: &WeightFiles) -> Result<Box<dyn Source>, ConvertError> {
    Ok(match files {
        WeightFiles::Gguf(path) => Box::new(GgufSource::open(path)?),
        WeightFiles::Folder(files) => Box::new(FolderSource::open(files)?),
    })
}

/// A base that is a GGUF, quantised or not.
#[derive(Debug)]
pub struct GgufSource {
    file: fs_err::File,
    header: Header,
    tensors: Vec<SourceTensor>,
}

impl GgufSource {
    /// Opens a GGUF of an architecture that is known.
    ///
    /// # Errors
    /// [`ConvertError::Architecture`]; a file that is no GGUF.
    pub fn open(path: &Path) -> Result<Self, ConvertError> {
        let header = Header::read(path)?;
        let architecture = header.need_text("general.architecture")?;
        if Architecture::from_gguf(architecture).is_none() {
            return Err(ConvertError::Architecture { architecture: architecture.into() });
        }
        let file = fs_err::File::open(path).map_err(|cause| ConvertError::Read { path: path.into(), cause })?;
        let tensor = |info: &crate::model::gguf::TensorInfo| SourceTensor {
            name: info.name.clone(),
            dimensions: info.dimensions.clone(),
        };
        let tensors = header.tensors.iter().map(tensor).collect();
        Ok(Self { file, header, tensors })
    }
}

impl Source for GgufSource {
    /// All that the base says of itself, but for what no longer holds: how it was stored and split.
    fn metadata(&self) -> Vec<(String, Value)> {
        let stale = |key: &str| {
            key.starts_with("split.")
                || ["general.alignment", "general.file_type", "general.quantization_version"].contains(&key)
        };
        self.header.metadata.iter().filter(|(key, _)| !stale(key)).cloned().collect()
    }

    fn tensors(&self) -> &[SourceTensor] {
        &self.tensors
    }

    fn rows(&self, tensor: usize, first_row: u64, numbers: &mut [f32]) -> Result<(), ConvertError> {
        let info = &self.header.tensors[tensor];
        // Rows are whole blocks: the header's reader refuses others.
        let bytes_of = |elements: u64| info.tensor_type.bytes(elements).unwrap_or(0);
        let start = self.header.data_offset + info.offset + bytes_of(first_row * info.dimensions[0]);
        let file = self.file.file();
        let failed = |cause| ConvertError::Read { path: self.file.path().to_owned(), cause };
        match info.tensor_type {
            TensorType::F32 => floats::read_f32(file, start, numbers).map_err(failed)?,
            TensorType::F16 => floats::read_f16(file, start, numbers).map_err(failed)?,
            TensorType::BF16 => floats::read_bf16(file, start, numbers).map_err(failed)?,
            other => {
                let mut bytes = vec![0; bytes_of(numbers.len() as u64) as usize];
                file.read_exact_at(&mut bytes, start).map_err(failed)?;
                dequantize(other.id(), &bytes, numbers)?;
            }
        }
        Ok(())
    }
}
