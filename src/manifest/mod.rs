//! The manifest: a text to declarations that keep their places, with everything that is wrong in one go.
//!
//! It knows TOML, the tables of a `pipeline.toml`, and the keys that every node may have. It knows no kind of node, no
//! file system and no graph: those judge the declarations further.
//!
//! ```text
//! text ──syntax──▶ values with places ──overlay──▶ the same, with profile and --set ──read──▶ declarations
//! ```

mod declaration;
mod error;
mod events;
mod field;
mod overlay;
mod problems;
mod read;
mod run;
mod secret;
mod section;
mod size;
mod source;
mod syntax;
mod tree;
mod value;

pub(crate) use crate::suggest;
pub use declaration::{At, Axis, Declaration, Family, Input, Refresh, Selector};
pub use error::ManifestError;
pub use overlay::Overlays;
pub use problems::{Gathered, MOST_KEPT, Others, Problem, Problems};
pub use run::{CacheSettings, Device, RunOptions, RunSettings};
pub use section::Section;
pub(crate) use size::MOST_NODES;
pub use source::{Position, Sources};
pub use syntax::MOST_BYTES;
pub use value::{Data, Entry, Located, Spanned, Table, Value};

/// The names that a manifest declares, and how it is to be run.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    /// What reports call the manifest, such as `../pipeline.toml`.
    pub file: String,
    /// The texts that all places point into, literal secrets masked.
    pub sources: Sources,
    /// `[project]`
    pub project: Project,
    /// The nodes in the order of the text, `[model]` among them. A matrix is one declaration.
    pub declarations: Vec<Declaration>,
    /// `[run]`
    pub run: RunSettings,
    /// `[cache]`
    pub cache: CacheSettings,
    /// The chosen profile.
    pub profile: Option<String>,
    /// The names of all profiles.
    pub profiles: Vec<Spanned<String>>,
    /// What is wrong so far. Whoever judges the declarations further adds to it; while there is a problem, the rest of
    /// the manifest is what could be read. At most [`MOST_KEPT`], the first ones by place.
    pub problems: Vec<ManifestError>,
    /// What else is wrong.
    pub other_problems: Others,
    /// Whether the text was TOML at all, so that it makes sense to judge it further.
    pub readable: bool,
}

/// `[project]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Project {
    /// The project's name.
    pub name: Option<Spanned<String>>,
}

impl Manifest {
    /// Reads a manifest's text; `name` is what reports call it, such as `pipeline.toml`.
    pub fn parse(name: &str, text: &str, overlays: &Overlays) -> Self {
        let mut manifest = Self { file: name.to_owned(), profile: overlays.profile.clone(), ..Self::default() };
        let mut problems = field::Sink::default();
        let start = manifest.sources.add(name, text);
        let mut document = syntax::document(text, start, &mut problems);
        size::check(&document, &mut problems);
        manifest.readable = problems.is_empty();
        if manifest.readable {
            overlay::apply(&mut document, overlays, &mut manifest.sources, &mut problems);
            secret::withhold(&mut document, &mut manifest.sources, &mut problems);
            read::document(document, start, &mut manifest, &mut problems);
        } else {
            secret::mask_text(text, start, &mut manifest.sources);
        }
        (manifest.problems, manifest.other_problems) = problems.into_parts();
        manifest
    }

    /// Returns what is wrong so far, together with its texts. Under a flood of problems nobody mends what the
    /// declarations would show beyond it: then they count as not read.
    pub fn problems_so_far(&self) -> Problems {
        let list = self.problems.iter().map(|problem| Box::new(problem.clone()) as Problem).collect();
        let mut problems = Problems::new(self.sources.clone(), list);
        let stopped = self.is_flooded() && !self.declarations.is_empty();
        problems.count_others(Others { stopped, ..self.other_problems });
        problems
    }

    /// Returns whether there are more problems than are kept.
    pub fn is_flooded(&self) -> bool {
        self.other_problems.count > 0
    }

    /// Returns the manifest's file name, such as `pipeline.toml`.
    pub fn file_name(&self) -> &str {
        self.file.rsplit(['/', '\\']).next().unwrap_or_default()
    }

    /// Returns the declaration with this name, without matrix suffix.
    pub fn declaration(&self, name: &str) -> Option<&Declaration> {
        self.declarations.iter().find(|declaration| declaration.name.value == name)
    }
}

#[cfg(test)]
mod tests;
