//! `include` and `exclude`: which files of many a source takes.

use globset::{Glob, GlobSet, GlobSetBuilder};

/// The globs of a source that lists files itself.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    include: GlobSet,
    exclude: GlobSet,
}

/// What the globs say of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Taken.
    Taken,
    /// No glob of `include` fits.
    NotIncluded,
    /// A glob of `exclude` fits.
    Excluded,
}

impl Selection {
    /// Makes a selection of globs that the settings' check found right.
    ///
    /// # Errors
    /// A glob that cannot be read.
    pub(super) fn new(include: &[String], exclude: &[String]) -> Result<Self, globset::Error> {
        Ok(Self { include: set(include)?, exclude: set(exclude)? })
    }

    /// Decides on a path, written with `/`.
    pub(super) fn choose(&self, path: &str) -> Choice {
        if !self.include.is_match(path) {
            Choice::NotIncluded
        } else if self.exclude.is_match(path) {
            Choice::Excluded
        } else {
            Choice::Taken
        }
    }
}

fn set(globs: &[String]) -> Result<GlobSet, globset::Error> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(Glob::new(glob)?);
    }
    builder.build()
}
