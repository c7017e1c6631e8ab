//! Reading a GGUF's header. The file is not trusted: every length is held against what is left of it.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::{Array, DEFAULT_ALIGNMENT, GgufError, MAGIC, TensorType, Value};

/// Arrays in arrays: llama.cpp writes none; a hostile file must not exhaust the stack.
const DEEPEST_ARRAY: usize = 4;

/// All that stands before the tensors' numbers.
#[derive(Clone, Debug)]
pub struct Header {
    /// Where the file is, for messages.
    path: PathBuf,
    /// Metadata in the file's order.
    pub metadata: Vec<(String, Value)>,
    /// Tensors in the file's order.
    pub tensors: Vec<TensorInfo>,
    /// Where the first tensor starts, from the file's start.
    pub data_offset: u64,
    /// Bytes of the whole file.
    pub file_size: u64,
}

/// One tensor: its name and where its numbers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Sizes, the one that runs fastest first: a matrix of `rows × columns` has `[columns, rows]`.
    pub dimensions: Vec<u64>,
    /// How the numbers are stored.
    pub tensor_type: TensorType,
    /// From [`Header::data_offset`].
    pub offset: u64,
    /// Bytes of the numbers.
    pub size: u64,
}

impl TensorInfo {
    /// Returns the number of elements.
    pub fn elements(&self) -> u64 {
        self.dimensions.iter().product()
    }
}

impl Header {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// [`GgufError`] when the file is no GGUF of version 2 or 3, or when anything in it does not fit.
    pub fn read(path: &Path) -> Result<Self, GgufError> {
        let file = fs_err::File::open(path)?;
        let size = file.metadata()?.len();
        Reader { input: BufReader::new(file), path, at: 0, size }.header()
    }

    /// Returns the value of a metadata key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Returns a text of the metadata.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// Returns a text that a model must have.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`].
    pub fn need_text(&self, key: &str) -> Result<&str, GgufError> {
        self.text(key).ok_or_else(|| self.missing(key))
    }

    /// Returns a number that a model must have.
    ///
    /// # Errors
    /// [`GgufError::MissingKey`].
    pub fn need_number(&self, key: &str) -> Result<u64, GgufError> {
        self.get(key).and_then(Value::as_u64).ok_or_else(|| self.missing(key))
    }

    /// Returns the number of parameters: elements of all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(TensorInfo::elements).sum()
    }

    /// Returns the tensor with this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    fn missing(&self, key: &str) -> GgufError {
        GgufError::MissingKey { path: self.path.clone(), key: key.into() }
    }
}

/// Returns a name that is there twice.
fn twice<'a>(names: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let mut seen = BTreeSet::new();
    names.map(String::as_str).find(|name| !seen.insert(*name))
}

/// Returns two tensors that share bytes.
fn overlap(tensors: &[TensorInfo]) -> Option<(&str, &str)> {
    let mut places: Vec<&TensorInfo> = tensors.iter().filter(|tensor| tensor.size > 0).collect();
    places.sort_by_key(|tensor| tensor.offset);
    let pair = places.windows(2).find(|pair| pair[0].offset + pair[0].size > pair[1].offset)?;
    Some((&pair[0].name, &pair[1].name))
}

struct Reader<'a, R> {
    input: R,
    path: &'a Path,
    at: u64,
    size: u64,
}

impl<R: Read> Reader<'_, R> {
    fn header(mut self) -> Result<Header, GgufError> {
        let magic = self.bytes::<4>()?;
        if magic != *MAGIC {
            let found = magic.escape_ascii().to_string();
            return Err(GgufError::NotGguf { path: self.path.to_owned(), found });
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version { path: self.path.to_owned(), version });
        }
        let n_tensors = self.count(24, "tensors")?;
        let n_metadata = self.count(13, "metadata keys")?;
        let mut metadata = Vec::new();
        for _ in 0..n_metadata {
            let key = self.text()?;
            let type_id = self.u32()?;
            metadata.push((key, self.value(type_id, 0)?));
        }
        let mut tensors = Vec::new();
        for _ in 0..n_tensors {
            tensors.push(self.tensor()?);
        }
        self.place(metadata, tensors)
    }

    /// Checks that every tensor lies in the file.
    fn place(self, metadata: Vec<(String, Value)>, tensors: Vec<TensorInfo>) -> Result<Header, GgufError> {
        let alignment = metadata
            .iter()
            .find(|(key, _)| key == "general.alignment")
            .map_or(Some(DEFAULT_ALIGNMENT), |(_, value)| value.as_u64());
        let Some(alignment) = alignment.filter(|alignment| (1..=1 << 20).contains(alignment)) else {
            return Err(self.damaged("`general.alignment` is no useful number"));
        };
        if let Some(key) = twice(metadata.iter().map(|(key, _)| key)) {
            return Err(self.damaged(&format!("the metadata key `{key}` is there twice")));
        }
        if let Some(name) = twice(tensors.iter().map(|tensor| &tensor.name)) {
            return Err(self.damaged(&format!("the tensor `{name}` is there twice")));
        }
        let data_offset = self.at.next_multiple_of(alignment);
        for tensor in &tensors {
            let end = data_offset.checked_add(tensor.offset).and_then(|start| start.checked_add(tensor.size));
            if !tensor.offset.is_multiple_of(alignment) || end.is_none_or(|end| end > self.size) {
                return Err(self.damaged(&format!("tensor `{}` lies outside the file", tensor.name)));
            }
        }
        if let Some((one, other)) = overlap(&tensors) {
            return Err(self.damaged(&format!("the tensors `{one}` and `{other}` overlap")));
        }
        Ok(Header { path: self.path.to_owned(), metadata, tensors, data_offset, file_size: self.size })
    }

    fn tensor(&mut self) -> Result<TensorInfo, GgufError> {
        let name = self.text()?;
        let n_dimensions = self.u32()?;
        if !(1..=4).contains(&n_dimensions) {
            return Err(self.damaged(&format!("tensor `{name}` has {n_dimensions} dimensions")));
        }
        let mut dimensions = Vec::new();
        for _ in 0..n_dimensions {
            dimensions.push(self.u64()?);
        }
        let type_id = self.u32()?;
        let offset = self.u64()?;
        let Some(tensor_type) = TensorType::from_id(type_id) else {
            return Err(self.damaged(&format!("tensor `{name}` has the unknown type {type_id}")));
        };
        let elements = dimensions.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
        let whole_rows = dimensions[0].is_multiple_of(tensor_type.block_elements());
        let Some(size) = elements.and_then(|elements| tensor_type.bytes(elements)).filter(|_| whole_rows) else {
            return Err(
                self.damaged(&format!("tensor `{name}` has sizes {dimensions:?} that {tensor_type} cannot have"))
            );
        };
        Ok(TensorInfo { name, dimensions, tensor_type, offset, size })
    }

    fn value(&mut self, type_id: u32, depth: usize) -> Result<Value, GgufError> {
        Ok(match type_id {
            0 => Value::U8(self.bytes::<1>()?[0]),
            1 => Value::I8(i8::from_le_bytes(self.bytes()?)),
            2 => Value::U16(u16::from_le_bytes(self.bytes()?)),
            3 => Value::I16(i16::from_le_bytes(self.bytes()?)),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(i32::from_le_bytes(self.bytes()?)),
            6 => Value::F32(f32::from_le_bytes(self.bytes()?)),
            7 => Value::Bool(self.bytes::<1>()?[0] != 0),
            8 => Value::String(self.text()?),
            9 if depth < DEEPEST_ARRAY => {
                let element = self.u32()?;
                let count = self.count(1, "array elements")?;
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.value(element, depth + 1)?);
                }
                Value::Array(Array { element, items })
            }
            10 => Value::U64(self.u64()?),
            11 => Value::I64(i64::from_le_bytes(self.bytes()?)),
            12 => Value::F64(f64::from_le_bytes(self.bytes()?)),
            other => return Err(self.damaged(&format!("a metadata value has the unknown type {other}"))),
        })
    }

    fn text(&mut self) -> Result<String, GgufError> {
        let length = self.count(1, "bytes of text")?;
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| self.damaged("a text is not UTF-8"))
    }

    /// Reads a number of things that take at least `bytes` each.
    fn count(&mut self, bytes: u64, what: &str) -> Result<usize, GgufError> {
        let count = self.u64()?;
        if count.checked_mul(bytes).is_none_or(|bytes| bytes > self.size - self.at) {
            return Err(self.damaged(&format!("{count} {what} do not fit into the rest of the file")));
        }
        Ok(count as usize)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), GgufError> {
        match self.input.read_exact(bytes) {
            Ok(()) => {
                self.at += bytes.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.damaged("the file ends here")),
            Err(error) => Err(error.into()),
        }
    }

    fn damaged(&self, what: &str) -> GgufError {
        GgufError::Damaged { path: self.path.to_owned(), at: self.at, what: what.into() }
    }
}
