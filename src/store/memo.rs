//! The memo of record-wise work: what a chunk of records became under one kind with one set of settings.

use super::{Digest, Result, Store};

/// One memoised chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoEntry {
    /// Digest of the input chunk.
    pub input: Digest,
    /// The first record id in the chunk.
    pub first: String,
    /// The last record id in the chunk.
    pub last: String,
    /// What it became, in the caller's own form.
    pub value: Vec<u8>,
}

impl Store {
    /// Keeps what an input chunk became under `scope` (the digest of kind, version and settings).
    pub fn put_memo(&self, scope: Digest, entry: MemoEntry) -> Result<()> {
        if self.keeps_no_memos {
            return Ok(());
        }
        self.database.put_memo(scope, entry)
    }

    /// Returns the store as one that keeps no new memos: what is tried out in it is not what the next build goes on from.
    pub fn without_new_memos(mut self) -> Self {
        self.keeps_no_memos = true;
        self
    }

    /// Returns what an input chunk became under `scope`.
    pub fn memo(&self, scope: &Digest, input: &Digest) -> Result<Option<Vec<u8>>> {
        self.database.memo(scope, input)
    }
}
