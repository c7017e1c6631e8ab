//! Quantised tensors of the GGUFs that earlier runs wrote, whatever node they were of.
//!
//! Nothing is stored twice: the store's memo says which file has which tensor, and a tensor is copied out of the file. A
//! file that is gone, or whose bytes changed, has none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::INFO;
use crate::model::convert;
use crate::model::gguf::Header;
use crate::node::tuned::Tuned;
use crate::node::{NodeError, Run};
use crate::store::{Digest, FileRef, MemoEntry, Store};

/// The tensors that the store knows of one model.
pub(super) struct Earlier<'a> {
    store: &'a Store,
    scope: Digest,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Files that were looked for: opened, or not to be had.
    files: BTreeMap<Digest, Option<Opened>>,
    /// Recipes of the file to be, by the tensor's name.
    recipes: BTreeMap<String, Digest>,
}

#[derive(Clone)]
struct Opened {
    file: Arc<std::fs::File>,
    path: std::path::PathBuf,
}

/// Where a tensor is, as the memo has it.
#[derive(Serialize, Deserialize)]
struct Known {
    file: FileRef,
    start: u64,
    bytes: u64,
}

impl<'a> Earlier<'a> {
    /// Opens what is known of the model that the run converts.
    pub(super) fn of(run: &Run<'a>) -> Result<Self, NodeError> {
        Ok(Self { store: run.store, scope: scope(run, "tensors")?, seen: Mutex::default() })
    }

    /// Notes where the tensors are in the file that was written.
    pub(super) fn remember(&self, header: &Header, file: FileRef) -> Result<(), NodeError> {
        for (tensor, input) in &self.seen().recipes {
            let Some(info) = header.tensor(tensor) else { continue };
            let known = Known { file, start: header.data_offset + info.offset, bytes: info.size };
            let value = serde_json::to_vec(&known).unwrap_or_default();
            let entry = MemoEntry { input: *input, first: String::new(), last: String::new(), value };
            self.store.put_memo(self.scope, entry)?;
        }
        Ok(())
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, file: &FileRef) -> Option<Opened> {
        let open = || {
            let path = self.store.path(file).ok()?;
            let file = fs_err::File::open(&path).ok()?.into_parts().0;
            Some(Opened { file: Arc::new(file), path })
        };
        self.seen().files.entry(file.digest).or_insert_with(open).clone()
    }
}

impl convert::Earlier for Earlier<'_> {
    fn find(&self, tensor: &str, recipe: Digest) -> Option<convert::Place> {
        self.seen().recipes.insert(tensor.to_owned(), recipe);
        let known = self.store.memo(&self.scope, &recipe).ok()??;
        let Known { file, start, bytes } = serde_json::from_slice(&known).ok()?;
        let end = start.checked_add(bytes)?;
        let Opened { file: open, path } = self.open(&file).filter(|_| end <= file.size)?;
        Some(convert::Place { file: open, path, start, bytes })
    }
}

/// Returns where what is known of the model that a run converts is kept: other models, and other versions of what computes,
/// have other places.
pub(super) fn scope(run: &Run<'_>, what: &str) -> Result<Digest, NodeError> {
    let base = Tuned::converted(run)?;
    Ok(Digest::of(format!("{} {} {what} {} {base}", INFO.name, INFO.version, crate::llama::VERSION).as_bytes()))
}
