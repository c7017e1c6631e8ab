//! What a graph must know about kinds of nodes, as an interface: the graph knows no kind itself.

use std::path::PathBuf;

use serde_json::Value;

use crate::manifest::Family;

/// The kinds that there are.
pub trait Catalog: Sync {
    /// Returns the names of a family's kinds, in the order in which people should see them.
    fn types(&self, family: Family) -> Vec<&'static str>;

    /// Returns the kind of a family with this name.
    fn find(&self, family: Family, name: &str) -> Option<&dyn KindFacts>;
}

/// One kind, as far as a graph needs it.
pub trait KindFacts: Sync {
    /// Returns what `from` may name; empty when the kind reads no node.
    fn inputs(&self) -> Vec<Content>;

    /// Returns whether the base model's weights are an input of a node with these canonical settings.
    fn weights(&self, settings: &Value) -> bool;

    /// Returns the settings of `[model]` that are copied into this kind's settings.
    fn model_settings(&self) -> &'static [&'static str];

    /// Returns the fields that others may read; `*` stands for any, `*.kl` for any that ends so.
    fn fields(&self) -> &'static [&'static str];

    /// Returns whether the result of a node with these canonical settings is a snapshot of something remote.
    fn pinned(&self, settings: &Value) -> bool;

    /// Returns whether a run with these canonical settings changes something outside the project.
    fn effect(&self, settings: &Value) -> bool;

    /// Returns whether it is the gate that exports may name.
    fn gate(&self) -> bool;

    /// Returns the settings with every default filled in.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    fn canonical(&self, settings: &Value) -> Result<Value, Vec<Refusal>>;

    /// Returns the outputs of a node with these canonical settings, the default first.
    fn outputs(&self, settings: &Value) -> Vec<Output>;

    /// Returns the local files that canonical settings name.
    fn files(&self, settings: &Value) -> Vec<LocalFiles>;

    /// Returns the fields of other nodes that canonical settings read otherwise than by `{node.field}`.
    fn references(&self, settings: &Value) -> Vec<FieldReference>;
}

/// What an output or an input holds, in one word for people, such as `rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content(pub &'static str);

impl Content {
    /// No bytes, only fields.
    pub const FIELDS: Self = Self("fields");
}

/// A named output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The name in `NODE:NAME`.
    pub name: String,
    /// What it holds.
    pub content: Content,
}

/// A setting that a kind refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where, from the node's table inwards: keys, and indices in decimal.
    pub path: Vec<String>,
    /// Stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Why here.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
}

/// Local files that a node reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalFiles {
    /// The setting that names them.
    pub setting: &'static str,
    /// A file, or a folder for `globs`; relative to the manifest.
    pub path: PathBuf,
    /// For a folder: the globs of what is read, and of what is not; `None` for a single file.
    pub globs: Option<(Vec<String>, Vec<String>)>,
    /// Whether it may be absent.
    pub optional: bool,
}

/// A field of another node that a setting reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldReference {
    /// The setting: keys, and indices in decimal.
    pub path: Vec<String>,
    /// The node's name.
    pub node: String,
    /// The field's name.
    pub field: String,
}
