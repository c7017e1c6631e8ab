//! An open project: its store, its lock, and the resolver that all commands about the graph share.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::{CliError, Context, Project};
use crate::engine::{EngineError, KindCatalog, Lockfile, Mode, Resolver};
use crate::graph::NodeIndex;
use crate::store::{FileLock, Store};

/// An open project.
pub(super) struct Session<'a> {
    /// Manifest and graph.
    pub(super) project: Project,
    /// The store.
    pub(super) store: Store,
    lock: Mutex<Lockfile>,
    catalog: &'a KindCatalog,
    mode: Mode,
    _in_use: FileLock,
}

impl<'a> Session<'a> {
    /// Opens the project that the command line is about.
    ///
    /// # Errors
    /// Whatever is wrong with the manifest, the store or the lock.
    pub(super) fn open(context: &Context<'a>, mut mode: Mode) -> Result<Self, CliError> {
        let project = Project::load(context)?;
        let cache = &project.manifest.cache;
        let folder = cache.dir.as_ref().map_or("cache", |dir| &dir.value);
        let remote = cache.remote.as_ref().map(|remote| project.root.join(&remote.value));
        let store = Store::open(&project.root.join(folder), remote.as_deref()).map_err(EngineError::from)?;
        let in_use = store.in_use().map_err(EngineError::from)?;
        let lock = Mutex::new(Lockfile::read(&lock_path(&project))?);
        mode.now = now();
        Ok(Self { project, store, lock, catalog: &context.surroundings.catalog, mode, _in_use: in_use })
    }

    /// Returns what decides about nodes.
    pub(super) fn resolver(&self) -> Resolver<'_> {
        Resolver {
            catalog: self.catalog,
            graph: &self.project.graph,
            store: &self.store,
            lock: &self.lock,
            root: &self.project.root,
            profile: self.project.manifest.profile.as_deref(),
            mode: &self.mode,
        }
    }

    /// Returns the lock as it is now.
    pub(super) fn lock(&self) -> Lockfile {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the nodes that the command line selects.
    pub(super) fn select(
        &self,
        targets: &[String],
        up_to: &[String],
        from: &[String],
    ) -> Result<BTreeSet<NodeIndex>, CliError> {
        Ok(self.project.graph.select(targets, up_to, from)?.into_iter().collect())
    }

    /// Returns the one node that a name means.
    ///
    /// # Errors
    /// No node has it, or a matrix' name means several.
    pub(super) fn node(&self, name: &str) -> Result<NodeIndex, CliError> {
        match self.project.graph.resolve(name)?.as_slice() {
            [index] => Ok(*index),
            several => {
                let names = several.iter().map(|index| self.project.graph[*index].name.clone()).collect();
                Err(CliError::SeveralNodes { name: name.to_owned(), names })
            }
        }
    }
}

/// Returns the lock's path: a profile's nodes are other nodes to it.
fn lock_path(project: &Project) -> std::path::PathBuf {
    let stem = project.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = match &project.manifest.profile {
        Some(profile) => format!("{stem}.{profile}.lock"),
        None => format!("{stem}.lock"),
    };
    project.root.join(name)
}

/// Returns seconds since 1970, for `refresh` policies and the log.
#[expect(clippy::disallowed_methods, reason = "the log and the `refresh` policies need the clock; no key sees it")]
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
