//! The kinds of nodes as the graph sees them.

use serde_json::Value;

use crate::graph::{self, Catalog, KindFacts, LocalFiles, Output, Refusal};
use crate::manifest;
use crate::node::{self, Kind};

/// All kinds of this build.
pub struct KindCatalog {
    kinds: Vec<KindOf>,
}

struct KindOf(&'static dyn Kind);

impl KindCatalog {
    /// Returns the kinds that this build has.
    pub fn all() -> Self {
        Self::of(node::kinds())
    }

    /// Returns a catalog of these kinds only.
    pub fn of(kinds: impl IntoIterator<Item = &'static dyn Kind>) -> Self {
        Self { kinds: kinds.into_iter().map(KindOf).collect() }
    }

    /// Returns the kinds, by family and name.
    pub fn kinds(&self) -> impl Iterator<Item = &'static dyn Kind> {
        self.kinds.iter().map(|entry| entry.0)
    }

    /// Returns the kind of a graph's node; absent only for a node of another catalog.
    pub fn kind(&self, node: &graph::Node) -> Option<&'static dyn Kind> {
        self.entry(node.family, &node.kind).map(|entry| entry.0)
    }

    fn entry(&self, family: manifest::Family, name: &str) -> Option<&KindOf> {
        let family = family_of(family);
        self.kinds.iter().find(|entry| entry.0.info().family == family && entry.0.info().name == name)
    }
}

impl Catalog for KindCatalog {
    fn types(&self, family: manifest::Family) -> Vec<&'static str> {
        let family = family_of(family);
        self.kinds
            .iter()
            .map(|entry| entry.0.info())
            .filter(|info| info.family == family)
            .map(|info| info.name)
            .collect()
    }

    fn find(&self, family: manifest::Family, name: &str) -> Option<&dyn KindFacts> {
        self.entry(family, name).map(|entry| entry as &dyn KindFacts)
    }
}

impl KindFacts for KindOf {
    fn inputs(&self) -> Vec<graph::Content> {
        self.0.info().inputs.iter().copied().map(content_of).collect()
    }

    fn weights(&self, settings: &Value) -> bool {
        self.0.reads_model(settings)
    }

    fn model_settings(&self) -> &'static [&'static str] {
        self.0.info().model_settings
    }

    fn fields(&self) -> &'static [&'static str] {
        self.0.info().fields
    }

    fn pinned(&self, settings: &Value) -> bool {
        self.0.is_pinned(settings)
    }

    fn effect(&self, settings: &Value) -> bool {
        self.0.is_effect(settings)
    }

    fn gate(&self) -> bool {
        let info = self.0.info();
        info.family == node::Family::Eval && info.name == "gate"
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<Refusal>> {
        self.0.canonical(settings).map_err(|problems| problems.into_iter().map(refusal).collect())
    }

    fn outputs(&self, settings: &Value) -> Vec<Output> {
        let outputs = self.0.outputs(settings).into_iter();
        outputs.map(|(name, content)| Output { name, content: content_of(content) }).collect()
    }

    fn files(&self, settings: &Value) -> Vec<LocalFiles> {
        let files = self.0.files(settings).into_iter();
        files
            .map(|file| LocalFiles {
                setting: file.setting,
                path: file.path,
                globs: file.globs.map(|globs| (globs.include, globs.exclude)),
                optional: file.optional,
            })
            .collect()
    }

    fn references(&self, settings: &Value) -> Vec<graph::FieldReference> {
        let references = self.0.references(settings).into_iter();
        references
            .map(|node::FieldReference { path, node, field }| graph::FieldReference { path, node, field })
            .collect()
    }
}

fn refusal(problem: node::SettingProblem) -> Refusal {
    let node::SettingProblem { path, code, message, label, help } = problem;
    Refusal { path, code, message, label, help }
}

fn family_of(family: manifest::Family) -> node::Family {
    match family {
        manifest::Family::Model => node::Family::Model,
        manifest::Family::Source => node::Family::Source,
        manifest::Family::Filter => node::Family::Filter,
        manifest::Family::Train => node::Family::Train,
        manifest::Family::Export => node::Family::Export,
        manifest::Family::Eval => node::Family::Eval,
    }
}

fn content_of(content: node::Content) -> graph::Content {
    graph::Content(content.as_str())
}
