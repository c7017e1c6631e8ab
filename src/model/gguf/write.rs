//! Writing a GGUF of version 3, one tensor at a time: what is in memory is the header and one tensor.
//!
//! The file appears under its name when it is whole, never before.

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::value::encode_text;
use super::{DEFAULT_ALIGNMENT, GgufError, MAGIC, TensorType, Value};

/// A tensor that will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTensor {
    /// The name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Sizes, the one that runs fastest first.
    pub dimensions: Vec<u64>,
    /// How the numbers will be stored.
    pub tensor_type: TensorType,
}

impl PlannedTensor {
    /// Returns the bytes of the numbers; rows that do not fill whole blocks have none.
    fn size(&self) -> u64 {
        self.tensor_type.bytes(self.dimensions.iter().product()).unwrap_or(0)
    }
}

/// Writes one file.
#[derive(Debug)]
pub struct Writer {
    output: BufWriter<NamedTempFile>,
    path: PathBuf,
    tensors: std::vec::IntoIter<PlannedTensor>,
    /// Bytes of the first of `tensors` that were written already.
    written: u64,
}

impl Writer {
    /// Starts the file that will be `path`: writes the header for `metadata` and for `tensors` in this order.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(path: &Path, metadata: &[(String, Value)], tensors: Vec<PlannedTensor>) -> Result<Self, GgufError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().prefix(".gguf-").tempfile_in(folder)?;
        let mut output = BufWriter::with_capacity(1 << 20, file);
        output.write_all(&header(metadata, &tensors))?;
        Ok(Self { output, path: path.to_owned(), tensors: tensors.into_iter(), written: 0 })
    }

    /// Writes numbers of the tensor that comes next: all, or the part that follows what was written of it.
    ///
    /// # Errors
    /// [`GgufError::TensorSize`] when they are more than announced; those of the file system.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), GgufError> {
        let tensor = self.tensors.as_slice().first();
        let (name, expected) = tensor.map_or(("", 0), |tensor| (tensor.name.as_str(), tensor.size()));
        let found = self.written + bytes.len() as u64;
        if found > expected {
            return Err(GgufError::TensorSize { name: name.into(), found, expected });
        }
        self.output.write_all(bytes)?;
        self.written = found;
        if found == expected {
            let padding = found.next_multiple_of(DEFAULT_ALIGNMENT) - found;
            self.output.write_all(&[0; DEFAULT_ALIGNMENT as usize][..padding as usize])?;
            self.tensors.next();
            self.written = 0;
        }
        Ok(())
    }

    /// Ends the file: it is durable and has its name when this returns.
    ///
    /// # Errors
    /// [`GgufError::MissingTensors`] when tensors were announced and not given; those of the file system.
    pub fn finish(self) -> Result<(), GgufError> {
        if self.tensors.len() > 0 {
            return Err(GgufError::MissingTensors { missing: self.tensors.len() });
        }
        let file = self.output.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }
}

fn header(metadata: &[(String, Value)], tensors: &[PlannedTensor]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        encode_text(key, &mut out);
        out.extend(value.type_id().to_le_bytes());
        value.encode(&mut out);
    }
    let mut offset = 0_u64;
    for tensor in tensors {
        encode_text(&tensor.name, &mut out);
        out.extend((tensor.dimensions.len() as u32).to_le_bytes());
        for size in &tensor.dimensions {
            out.extend(size.to_le_bytes());
        }
        out.extend(tensor.tensor_type.id().to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += tensor.size().next_multiple_of(DEFAULT_ALIGNMENT);
    }
    out.resize(out.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Array, Header};
    use super::*;

    fn sample(path: &Path) -> Vec<(String, Value)> {
        let metadata = vec![
            ("general.architecture".to_owned(), Value::String("llama".into())),
            ("zeta".to_owned(), Value::F64(-0.5)),
            ("alpha".to_owned(), Value::strings(["a".to_owned(), "ü".to_owned()])),
            ("beta".to_owned(), Value::Array(Array { element: 7, items: vec![Value::Bool(true), Value::Bool(false)] })),
            ("count".to_owned(), Value::I16(-3)),
        ];
        let tensors = vec![
            PlannedTensor { name: "one".into(), dimensions: vec![3, 1], tensor_type: TensorType::F32 },
            PlannedTensor { name: "two".into(), dimensions: vec![32], tensor_type: TensorType::from_id(8).unwrap() },
        ];
        let mut writer = Writer::create(path, &metadata, tensors).unwrap();
        writer.write(&[1; 8]).unwrap();
        writer.write(&[1; 4]).unwrap();
        assert!(!path.exists(), "a file that is not whole has no name");
        writer.write(&[2; 34]).unwrap();
        writer.finish().unwrap();
        metadata
    }

    #[test]
    fn what_is_written_is_read_back_in_the_same_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let metadata = sample(&path);
        let header = Header::read(&path).unwrap();
        assert_eq!(header.metadata, metadata);
        assert_eq!(header.tensors.iter().map(|tensor| tensor.offset).collect::<Vec<_>>(), [0, 32]);
        assert_eq!(header.parameters(), 35);
        let bytes = fs_err::read(&path).unwrap();
        let start = header.data_offset as usize;
        assert_eq!(bytes[start..start + 13], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        assert_eq!(bytes[start + 32..start + 66], [2; 34]);
    }

    #[test]
    fn a_tensor_of_another_size_and_a_missing_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let planned = PlannedTensor { name: "one".into(), dimensions: vec![4], tensor_type: TensorType::F16 };
        let mut writer = Writer::create(&path, &[], vec![planned.clone()]).unwrap();
        assert!(matches!(writer.write(&[0; 9]), Err(GgufError::TensorSize { found: 9, expected: 8, .. })));
        drop(writer);
        let writer = Writer::create(&path, &[], vec![planned]).unwrap();
        assert!(matches!(writer.finish(), Err(GgufError::MissingTensors { missing: 1 })));
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_header_that_is_cut_or_bent_anywhere_is_refused_without_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        sample(&path);
        let whole = fs_err::read(&path).unwrap();
        let bent = folder.path().join("bent.gguf");
        for length in 0..whole.len() - 31 {
            fs_err::write(&bent, &whole[..length]).unwrap();
            assert!(Header::read(&bent).is_err(), "cut at {length}");
        }
        for at in 0..Header::read(&path).unwrap().data_offset as usize {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            fs_err::write(&bent, &bytes).unwrap();
            // Some bends give another valid header; none may panic or allocate without bound.
            Header::read(&bent).ok();
        }
    }
}
