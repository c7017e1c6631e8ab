//! Everything that is wrong with a manifest, together with the texts it points into.

use std::fmt;

use miette::Diagnostic;

use super::error::place;
use super::source::Sources;

/// A problem of any module that looks at a manifest.
pub type Problem = Box<dyn Diagnostic + Send + Sync + 'static>;

/// Of more problems the first ones are kept and the others counted: nobody reads them, and a flood takes memory.
pub const MOST_KEPT: usize = 1_000;

/// Problems of one sort while they are looked for: of a flood the first ones by place are kept.
#[derive(Clone, Debug)]
pub struct Gathered<P> {
    kept: Vec<P>,
    /// How many are counted only.
    others: usize,
    /// Whether something was not looked at any more.
    stopped: bool,
}

impl<P> Default for Gathered<P> {
    fn default() -> Self {
        Self { kept: Vec::new(), others: 0, stopped: false }
    }
}

impl<P: Diagnostic> Gathered<P> {
    /// Adds a problem.
    pub fn push(&mut self, problem: P) {
        self.kept.push(problem);
        // To sort at each one would take long.
        if self.kept.len() >= 2 * MOST_KEPT {
            self.shrink();
        }
    }

    /// Adds what was gathered elsewhere.
    pub fn absorb(&mut self, more: Self) {
        self.others += more.others;
        self.stopped |= more.stopped;
        for problem in more.kept {
            self.push(problem);
        }
    }

    /// Returns how many problems there are, those included that are counted only.
    pub fn len(&self) -> usize {
        self.kept.len() + self.others
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether there are more than are kept. Who asks leaves the rest unread, and the count is one of at least
    /// so many.
    pub fn stops(&mut self) -> bool {
        self.stopped |= self.len() > MOST_KEPT;
        self.stopped
    }

    fn shrink(&mut self) {
        if self.kept.len() > MOST_KEPT {
            self.kept.sort_by_cached_key(|problem| place(problem));
            self.others += self.kept.len() - MOST_KEPT;
            self.kept.truncate(MOST_KEPT);
        }
    }

    /// Returns the kept problems, and how many others there are.
    pub(crate) fn into_parts(mut self) -> (Vec<P>, Others) {
        self.shrink();
        (self.kept, Others { count: self.others, stopped: self.stopped })
    }
}

impl<P: Diagnostic> Extend<P> for Gathered<P> {
    fn extend<T: IntoIterator<Item = P>>(&mut self, more: T) {
        more.into_iter().for_each(|problem| self.push(problem));
    }
}

/// Problems that are not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// How many.
    pub count: usize,
    /// Whether there may be more of them: the rest was not read.
    pub stopped: bool,
}

/// Everything that is wrong, in order of place.
pub struct Problems {
    sources: Sources,
    list: Vec<Problem>,
    others: Others,
}

impl Problems {
    /// Sorts `list` by place and drops repetitions: the nodes of a matrix share their text.
    pub fn new(sources: Sources, list: Vec<Problem>) -> Self {
        let mut problems = Self { sources, list: Vec::new(), others: Others::default() };
        problems.extend(list);
        problems
    }

    /// Counts problems beyond those of the list.
    pub(crate) fn count_others(&mut self, others: Others) {
        self.others.count += others.count;
        self.others.stopped |= others.stopped;
    }

    /// Returns how many problems there are, those included that are counted only.
    pub fn count(&self) -> usize {
        self.list.len() + self.others.count
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
        self.others.count += self.list.len().saturating_sub(MOST_KEPT);
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
            count if self.others.stopped => write!(f, "the manifest has at least {count} problems"),
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
