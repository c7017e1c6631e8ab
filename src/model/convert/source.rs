//! Where the base's numbers come from, in GGUF's names and layout.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::ConvertError;
use crate::llama::dequantize;
use crate::model::config::Architecture;
use crate::model::gguf::{Header, Value};

/// A base model, as rows of 32-bit floats.
pub trait Source {
    /// Returns the metadata of the GGUF to be.
    fn metadata(&self) -> Vec<(String, Value)>;

    /// Returns the tensors in the order in which they will be written.
    fn tensors(&self) -> &[SourceTensor];

    /// Fills `numbers` with whole rows of a tensor, from `first_row` on.
    ///
    /// # Errors
    /// Files that cannot be read.
    fn rows(&mut self, tensor: usize, first_row: u64, numbers: &mut [f32]) -> Result<(), ConvertError>;
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

/// A base that is a GGUF, quantised or not.
#[derive(Debug)]
pub struct GgufSource {
    file: fs_err::File,
    header: Header,
    tensors: Vec<SourceTensor>,
    buffer: Vec<u8>,
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
        Ok(Self { file, header, tensors, buffer: Vec::new() })
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

    fn rows(&mut self, tensor: usize, first_row: u64, numbers: &mut [f32]) -> Result<(), ConvertError> {
        let info = &self.header.tensors[tensor];
        // Rows are whole blocks: the header's reader refuses others.
        let bytes_of = |elements: u64| info.tensor_type.bytes(elements).unwrap_or(0);
        let start = self.header.data_offset + info.offset + bytes_of(first_row * info.dimensions[0]);
        self.buffer.resize(bytes_of(numbers.len() as u64) as usize, 0);
        let read = self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.read_exact(&mut self.buffer));
        read.map_err(|cause| ConvertError::Read { path: self.file.path().to_owned(), cause })?;
        Ok(dequantize(info.tensor_type.id(), &self.buffer, numbers)?)
    }
}
