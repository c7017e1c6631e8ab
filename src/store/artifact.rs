//! What a node yields: files, folders of files, record sets. Names and digests only; the bytes are in the store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Digest;

/// One stored file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// BLAKE3 of the content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

/// One output of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Artifact {
    /// One file, such as a GGUF.
    File(FileRef),
    /// Files by their relative path with `/`, such as a PEFT adapter.
    Folder {
        /// The files, by relative path.
        files: BTreeMap<String, FileRef>,
    },
    /// An id-sorted set of records (`crate::record`).
    Records(RecordsRef),
}

/// A record set: the root of its chunk tree, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsRef {
    /// Digest of the tree's root; equal for equal sets.
    pub root: Digest,
    /// Number of records.
    pub count: u64,
    /// Bytes of all records in their canonical form.
    pub bytes: u64,
}

impl Artifact {
    /// Returns the digest of the content as a whole, as it enters the keys of its readers.
    pub fn digest(&self) -> Digest {
        match self {
            Self::File(file) => file.digest,
            Self::Records(records) => records.root,
            Self::Folder { files } => {
                let mut hasher = blake3::Hasher::new();
                for (name, file) in files {
                    hasher.update(&(name.len() as u64).to_le_bytes());
                    hasher.update(name.as_bytes());
                    hasher.update(file.digest.as_bytes());
                }
                Digest::from_bytes(*hasher.finalize().as_bytes())
            }
        }
    }

    /// Returns the content's size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::File(file) => file.size,
            Self::Records(records) => records.bytes,
            Self::Folder { files } => files.values().map(|file| file.size).sum(),
        }
    }
}
