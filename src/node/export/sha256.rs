//! The SHA-256 of stored files, by which servers of models and registries name what they are given.

use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use crate::node::{NodeError, Run};
use crate::store::{FileRef, StoreError, hexadecimal};

/// Returns the SHA-256 of a stored file in lower-case hexadecimal; it is taken once.
pub(super) fn sha256(run: &Run<'_>, file: &FileRef) -> Result<String, NodeError> {
    let memo = format!("sha256/{}", file.digest);
    if let Some(known) = run.store.state::<String>(&memo)? {
        return Ok(known);
    }
    let mut reader = fs_err::File::open(run.store.path(file)?).map_err(StoreError::from)?;
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
        run.progress(done, Some(file.size), "bytes", "SHA-256");
    }
    let digest = hexadecimal(&hasher.finalize());
    run.store.put_state(&memo, &digest)?;
    Ok(digest)
}
