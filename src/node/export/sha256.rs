//! The SHA-256 of stored files, by which servers of models and registries name what they are given.

use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::node::{NodeError, Run};
use crate::store::{FileRef, StoreError, hexadecimal};

/// Returns the SHA-256 of a stored file in lower-case hexadecimal; it is taken once.
pub(super) fn sha256(run: &Run<'_>, file: &FileRef) -> Result<String, NodeError> {
    let memo = format!("sha256/{}", file.digest);
    if let Some(known) = run.store.state::<String>(&memo)? {
        return Ok(known);
    }
    let digest = sha256_at(run, &run.store.path(file)?)?;
    run.store.put_state(&memo, &digest)?;
    Ok(digest)
}

/// Returns the SHA-256 of what lies at a path in lower-case hexadecimal.
pub(super) fn sha256_at(run: &Run<'_>, path: &Path) -> Result<String, NodeError> {
    let mut reader = fs_err::File::open(path).map_err(StoreError::from)?;
    let size = reader.metadata().map_err(StoreError::from)?.len();
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        run.check_cancelled()?;
        let count = reader.read(&mut buffer).map_err(StoreError::from)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        done += count as u64;
        run.progress(done, Some(size), "bytes", "SHA-256");
    }
    Ok(hexadecimal(&hasher.finalize()))
}
