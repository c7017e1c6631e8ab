//! The base model's files: one GGUF, or a folder of safetensors; tensors by the names and layouts of transformers.
//!
//! Whatever the file, the query and key projections come out in transformers' order of rows (the two halves of a head
//! one after the other), so that an adapter trained on either fits both. Files are not trusted: every length and shape
//! is checked before it is used. Nothing is written here.

mod blocks;
mod folder;
mod gguf;
mod matrix;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::config::LlamaConfig;
use super::template::ChatTemplate;
use super::tokenizer::Tokenizer;
use super::{ModelError, Result};
use crate::store::{Artifact, Store, StoreError};

pub(super) use folder::Folder;
pub(super) use gguf::gguf_name;
pub use matrix::{Matrix, Storage};

/// Where a base model's files are on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightFiles {
    /// One GGUF.
    Gguf(PathBuf),
    /// A folder's files by their relative names; the names in the file system may be others, such as digests.
    Folder(BTreeMap<String, PathBuf>),
}

impl WeightFiles {
    /// Returns where the files of a stored base model are; `None` when the artifact is none.
    ///
    /// # Errors
    /// Those of [`Store::path`].
    pub fn of(store: &Store, artifact: &Artifact) -> std::result::Result<Option<Self>, StoreError> {
        Ok(match artifact {
            Artifact::File(file) => Some(Self::Gguf(store.path(file)?)),
            Artifact::Folder { files } => Some(Self::Folder(store.paths(files)?)),
            Artifact::Records(_) => None,
        })
    }
}

/// An open base model: its hyperparameters are read, its tensors are read when they are asked for.
#[derive(Debug)]
pub struct Base {
    config: LlamaConfig,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Gguf(gguf::Gguf),
    Folder(Folder),
}

impl Base {
    /// Opens a base model and checks its hyperparameters.
    ///
    /// # Errors
    /// [`ModelError`] when a file is absent or damaged, or when the model is not of the Llama family.
    pub fn open(files: &WeightFiles) -> Result<Self> {
        let (config, source) = match files {
            WeightFiles::Gguf(path) => {
                let gguf = gguf::Gguf::open(path)?;
                (gguf.config()?, Source::Gguf(gguf))
            }
            WeightFiles::Folder(files) => {
                let folder = Folder::open(files)?;
                (folder.config()?, Source::Folder(folder))
            }
        };
        Ok(Self { config: config.checked()?, source })
    }

    /// Returns the hyperparameters.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Returns the tokenizer.
    ///
    /// # Errors
    /// [`ModelError`] when it is absent, damaged, or of a kind that cannot be rebuilt from a GGUF.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        match &self.source {
            Source::Gguf(gguf) => gguf.tokenizer(),
            Source::Folder(folder) => folder.tokenizer(),
        }
    }

    /// Returns the chat template.
    ///
    /// # Errors
    /// [`ModelError::NoTemplate`] for a model without one, [`ModelError::Template`] for one that does not parse.
    pub fn template(&self) -> Result<ChatTemplate> {
        match &self.source {
            Source::Gguf(gguf) => gguf.template(),
            Source::Folder(folder) => folder.template(),
        }
    }

    /// Returns a matrix of `rows × columns` by its name in transformers, such as
    /// `model.layers.0.self_attn.q_proj.weight`.
    ///
    /// # Errors
    /// [`ModelError`] when it is absent, of another shape, or of a type that is not read.
    pub fn matrix(&self, name: &str, rows: usize, columns: usize, storage: Storage) -> Result<Matrix> {
        match &self.source {
            Source::Gguf(gguf) => gguf.matrix(&self.config, name, [rows, columns], storage),
            Source::Folder(folder) => folder.matrix(name, [rows, columns], storage),
        }
    }

    /// Returns a vector of `length` numbers by its name in transformers, such as `model.norm.weight`.
    ///
    /// # Errors
    /// [`ModelError`] when it is absent, of another shape, or of a type that is not read.
    pub fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        match &self.source {
            Source::Gguf(gguf) => gguf.vector(name, length),
            Source::Folder(folder) => folder.vector(name, length),
        }
    }
}

/// Refuses a tensor whose shape is not the one that the hyperparameters say.
fn check_shape(name: &str, found: &[usize], expected: &[usize]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(ModelError::Shape { name: name.to_owned(), found: found.to_vec(), expected: expected.to_vec() })
}

#[cfg(test)]
pub(super) mod tests;
