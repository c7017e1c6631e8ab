//! The project that a command is about: its manifest, found and read, and its graph.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::settled::Part;
use super::{CliError, Context};
use crate::graph::Graph;
use crate::manifest::{MOST_BYTES, Manifest, Overlays};
use crate::store::Settled;

/// The name of a manifest.
pub(super) const FILE_NAME: &str = "pipeline.toml";
/// One byte more than a manifest may have, so that the manifest's own check refuses a larger file.
const MOST_READ: u64 = MOST_BYTES as u64 + 1;

/// A project whose manifest is right.
#[derive(Debug)]
pub struct Project {
    /// The folder of the manifest; paths in the manifest start from it.
    pub root: PathBuf,
    /// The manifest's file.
    pub file: PathBuf,
    /// The manifest.
    pub manifest: Manifest,
    /// The graph.
    pub graph: Graph,
}

impl Project {
    /// Finds, reads and checks the manifest.
    ///
    /// # Errors
    /// No manifest, one that cannot be read, and everything that is wrong with it.
    pub fn load(context: &Context<'_>) -> Result<Self, CliError> {
        Self::load_with(context, |_| ()).map(|(project, ())| project)
    }

    /// As [`Self::load`], with something that is started as soon as the store's folder is known.
    ///
    /// # Errors
    /// Those of [`Self::load`].
    pub(super) fn load_with<T>(context: &Context<'_>, start: impl FnOnce(&Path) -> T) -> Result<(Self, T), CliError> {
        let (file, manifest) = read(context)?;
        let root = file.parent().unwrap_or(Path::new("/")).to_owned();
        let started = start(&store_path(&root, &manifest));
        let graph = Graph::build(&manifest, &context.surroundings.catalog)?;
        Ok((Self { root, file, manifest, graph }, started))
    }

    /// Reads a part of the project that was right as a whole; `None` where the manifest cannot be read in parts.
    pub(super) fn load_part<T>(
        context: &Context<'_>,
        settled: &Settled,
        part: &Part,
        start: impl FnOnce(&Path) -> T,
    ) -> Option<(Self, T)> {
        let ManifestText { file, shown, text } = part.manifest();
        let manifest = Manifest::parse_without(shown, text, part.without())?;
        let graph = Graph::build(&manifest, &context.surroundings.catalog).ok()?;
        if !part.is(&graph, settled) {
            return None;
        }
        let root = file.parent().unwrap_or(Path::new("/")).to_owned();
        let started = start(&store_path(&root, &manifest));
        Some((Self { root, file: file.clone(), manifest, graph }, started))
    }

    /// Returns the store's folder.
    pub fn store(&self) -> PathBuf {
        store_path(&self.root, &self.manifest)
    }

    /// Returns the shared folder, if there is one.
    pub fn shared_store(&self) -> Option<PathBuf> {
        self.manifest.cache.remote.as_ref().map(|remote| self.root.join(&remote.value))
    }
}

fn store_path(root: &Path, manifest: &Manifest) -> PathBuf {
    root.join(manifest.cache.dir.as_ref().map_or("cache", |dir| &dir.value))
}

/// A manifest's file as it was read.
#[derive(Debug)]
pub(super) struct ManifestText {
    /// Where it is.
    pub(super) file: PathBuf,
    /// How to name it.
    pub(super) shown: String,
    /// What is in it.
    pub(super) text: String,
}

/// Finds the manifest's file and reads it; what is wrong with it is not yet an error.
pub(super) fn read(context: &Context<'_>) -> Result<(PathBuf, Manifest), CliError> {
    let ManifestText { file, shown, text } = text(context)?;
    Ok((file, parse(context, &shown, &text, context.globals.profile.as_deref())))
}

/// Reads a manifest's text with the command line's settings, and with this profile over it.
pub(super) fn parse(context: &Context<'_>, shown: &str, text: &str, profile: Option<&str>) -> Manifest {
    let overlays = Overlays { profile: profile.map(str::to_owned), set: context.globals.set.clone() };
    Manifest::parse(shown, text, &overlays)
}

/// Finds the manifest's file and reads its text.
pub(super) fn text(context: &Context<'_>) -> Result<ManifestText, CliError> {
    let folder = &context.surroundings.folder;
    let (file, shown) = match &context.globals.file {
        Some(file) => (folder.join(file), file.display().to_string()),
        None => find(folder)?,
    };
    let text = read_text(&file, &shown)?;
    Ok(ManifestText { file, shown, text })
}

/// Returns the name of the lock beside a manifest: a profile's nodes are other nodes to it.
pub(super) fn lock_name(manifest: &Path, profile: Option<&str>) -> String {
    let stem = manifest.file_stem().unwrap_or_default().to_string_lossy();
    profile.map_or_else(|| format!("{stem}.lock"), |profile| format!("{stem}.{profile}.lock"))
}

/// Returns the name of the list of excluded records beside a manifest; all profiles share it.
pub(super) fn exclusions_name(manifest: &Path) -> String {
    format!("{}.excluded.jsonl", manifest.file_stem().unwrap_or_default().to_string_lossy())
}

/// Returns the nearest manifest upwards, and how to name it from `folder`.
fn find(folder: &Path) -> Result<(PathBuf, String), CliError> {
    for (steps, ancestor) in folder.ancestors().enumerate() {
        let file = ancestor.join(FILE_NAME);
        if file.is_file() {
            return Ok((file, format!("{}{FILE_NAME}", "../".repeat(steps))));
        }
    }
    Err(CliError::NoManifest { folder: folder.to_owned() })
}

fn read_text(file: &Path, shown: &str) -> Result<String, CliError> {
    let unreadable = |cause| CliError::UnreadableManifest { file: shown.to_owned(), cause };
    let mut bytes = Vec::new();
    let opened = fs_err::File::open(file).map_err(unreadable)?;
    opened.take(MOST_READ).read_to_end(&mut bytes).map_err(unreadable)?;
    String::from_utf8(bytes).or_else(|error| {
        let offset = error.utf8_error().valid_up_to();
        // Cut within a character by the limit: the text before it is large enough to be refused as that.
        if offset as u64 + 4 > MOST_READ {
            return Ok(" ".repeat(error.as_bytes().len()));
        }
        Err(CliError::NotText { file: shown.to_owned(), offset })
    })
}
