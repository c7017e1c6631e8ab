//! Everything that is wrong with a manifest, together with the texts it points into.

use std::fmt;

use miette::Diagnostic;

use super::error::place;
use super::source::Sources;

/// A problem of any module that looks at a manifest.
pub type Problem = Box<dyn Diagnostic + Send + Sync + 'static>;

/// Of more problems the first ones are kept and the others counted: nobody reads them, and a flood takes memory.
pub const MOST_KEPT: usize = 1_000;

/// Everything that is wrong, in order of place.
pub struct Problems {
    sources: Sources,
    list: Vec<Problem>,
    /// How many are counted only.
    others: usize,
}

impl Problems {
    /// Sorts `list` by place and drops repetitions: the nodes of a matrix share their text.
    pub fn new(sources: Sources, list: Vec<Problem>) -> Self {
        let mut problems = Self { sources, list: Vec::new(), others: 0 };
        problems.extend(list);
        problems
    }

    /// Counts problems beyond those of the list.
    pub(crate) fn count_others(&mut self, others: usize) {
        self.others += others;
    }

    /// Returns how many problems there are, those included that are counted only.
    pub fn count(&self) -> usize {
        self.list.len() + self.others
    }

    /// Adds problems that point into the same texts.
    pub fn extend(&mut self, more: Vec<Problem>) {
        self.list.extend(more);
        self.list.sort_by_cached_key(|problem| place(&**problem));
        // Only what shares a place can be the same; the words of a flood would take long to compare.
        for shared in self.list.chunk_by_mut(|a, b| place(&**a) == place(&**b)).filter(|shared| shared.len() > 1) {
            shared.sort_by_cached_key(ToString::to_string);
        }
        self.list.dedup_by(|a, b| place(&**a) == place(&**b) && a.to_string() == b.to_string());
        self.others += self.list.len().saturating_sub(MOST_KEPT);
        self.list.truncate(MOST_KEPT);
    }

    /// Returns the texts that the problems point into.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Returns the problems alone.
    pub fn into_list(self) -> Vec<Problem> {
        self.list
    }

    /// Returns the problems in order of place; without source code: see [`Self::sources`].
    pub fn list(&self) -> &[Problem] {
        &self.list
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.iter().map(ToString::to_string)).finish()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count() {
            1 => write!(f, "the manifest has a problem"),
            count => write!(f, "the manifest has {count} problems"),
        }
    }
}

impl std::error::Error for Problems {}

impl Diagnostic for Problems {
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&self.sources)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.list.iter().map(|problem| &**problem as &dyn Diagnostic)))
    }
}
