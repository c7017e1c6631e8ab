//! The base model's files: one GGUF, or a folder of safetensors; tensors by the names and layouts of transformers.
//!
//! Whatever the file, the query and key projections come out in transformers' order of rows (the two halves of a head
//! one after the other), so that an adapter trained on either fits both. Files are not trusted: every length and shape
//! is checked before it is used. What is written here are weights in the form of transformers, which can be a base again.

mod blocks;
mod config_json;
mod finite;
mod folder;
mod gguf;
mod inventory;
mod matrix;
mod rope;
mod shards;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::config::ModelConfig;
use super::template::ChatTemplate;
use super::tokenizer::Tokenizer;
use super::{ModelError, Result};
use crate::store::{Artifact, Store, StoreError};

pub use config_json::stored_as;
pub(super) use folder::Folder;
pub use folder::are_weights;
pub(super) use gguf::gguf_name;
pub use inventory::parameters;
pub(super) use inventory::{is_needless, tensors as inventory};
pub use matrix::{Matrix, Storage};
pub(super) use rope::scaling as rope_scaling;
pub use shards::{Float, PlannedTensor, ShardError, Shards};

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
    config: ModelConfig,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Gguf(gguf::Gguf),
    Folder(Folder),
}

impl Base {
    /// Opens a base model, and checks its hyperparameters and the shapes of its tensors.
    ///
    /// # Errors
    /// [`ModelError`] when a file is absent or damaged, when the model is of an architecture that is not known, when a
    /// tensor is missing, of another shape, or would not be computed with.
    pub fn open(files: &WeightFiles) -> Result<Self> {
        match files {
            WeightFiles::Gguf(path) => {
                let gguf = gguf::Gguf::open(path)?;
                let config = gguf.config()?.checked()?;
                gguf.check(&config)?;
                Ok(Self { config, source: Source::Gguf(gguf) })
            }
            WeightFiles::Folder(files) => {
                let folder = Folder::open(files)?;
                let config = folder.config()?.checked()?;
                folder.check(&config)?;
                Ok(Self { config, source: Source::Folder(folder) })
            }
        }
    }

    /// Returns the hyperparameters.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns the tokenizer.
    ///
    /// # Errors
    /// [`ModelError`] when it is absent, damaged, of a kind that cannot be rebuilt from a GGUF, or has tokens that the
    /// weights do not have.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let tokenizer = match &self.source {
            Source::Gguf(gguf) => gguf.tokenizer(),
            Source::Folder(folder) => folder.tokenizer(),
        }?;
        let (id, vocabulary) = (tokenizer.largest_id(), self.config.vocabulary);
        if id as usize >= vocabulary {
            return Err(ModelError::TokenizerSize { id, vocabulary });
        }
        Ok(tokenizer)
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
            Source::Gguf(gguf) => gguf.vector(&self.config, name, length),
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
