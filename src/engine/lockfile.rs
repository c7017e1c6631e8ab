//! `pipeline.lock`: the snapshots of remote sources, and the results that warm starts begin with, so that the same commit
//! gives the same model.
//!
//! Sorted by node, one table a node, no times: two branches that pinned different sources merge in git without help.
//! Local files are not in it: git has them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::EngineError;
use crate::store::{Artifact, Digest, write_atomically};

/// The version of the lock's form.
const VERSION: u32 = 1;

/// The lock as read from its file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lockfile {
    path: PathBuf,
    entries: BTreeMap<String, LockEntry>,
    warm_starts: BTreeMap<String, WarmStart>,
}

/// One pinned snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockEntry {
    /// The kind, as `family.type`.
    pub kind: String,
    /// Digest of the settings that the snapshot was taken with.
    pub settings: Digest,
    /// The outputs by name.
    pub outputs: BTreeMap<String, Artifact>,
}

/// An earlier result of a node, from which its runs start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WarmStart {
    /// The kind, as `family.type`.
    pub kind: String,
    /// Digest of the base model that it was made with.
    pub model: Digest,
    /// Warm starts between the last run in full and this result.
    pub warm_starts: u64,
    /// The output that runs start from, by name.
    pub outputs: BTreeMap<String, Artifact>,
    /// The record sets that it was made from, by `NODE:OUTPUT`.
    pub rows: BTreeMap<String, Artifact>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Form {
    version: u32,
    #[serde(default)]
    node: BTreeMap<String, LockEntry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    warm_start: BTreeMap<String, WarmStart>,
}

impl Lockfile {
    /// Reads the lock at `path`; an absent one is empty.
    ///
    /// # Errors
    /// [`EngineError::Lock`] when it is not a lock of this version, such as after a merge with conflicts.
    pub fn read(path: &Path) -> Result<Self, EngineError> {
        let text = match fs_err::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), ..Self::default() });
            }
            Err(error) => return Err(error.into()),
        };
        let bad = |what: String| EngineError::Lock { path: path.to_owned(), what };
        let form: Form = toml::from_str(&text).map_err(|error| bad(error.message().to_owned()))?;
        if form.version != VERSION {
            return Err(bad(format!("its version is {}, this tunesmith reads {VERSION}", form.version)));
        }
        Ok(Self { path: path.to_owned(), entries: form.node, warm_starts: form.warm_start })
    }

    /// Returns a node's entry.
    pub fn get(&self, node: &str) -> Option<&LockEntry> {
        self.entries.get(node)
    }

    /// Returns all entries by node.
    pub fn entries(&self) -> &BTreeMap<String, LockEntry> {
        &self.entries
    }

    /// Returns what a node's runs start from, where they start from an earlier result.
    pub fn warm_start(&self, node: &str) -> Option<&WarmStart> {
        self.warm_starts.get(node)
    }

    /// Returns all results that runs start from, by node.
    pub fn warm_starts(&self) -> &BTreeMap<String, WarmStart> {
        &self.warm_starts
    }

    /// Takes in what another build has pinned since the file was read.
    pub(super) fn reread(&mut self) -> Result<(), EngineError> {
        *self = Self::read(&self.path)?;
        Ok(())
    }

    /// Returns where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Pins a snapshot; writes the file at once, so that a later failure cannot lose what was fetched. The caller keeps
    /// other builds from writing it meanwhile.
    pub fn pin(&mut self, node: &str, entry: LockEntry) -> Result<(), EngineError> {
        self.reread()?;
        if self.entries.get(node) == Some(&entry) {
            return Ok(());
        }
        self.entries.insert(node.to_owned(), entry);
        self.write()
    }

    /// Pins what a node's runs start from, or with nothing lets them run in full again; returns whether that is a change.
    pub(super) fn pin_warm_start(&mut self, node: &str, start: Option<WarmStart>) -> Result<bool, EngineError> {
        self.reread()?;
        if self.warm_starts.get(node) == start.as_ref() {
            return Ok(false);
        }
        match start {
            Some(start) => self.warm_starts.insert(node.to_owned(), start),
            None => self.warm_starts.remove(node),
        };
        self.write()?;
        Ok(true)
    }

    fn write(&self) -> Result<(), EngineError> {
        let form = Form { version: VERSION, node: self.entries.clone(), warm_start: self.warm_starts.clone() };
        let text = toml::to_string(&form)
            .map_err(|error| EngineError::Lock { path: self.path.clone(), what: error.to_string() })?;
        let text = format!("# Written by tunesmith; commit it: the same lock gives the same model.\n{text}");
        write_atomically(&self.path, text.as_bytes())?;
        Ok(())
    }
}
