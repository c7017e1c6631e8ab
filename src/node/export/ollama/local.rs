//! The store of a server on this machine: where the file system can, a file comes there by sharing its blocks, so that it
//! is neither sent nor copied. Everywhere else it is sent.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::api::Server;
use super::error::{OllamaError, failure};
use super::recipe::Part;
use crate::node::export::sha256::sha256_at;
use crate::node::{NodeError, Run, ollama_store};

/// The folder of Ollama's models on this machine.
pub(super) struct LocalStore(PathBuf);

impl LocalStore {
    /// Returns the store that the server may have; `None` when that is elsewhere.
    pub(super) fn of(run: &Run<'_>, server: &Server<'_, '_>) -> Option<Self> {
        let folder = ollama_store::folder(|variable| run.secrets.environment(variable))?;
        (server.is_here() && folder.join("blobs").is_dir()).then_some(Self(folder))
    }

    /// Puts a file into the store, if it can share its blocks there and the server then has it. Returns whether it does.
    pub(super) fn share(&self, run: &Run<'_>, server: &Server<'_, '_>, part: &Part) -> Result<bool, NodeError> {
        let Some(blob) = self.put(run, part)? else { return Ok(false) };
        let has_it = server.has(part);
        if !matches!(has_it, Ok(true)) {
            // The store is another server's, which would keep the file for nothing.
            fs_err::remove_file(blob).map_err(unwritable)?;
        }
        has_it.map_err(failure)
    }

    /// Returns where the file lies then; `None` when its blocks cannot be shared, or when something lies there already.
    fn put(&self, run: &Run<'_>, part: &Part) -> Result<Option<PathBuf>, NodeError> {
        let blob = ollama_store::blob(&self.0, &part.digest());
        // Ollama deletes what has such a name when it starts, should we be killed here.
        let shared = tempfile::Builder::new()
            .prefix("tunesmith-")
            .make_in(self.0.join("blobs"), |path| reflink_copy::reflink(&part.path, path));
        let Ok(shared) = shared.map(tempfile::NamedTempFile::into_temp_path) else { return Ok(None) };
        // What is sent to the server it hashes; what lies in its store it believes.
        if sha256_at(run, &shared)? != part.sha256 {
            return Ok(None);
        }
        fs_err::set_permissions(&shared, std::fs::Permissions::from_mode(0o644)).map_err(unwritable)?;
        Ok(shared.persist_noclobber(&blob).is_ok().then_some(blob))
    }
}

fn unwritable(error: std::io::Error) -> NodeError {
    failure(OllamaError::Store(error))
}
