//! Quantised tensors that earlier files have: they are copied, not made again.
//!
//! A tensor's recipe is a digest of all that its bytes follow from beside the base model: its name, the module that is merged
//! into it, how it is rounded, its type, and how much its columns matter. So of a model whose adapter, whose file type or
//! whose chosen types changed, only those tensors are quantised that changed with it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::Piece;
use crate::model::lora::PeftModule;
use crate::store::Digest;

/// Knows quantised tensors of earlier files by their recipes. The base model is part of none: whoever implements this tells
/// bases apart, and versions of the quantiser.
pub trait Earlier: Sync {
    /// Returns where the bytes of a tensor with this recipe lie, if a file still has them. Asked once for each quantised
    /// tensor of the file to be.
    fn find(&self, tensor: &str, recipe: Digest) -> Option<Place>;
}

/// Where a tensor's bytes lie.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file.
    pub file: Arc<File>,
    /// Its path, for messages.
    pub path: PathBuf,
    /// The first byte.
    pub start: u64,
    /// How many there are.
    pub bytes: u64,
}

/// Returns the recipe of the tensor that a piece is of.
pub(super) fn recipe(piece: &Piece<'_>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    text(&mut hasher, &piece.tensor.name);
    text(&mut hasher, piece.stored.name());
    text(&mut hasher, piece.planned.kind.name());
    numbers(&mut hasher, piece.importance);
    if let Some(PeftModule { a, b, magnitude, rank, alpha: _, scale }) = piece.module {
        numbers(&mut hasher, Some(a));
        numbers(&mut hasher, Some(b));
        numbers(&mut hasher, magnitude.as_deref());
        hasher.update(&(*rank as u64).to_le_bytes());
        hasher.update(&scale.to_le_bytes());
    }
    Digest::from_bytes(*hasher.finalize().as_bytes())
}

/// Takes in a text, its length first.
fn text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

/// Takes in numbers, first how many there are; one more than that where there are any to be.
fn numbers(hasher: &mut blake3::Hasher, numbers: Option<&[f32]>) {
    hasher.update(&numbers.map_or(0, |numbers| numbers.len() as u64 + 1).to_le_bytes());
    hasher.update(bytemuck::cast_slice(numbers.unwrap_or_default()));
}
