//! Writing a GGUF of version 3 whose header is known before its numbers: they are written in any order, by any thread,
//! and none of them has to be in memory longer than that takes.
//!
//! The file appears under its name when it is whole, never before.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::NamedTempFile;

use super::super::disk::reserve;
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
    file: NamedTempFile,
    path: PathBuf,
    tensors: Vec<Place>,
    /// The tensor that [`Writer::write`] is at, and the bytes that it gave to it.
    next: (usize, u64),
}

/// Where a tensor's numbers go.
#[derive(Debug)]
struct Place {
    name: String,
    start: u64,
    size: u64,
    /// Bytes that were written.
    written: AtomicU64,
}

impl Writer {
    /// Starts the file that will be `path`: writes the header for `metadata` and for `tensors` in this order.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(path: &Path, metadata: &[(String, Value)], tensors: Vec<PlannedTensor>) -> Result<Self, GgufError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".gguf-").tempfile_in(folder)?;
        let header = header(metadata, &tensors);
        file.write_all(&header)?;
        let mut end = header.len() as u64;
        let place = |tensor: PlannedTensor| {
            let (start, size) = (end, tensor.size());
            end += Self::room(size);
            Place { name: tensor.name, start, size, written: AtomicU64::new(0) }
        };
        let tensors = tensors.into_iter().map(place).collect();
        // What nobody writes between tensors is zero.
        reserve(file.as_file(), end)?;
        Ok(Self { file, path: path.to_owned(), tensors, next: (0, 0) })
    }

    /// Returns the bytes before the first tensor of a file with this header.
    pub fn header_size(metadata: &[(String, Value)], tensors: &[PlannedTensor]) -> u64 {
        header(metadata, tensors).len() as u64
    }

    /// Returns the bytes that a tensor of so many takes in a file.
    pub fn room(bytes: u64) -> u64 {
        bytes.next_multiple_of(DEFAULT_ALIGNMENT)
    }

    /// Writes bytes of a tensor, from its byte `start` on. Each byte is written once, in any order.
    ///
    /// # Errors
    /// [`GgufError::TensorSize`] when they reach beyond the tensor; those of the file system.
    pub fn write_at(&self, tensor: usize, start: u64, bytes: &[u8]) -> Result<(), GgufError> {
        let Some(place) = self.tensors.get(tensor) else {
            return Err(GgufError::TensorSize { name: String::new(), found: bytes.len() as u64, expected: 0 });
        };
        let found = start + bytes.len() as u64;
        if found > place.size {
            return Err(GgufError::TensorSize { name: place.name.clone(), found, expected: place.size });
        }
        self.file.as_file().write_all_at(bytes, place.start + start)?;
        place.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Writes numbers of the tensor that comes next: all, or the part that follows what was written of it.
    ///
    /// # Errors
    /// Those of [`Writer::write_at`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), GgufError> {
        let (tensor, start) = self.next;
        self.write_at(tensor, start, bytes)?;
        let end = start + bytes.len() as u64;
        let is_whole = self.tensors.get(tensor).is_some_and(|place| place.size == end);
        self.next = if is_whole { (tensor + 1, 0) } else { (tensor, end) };
        Ok(())
    }

    /// Ends the file: it has its name when this returns. Whoever keeps it makes it durable.
    ///
    /// # Errors
    /// [`GgufError::MissingTensors`] when tensors were announced and not given; those of the file system.
    pub fn finish(self) -> Result<(), GgufError> {
        let is_missing = |place: &&Place| place.written.load(Ordering::Relaxed) != place.size;
        let missing = self.tensors.iter().filter(is_missing).count();
        if missing > 0 {
            return Err(GgufError::MissingTensors { missing });
        }
        self.file.persist(&self.path).map_err(|error| error.error)?;
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
        offset += Writer::room(tensor.size());
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
        writer.write_at(1, 0, &[2; 34]).unwrap();
        writer.write(&[1; 8]).unwrap();
        assert!(!path.exists(), "a file that is not whole has no name");
        writer.write(&[1; 4]).unwrap();
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
        writer.write(&[0; 4]).unwrap();
        assert!(matches!(writer.write(&[0; 5]), Err(GgufError::TensorSize { found: 9, expected: 8, .. })));
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
