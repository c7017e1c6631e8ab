//! Saved states of a training, from which it goes on to the same bytes.
//!
//! A checkpoint belongs to a *trajectory*: all that shapes a step. The number of epochs is part of it only where the
//! learning rate depends on it, so that a longer training with a constant rate goes on where a shorter one ended.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::settings::Settings;
use crate::node::{NodeError, Run};
use crate::store::{Digest, FileRef};

/// The first bytes of a checkpoint.
const MAGIC: &[u8] = b"tunesmith checkpoint 1\n";

/// Where a training stands, beside its numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The epoch that is being trained, from 0.
    pub(super) epoch: u64,
    /// Steps of this epoch that are done.
    pub(super) step_in_epoch: u64,
    /// Steps in all that are done.
    pub(super) step: u64,
    /// The summed loss of this epoch.
    pub(super) loss: f64,
    /// Trained tokens of this epoch.
    pub(super) tokens: u64,
    /// Trained tokens in all.
    pub(super) all_tokens: u64,
    /// The mean loss of the last whole epoch.
    pub(super) last_loss: f64,
    /// The lines of the metrics so far.
    pub(super) metrics: String,
}

/// A saved state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checkpoint {
    pub(super) cursor: Cursor,
    /// Parameters, first moments, second moments.
    pub(super) numbers: [Vec<f32>; 3],
}

/// The name under which the store knows a trajectory's last checkpoint.
pub(super) fn name(run: &Run<'_>, settings: &Settings) -> String {
    let mut shape = settings.clone();
    if !shape.depends_on_length() {
        shape.epochs = 0;
    }
    let inputs: Vec<String> = run.job.inputs.iter().map(|input| input.artifact.digest().to_string()).collect();
    let parts = json!({ "version": run.job.kind_version, "settings": shape, "inputs": inputs });
    format!("train.lora checkpoint {}", Digest::of(parts.to_string().as_bytes()))
}

impl Checkpoint {
    /// Keeps the state as the trajectory's last.
    pub(super) fn save(&self, run: &Run<'_>, name: &str) -> Result<(), NodeError> {
        let file = run.store.put_file_bytes(&self.encode(run)?)?;
        Ok(run.store.put_state(name, &Some(file))?)
    }

    /// Returns the trajectory's last state, if it is there and whole. A damaged one is no error: training starts anew.
    pub(super) fn load(run: &Run<'_>, name: &str) -> Result<Option<Self>, NodeError> {
        let Some(Some(file)) = run.store.state::<Option<FileRef>>(name)? else { return Ok(None) };
        let Ok(path) = run.store.path(&file) else { return Ok(None) };
        Ok(fs_err::read(path).ok().and_then(|bytes| Self::decode(&bytes)))
    }

    fn encode(&self, run: &Run<'_>) -> Result<Vec<u8>, NodeError> {
        let cursor = serde_json::to_vec(&self.cursor).map_err(|error| run.bad_job(error.to_string()))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend((cursor.len() as u64).to_le_bytes());
        bytes.extend(cursor);
        for number in self.numbers.iter().flatten() {
            bytes.extend(number.to_le_bytes());
        }
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let (cursor, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let (numbers, left) = rest.as_chunks::<4>();
        if !left.is_empty() || !numbers.len().is_multiple_of(3) {
            return None;
        }
        let numbers: Vec<f32> = numbers.iter().copied().map(f32::from_le_bytes).collect();
        let part = |index: usize| numbers[index * numbers.len() / 3..][..numbers.len() / 3].to_vec();
        Some(Self { cursor: serde_json::from_slice(cursor).ok()?, numbers: [part(0), part(1), part(2)] })
    }
}
