//! An open project: its store, its lock, and the resolver that all commands about the graph share.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::project::{exclusions_name, lock_name};
use super::settled::Part;
use super::{CliError, Context, Project};
use crate::engine::{EngineError, Exclusions, KindCatalog, Lockfile, Mode, Resolver, WarmStart};
use crate::graph::NodeIndex;
use crate::manifest::Input;
use crate::store::{FileLock, Opening, Settled, Store};

/// An open project.
pub(super) struct Session<'a> {
    /// Manifest and graph.
    pub(super) project: Project,
    /// The store.
    pub(super) store: Store,
    /// The records that no reader sees.
    pub(super) exclusions: Exclusions,
    lock: Mutex<Lockfile>,
    catalog: &'a KindCatalog,
    mode: Mode,
    in_use: Option<FileLock>,
    /// How many nodes of the manifest are left out, all of them fresh.
    others: usize,
}

impl<'a> Session<'a> {
    /// Opens the project that the command line is about.
    ///
    /// # Errors
    /// Whatever is wrong with the manifest, the store or the lock.
    pub(super) fn open(context: &Context<'a>, mode: Mode) -> Result<Self, CliError> {
        let mut session = Self::open_aside(context, mode)?;
        session.in_use = Some(session.store.in_use().map_err(EngineError::from)?);
        Ok(session)
    }

    /// Opens the part of the project that a command needs; `None` where the manifest cannot be read in parts.
    ///
    /// # Errors
    /// Whatever is wrong with the store or the lock.
    pub(super) fn open_part(
        context: &Context<'a>,
        mode: Mode,
        settled: &Settled,
        part: &Part,
    ) -> Result<Option<Self>, CliError> {
        let Some((project, opening)) = Project::load_part(context, settled, part, Store::cold) else {
            return Ok(None);
        };
        let mut session = Self::of(context, mode, project, opening)?;
        session.others = part.others();
        session.in_use = Some(session.store.in_use().map_err(EngineError::from)?);
        Ok(Some(session))
    }

    /// Opens the project without saying that its store is in use, for who wants it alone.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn open_aside(context: &Context<'a>, mode: Mode) -> Result<Self, CliError> {
        let (project, opening) = Project::load_with(context, Store::prepare)?;
        Self::of(context, mode, project, opening)
    }

    fn of(context: &Context<'a>, mut mode: Mode, project: Project, opening: Opening) -> Result<Self, CliError> {
        let store = opening.open(project.shared_store().as_deref()).map_err(EngineError::from)?;
        let lock = Mutex::new(Lockfile::read(
            &project.root.join(lock_name(&project.file, project.manifest.profile.as_deref())),
        )?);
        let exclusions = Exclusions::read(&project.root.join(exclusions_name(&project.file)))?;
        mode.now = now();
        let catalog = &context.surroundings.catalog;
        Ok(Self { project, store, exclusions, lock, catalog, mode, in_use: None, others: 0 })
    }

    /// Returns how many nodes of the manifest are left out, all of them fresh.
    pub(super) fn others(&self) -> usize {
        self.others
    }

    /// Returns what decides about nodes.
    pub(super) fn resolver(&self) -> Resolver<'_> {
        self.resolver_with(&self.exclusions)
    }

    /// Returns what decides about nodes where these records are excluded.
    pub(super) fn resolver_with<'s>(&'s self, exclusions: &'s Exclusions) -> Resolver<'s> {
        Resolver {
            catalog: self.catalog,
            graph: &self.project.graph,
            store: &self.store,
            lock: &self.lock,
            root: &self.project.root,
            profile: self.project.manifest.profile.as_deref(),
            mode: &self.mode,
            exclusions,
        }
    }

    /// Returns what a node's runs start from, where they start from an earlier result.
    pub(super) fn warm_start(&self, node: &str) -> Option<WarmStart> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).warm_start(node).cloned()
    }

    /// Returns the name of the lock's file.
    pub(super) fn lock_file(&self) -> String {
        lock_name(&self.project.file, self.project.manifest.profile.as_deref())
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

    /// Returns the locks beside the manifest, those of other profiles among them.
    ///
    /// # Errors
    /// A lock that cannot be read.
    pub(super) fn locks(&self) -> Result<Vec<Lockfile>, CliError> {
        let stem = self.project.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut locks = Vec::new();
        for entry in fs_err::read_dir(&self.project.root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let profile = name.strip_prefix(&stem).and_then(|rest| rest.strip_suffix(".lock"));
            if profile.is_some_and(|profile| profile.is_empty() || profile.starts_with('.')) {
                locks.push(Lockfile::read(&entry.path())?);
            }
        }
        Ok(locks)
    }

    /// Returns the node and the output that `NODE` or `NODE:OUTPUT` means.
    ///
    /// # Errors
    /// As [`Self::node`], and an output that the node does not have.
    pub(super) fn node_output(&self, name: &str) -> Result<(NodeIndex, String), CliError> {
        let output = Input::parse(name).and_then(|input| input.output);
        let node = if output.is_some() { name.rsplit_once(':').map_or(name, |(node, _)| node) } else { name };
        let index = self.node(node)?;
        let output = self.output(index, output.as_deref())?;
        Ok((index, output))
    }

    /// Returns the output of this name, or the one that the node's name alone means.
    ///
    /// # Errors
    /// The node has no such output.
    pub(super) fn output(&self, index: NodeIndex, name: Option<&str>) -> Result<String, CliError> {
        let node = &self.project.graph[index];
        let mut outputs = node.outputs.iter().map(|output| output.name.as_str());
        let found = match name {
            Some(name) => outputs.find(|output| *output == name),
            None => outputs.next(),
        };
        found.map(str::to_owned).ok_or_else(|| {
            let names: Vec<&str> = node.outputs.iter().map(|output| output.name.as_str()).collect();
            let help = if names.is_empty() {
                format!("it gives fields only: `tunesmith show {}`", node.name)
            } else {
                format!("it has `{}`", names.join("`, `"))
            };
            CliError::NoOutput { node: node.name.clone(), output: name.unwrap_or_default().to_owned(), help }
        })
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

impl Drop for Session<'_> {
    /// Leaves the graph to the end of the process: freeing ten thousand nodes takes a tenth of a build that has nothing
    /// to do.
    fn drop(&mut self) {
        std::mem::forget(std::mem::take(&mut self.project.graph));
        std::mem::forget(std::mem::take(&mut self.project.manifest));
    }
}

/// Returns seconds since 1970, for `refresh` policies and the log.
#[expect(clippy::disallowed_methods, reason = "the log and the `refresh` policies need the clock; no key sees it")]
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
