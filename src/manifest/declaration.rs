//! What a manifest declares: nodes with their edges and settings, before anything knows their kinds.

use std::fmt;
use std::time::Duration;

use miette::SourceSpan;

use super::size;
use super::value::{Spanned, Table, Value};

/// The table that a node stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `[model]`, which is a node too, named `model`.
    Model,
    /// `[source.NAME]`
    Source,
    /// `[filter.NAME]`
    Filter,
    /// `[train.NAME]`
    Train,
    /// `[export.NAME]`
    Export,
    /// `[eval.NAME]`
    Eval,
}

impl Family {
    /// All families, in the order of a pipeline.
    pub const ALL: [Self; 6] = [Self::Model, Self::Source, Self::Filter, Self::Train, Self::Export, Self::Eval];
    /// The families whose tables hold named nodes.
    pub const NAMED: [Self; 5] = [Self::Source, Self::Filter, Self::Train, Self::Export, Self::Eval];

    /// Returns the table's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Source => "source",
            Self::Filter => "filter",
            Self::Train => "train",
            Self::Export => "export",
            Self::Eval => "eval",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One node as the manifest has it; a matrix is not yet unfolded.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// The table that it stands in.
    pub family: Family,
    /// Its name: unique over all families.
    pub name: Spanned<String>,
    /// `type`; of `[model]` always `base`. Absent only when that is already a problem.
    pub kind: Option<Spanned<String>>,
    /// `from`, with the place of the whole array; absent when the manifest has none.
    pub from: Option<Spanned<Vec<Spanned<Input>>>>,
    /// Whether something in `from` is a problem already: then `from` does not tell what the node reads.
    pub has_refused_inputs: bool,
    /// `out`: where the default output is copied to, before `{rank}` and `{profile}` are filled in.
    pub out: Option<Spanned<String>>,
    /// `gate`: the name of the gate that must be met.
    pub gate: Option<Spanned<String>>,
    /// `refresh`: when a snapshot of something remote is taken anew.
    pub refresh: Option<Spanned<Refresh>>,
    /// `matrix`: the axes, by name.
    pub matrix: Vec<Axis>,
    /// All other keys: what the kind reads.
    pub settings: Table,
}

/// One axis of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The setting that varies.
    pub name: Spanned<String>,
    /// The values that it takes, in the order of the text, with the form that they have in the node's name.
    pub values: Vec<(String, Value)>,
}

/// When a snapshot of something remote is taken anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// Only when asked for.
    #[default]
    Manual,
    /// At each build.
    Always,
    /// When the snapshot is older than this.
    Every(Duration),
}

/// One entry of `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The name in the manifest.
    pub node: String,
    /// Which nodes of a matrix.
    pub selector: Selector,
    /// The output; the kind's default when absent.
    pub output: Option<String>,
}

/// Which nodes of a matrix are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `NODE`: there is no matrix.
    None,
    /// `NODE@*`: all.
    All,
    /// `NODE@rank=8,alpha=16`: those with these values.
    Values(Vec<(String, String)>),
}

impl Input {
    /// Reads `NODE`, `NODE:OUTPUT`, `NODE@*`, `NODE@rank=8,alpha=16:OUTPUT`.
    pub fn parse(text: &str) -> Option<Self> {
        let (node, output) = match text.rsplit_once(':') {
            Some((node, output)) => (node, Some(output)),
            None => (text, None),
        };
        let (node, selector) = match node.split_once('@') {
            None => (node, Selector::None),
            Some((node, "*")) => (node, Selector::All),
            Some((node, values)) => (node, Selector::Values(parse_values(values)?)),
        };
        if !is_name(node) || !output.is_none_or(is_name) {
            return None;
        }
        Some(Self { node: node.to_owned(), selector, output: output.map(str::to_owned) })
    }
}

fn parse_values(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',')
        .map(|pair| {
            let (axis, value) = pair.split_once('=')?;
            (is_name(axis) && is_axis_value(value)).then(|| (axis.to_owned(), value.to_owned()))
        })
        .collect()
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.node)?;
        match &self.selector {
            Selector::None => {}
            Selector::All => f.write_str("@*")?,
            Selector::Values(values) => {
                for (index, (axis, value)) in values.iter().enumerate() {
                    write!(f, "{}{axis}={value}", if index == 0 { '@' } else { ',' })?;
                }
            }
        }
        self.output.as_ref().map_or(Ok(()), |output| write!(f, ":{output}"))
    }
}

/// Returns whether `text` can name a node, an output, an axis or a profile.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 64 && text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '-' || c == '_')
}

/// Returns whether `text` can stand for an axis' value in a node's name: no separators of names and paths.
pub(crate) fn is_axis_value(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && !text.starts_with('.')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+'))
}

impl Declaration {
    /// Returns about how many bytes the settings take.
    pub(crate) fn weight(&self) -> usize {
        size::weight(&self.settings)
    }

    /// Returns the place of a problem with a setting: the key for an unknown one, else the value; when there is no
    /// such setting, the deepest thing on the way to it, at last the node's name.
    pub fn locate(&self, path: &[String], at: At) -> SourceSpan {
        let found = match path.first().map(String::as_str) {
            Some(axis) if path.len() == 1 && self.settings.get(axis).is_none() => {
                let axis = self.matrix.iter().find(|declared| declared.name.value == axis);
                return axis.map_or(self.name.span, |axis| axis.name.span);
            }
            _ => self.settings.locate(path),
        };
        let place = match at {
            At::Key => found.key,
            At::Value => found.value,
        };
        place.unwrap_or(self.name.span)
    }
}

/// Which part of an entry a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The key.
    Key,
    /// The value.
    Value,
}
