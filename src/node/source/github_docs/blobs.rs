//! The bytes of files by Git's names for them, kept in the store: what was fetched once is never asked for again, after
//! a kill in the middle no less than at the next refresh.

use sha1::Digest as _;

use super::error::GithubDocsError;
use crate::store::{Digest, MemoEntry, Store};

/// The bytes that earlier fetches brought.
pub(super) struct Blobs<'a> {
    store: &'a Store,
    scope: Digest,
}

impl<'a> Blobs<'a> {
    pub(super) fn of(store: &'a Store) -> Self {
        Self { store, scope: Digest::of(b"source.github-docs blobs 1") }
    }

    /// Returns the bytes with this name, if they were fetched before.
    pub(super) fn get(&self, id: &str) -> Result<Option<Vec<u8>>, GithubDocsError> {
        Ok(self.store.memo(&self.scope, &Digest::of(id.as_bytes()))?)
    }

    /// Keeps bytes, if they are those that `id` names; `false` when they are not.
    pub(super) fn put(&self, id: &str, bytes: Vec<u8>) -> Result<bool, GithubDocsError> {
        if !is_named(&bytes, id) {
            return Ok(false);
        }
        let input = Digest::of(id.as_bytes());
        let entry = MemoEntry { input, first: String::new(), last: String::new(), value: bytes };
        self.store.put_memo(self.scope, entry)?;
        Ok(true)
    }

    /// Returns when what was kept is safe from a kill.
    pub(super) fn flush(&self) -> Result<(), GithubDocsError> {
        Ok(self.store.flush()?)
    }
}

/// Returns whether a text can be Git's name for something: SHA-1, or SHA-256 in newer repositories.
pub(super) fn is_git_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether `id` is Git's name for the bytes.
fn is_named(bytes: &[u8], id: &str) -> bool {
    let head = format!("blob {}\0", bytes.len());
    if id.len() == 64 {
        format!("{:x}", sha2::Sha256::new().chain_update(head).chain_update(bytes).finalize()) == id
    } else {
        format!("{:x}", sha1::Sha1::new().chain_update(head).chain_update(bytes).finalize()) == id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_git_gives() {
        assert!(is_named(b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"));
        assert!(is_named(b"hello\n", "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4"));
        assert!(!is_named(b"hello", "ce013625030ba8dba906f756967f9e9ca394464a"));
        assert!(
            is_git_id("ce013625030ba8dba906f756967f9e9ca394464a") && !is_git_id("HEAD") && !is_git_id(&"g".repeat(40))
        );
    }
}
