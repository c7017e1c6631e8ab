//! The header of a safetensors file, read with every place checked: where each tensor lies, and how it is stored.
//!
//! Nothing here decodes numbers. The file is not trusted: a header is bounded, and tensors lie in the file, apart from
//! each other, with as many bytes as their shapes say.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde::Deserialize;
use serde_json::Value;

/// The longest header that is read, in bytes: the format's own limit. A model of 100,000 tensors has 12 MB.
const LONGEST_HEADER: u64 = 100_000_000;

/// What can be wrong with a safetensors file.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SafetensorsError {
    /// A header that does not fit its file.
    #[error("`{path}` is no whole safetensors file: {what}")]
    #[diagnostic(
        code(safetensors::damaged),
        help("fetch the file again and compare its size and digest with the publisher's")
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A header that is not the JSON of the format.
    #[error("`{path}` has a header that is not the JSON of safetensors")]
    #[diagnostic(
        code(safetensors::bad_header),
        help("fetch the file again; a pointer of git-lfs in its place is a usual reason")
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// The file system.
    #[error(transparent)]
    #[diagnostic(code(safetensors::io), help("check that the file is there and can be read"))]
    Io(#[from] std::io::Error),
}

/// Where one tensor is, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// The type of its numbers, such as `BF16`.
    pub dtype: String,
    /// Sizes, the one that runs slowest first.
    pub shape: Vec<usize>,
    /// Where it starts, from the file's start.
    pub start: u64,
    /// Its bytes.
    pub bytes: u64,
}

impl TensorInfo {
    /// Returns the number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|size| *size as u64).product()
    }
}

/// One entry of the header's JSON.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// Reads the header of the file at `path`: its tensors by name.
///
/// # Errors
/// [`SafetensorsError`] when the file is no safetensors file, or when anything in its header does not fit.
pub fn read_header(path: &Path) -> Result<BTreeMap<String, TensorInfo>, SafetensorsError> {
    let damaged = |what: String| SafetensorsError::Damaged { path: path.to_owned(), what };
    let json = |cause| SafetensorsError::Json { path: path.to_owned(), cause };
    let mut file = fs_err::File::open(path)?;
    let size = file.metadata()?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| damaged(format!("it has only {size} bytes")))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER || length.saturating_add(8) > size {
        return Err(damaged(format!("its header claims {length} of {size} bytes")));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header)?;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&header).map_err(json)?;
    let mut tensors = BTreeMap::new();
    for (name, entry) in header {
        if name == "__metadata__" {
            continue;
        }
        let entry: Entry = serde_json::from_value(entry).map_err(json)?;
        let info = place(entry, 8 + length, size).map_err(|what| damaged(format!("tensor `{name}` {what}")))?;
        tensors.insert(name, info);
    }
    match overlap(&tensors) {
        Some((one, other)) => Err(damaged(format!("the tensors `{one}` and `{other}` overlap"))),
        None => Ok(tensors),
    }
}

/// Checks one entry against the file's size; `data` is where the header ends.
fn place(entry: Entry, data: u64, size: u64) -> Result<TensorInfo, String> {
    let [start, end] = entry.data_offsets;
    let claims = format!("claims the bytes {start} to {end}");
    if start > end || data.checked_add(end).is_none_or(|end| end > size) {
        return Err(format!("{claims}, the file has {}", size - data));
    }
    let elements = entry.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size as u64));
    let needed = elements.and_then(|elements| elements.checked_mul(element_bytes(&entry.dtype).unwrap_or(1)));
    let fits = match element_bytes(&entry.dtype) {
        Some(_) => needed == Some(end - start),
        // A type that is not known here may take less than a byte an element.
        None => elements.is_some(),
    };
    if !fits {
        return Err(format!("{claims} for the shape {:?} of {}", entry.shape, entry.dtype));
    }
    Ok(TensorInfo { dtype: entry.dtype, shape: entry.shape, start: data + start, bytes: end - start })
}

/// Returns two tensors that share bytes.
fn overlap(tensors: &BTreeMap<String, TensorInfo>) -> Option<(&str, &str)> {
    let mut places: Vec<_> = tensors.iter().filter(|(_, info)| info.bytes > 0).collect();
    places.sort_by_key(|(_, info)| info.start);
    let pair = places.windows(2).find(|pair| pair[0].1.start + pair[0].1.bytes > pair[1].1.start)?;
    Some((pair[0].0, pair[1].0))
}

/// Returns the bytes of an element, for the types that have whole ones.
fn element_bytes(dtype: &str) -> Option<u64> {
    match dtype {
        "F64" | "I64" | "U64" => Some(8),
        "F32" | "I32" | "U32" => Some(4),
        "F16" | "BF16" | "I16" | "U16" => Some(2),
        "F8_E4M3" | "F8_E5M2" | "I8" | "U8" | "BOOL" => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a file of this header and so many bytes of data.
    fn read(header: &str, data: usize) -> Result<BTreeMap<String, TensorInfo>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        fs_err::write(&path, bytes).unwrap();
        let place = format!("`{}` ", path.display());
        read_header(&path).map_err(|error| error.to_string().replace(&place, ""))
    }

    #[test]
    fn a_tensor_lies_in_its_file_with_the_bytes_of_its_shape() {
        let header = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let tensors = read(header, 8).unwrap();
        assert_eq!(tensors["a"].start, 8 + header.len() as u64);
        assert_eq!(
            read(header, 7).unwrap_err(),
            "is no whole safetensors file: tensor `a` claims the bytes 0 to 8, the file has 7"
        );
        let more = header.replace("[2]", "[3]");
        assert_eq!(
            read(&more, 8).unwrap_err(),
            "is no whole safetensors file: tensor `a` claims the bytes 0 to 8 for the shape [3] of F32"
        );
    }

    #[test]
    fn hostile_headers_are_errors_and_allocate_nothing() {
        let refused = |shape: &str, offsets: &str| {
            read(&format!(r#"{{"a":{{"dtype":"F16","shape":{shape},"data_offsets":{offsets}}}}}"#), 8).unwrap_err()
        };
        let huge = 1_u64 << 60;
        assert!(refused(&format!("[{huge},{huge}]"), "[0,8]").contains("for the shape"));
        assert!(refused("[4]", &format!("[0,{}]", u64::MAX)).contains("claims the bytes"));
        assert!(refused("[4]", "[8,0]").contains("claims the bytes"));
        let overlap = r#"{"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#;
        assert!(read(overlap, 8).unwrap_err().contains("the tensors `a` and `b` overlap"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        fs_err::write(&path, (1_u64 << 60).to_le_bytes()).unwrap();
        assert!(read_header(&path).unwrap_err().to_string().contains("its header claims"));
        fs_err::write(&path, "ver").unwrap();
        assert!(read_header(&path).unwrap_err().to_string().contains("only 3 bytes"));
    }
}
