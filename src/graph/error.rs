//! What can be wrong with declarations as a graph, each with its place.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, SourceSpan};

use crate::manifest::Gathered;

/// Where problems go.
pub(super) type Sink = Gathered<GraphError>;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum GraphError {
    /// `type` names no kind of the family.
    #[error("there is no type `{kind}` in the family `{family}`")]
    #[diagnostic(code(graph::unknown_type))]
    UnknownType {
        /// The family.
        family: &'static str,
        /// The type.
        kind: String,
        /// Where.
        #[label("no kind of node")]
        at: SourceSpan,
        /// What there is.
        #[help]
        help: Option<String>,
    },
    /// A kind refuses a setting.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Setting(Box<RefusedSetting>),
    /// `from` names no node.
    #[error("node `{node}` reads unknown input `{input}`")]
    #[diagnostic(code(graph::unknown_input))]
    UnknownInput {
        /// The node.
        node: String,
        /// The input.
        input: String,
        /// Where.
        #[label("no node has this name")]
        at: SourceSpan,
        /// What it may have meant.
        #[help]
        help: Option<String>,
    },
    /// `from` names an output that the node does not have.
    #[error("node `{input}` has no output `{output}`")]
    #[diagnostic(code(graph::unknown_output))]
    UnknownOutput {
        /// The node that is read.
        input: String,
        /// The output.
        output: String,
        /// Where.
        #[label("no such output")]
        at: SourceSpan,
        /// What there is.
        #[help]
        help: Option<String>,
    },
    /// `from` names an output that holds something else than the kind reads.
    #[error("node `{node}` cannot read {content} from `{input}`")]
    #[diagnostic(code(graph::wrong_content), help("nodes of type `{kind}` read {expected}{instead}"))]
    WrongContent {
        /// The node.
        node: String,
        /// Its kind.
        kind: String,
        /// The input.
        input: String,
        /// What it holds.
        content: &'static str,
        /// What the kind reads.
        expected: String,
        /// Which nodes have that, as the end of a sentence.
        instead: String,
        /// Where.
        #[label("this is {content}")]
        at: SourceSpan,
    },
    /// A node without `from` whose kind reads nodes.
    #[error("node `{node}` does not say what it reads")]
    #[diagnostic(
        code(graph::missing_from),
        help("add `from = [\"NODE\"]`: nodes of type `{kind}` read {expected}{instead}")
    )]
    MissingFrom {
        /// The node.
        node: String,
        /// Its kind.
        kind: String,
        /// What the kind reads.
        expected: String,
        /// Which nodes have that, as the end of a sentence.
        instead: String,
        /// Where.
        #[label("reads nothing")]
        at: SourceSpan,
    },
    /// A node with `from` whose kind reads no nodes.
    #[error("node `{node}` of type `{kind}` reads no other node")]
    #[diagnostic(code(graph::needless_from), help("remove `from`"))]
    NeedlessFrom {
        /// The node.
        node: String,
        /// Its kind.
        kind: String,
        /// Where.
        #[label("not read")]
        at: SourceSpan,
    },
    /// The name of a matrix where one node is meant.
    #[error("`{name}` is a matrix of nodes")]
    #[diagnostic(code(graph::matrix_without_selector))]
    NeedsSelector {
        /// The name.
        name: String,
        /// Where.
        #[label("which of them?")]
        at: SourceSpan,
        /// Which there are.
        #[help]
        help: Option<String>,
    },
    /// A selector that selects nothing.
    #[error("`{input}` names no node")]
    #[diagnostic(code(graph::empty_selector))]
    EmptySelector {
        /// The entry.
        input: String,
        /// Where.
        #[label("nothing has these values")]
        at: SourceSpan,
        /// Which there are.
        #[help]
        help: Option<String>,
    },
    /// A loop.
    #[error("nodes read each other in a loop: {path}")]
    #[diagnostic(code(graph::cycle), help("remove one of these edges"))]
    Cycle {
        /// The names along the loop.
        path: String,
        /// Every edge of the loop.
        #[label(collection)]
        edges: Vec<LabeledSpan>,
    },
    /// A kind needs the base model and there is none.
    #[error("node `{node}` needs a base model")]
    #[diagnostic(code(graph::no_model), help("add `[model]` with its `base`, such as `base = \"ollama:llama3.1:8b\"`"))]
    NoModel {
        /// The node.
        node: String,
        /// Where.
        #[label("this type reads `[model]`")]
        at: SourceSpan,
    },
    /// `{node.field}` or a condition names no node.
    #[error("node `{node}` reads a field of unknown node `{input}`")]
    #[diagnostic(code(graph::unknown_reference))]
    UnknownReference {
        /// The node.
        node: String,
        /// The unknown name.
        input: String,
        /// Where.
        #[label("no node has the name `{input}`")]
        at: SourceSpan,
        /// What it may have meant.
        #[help]
        help: Option<String>,
    },
    /// `{node.field}` or a condition names a field that the node does not have.
    #[error("node `{input}` has no field `{field}`")]
    #[diagnostic(code(graph::unknown_field))]
    UnknownField {
        /// The node that is read.
        input: String,
        /// The field.
        field: String,
        /// Where.
        #[label("no such field")]
        at: SourceSpan,
        /// What there is.
        #[help]
        help: Option<String>,
    },
    /// `gate` on something else than an export.
    #[error("node `{node}` cannot have a gate")]
    #[diagnostic(
        code(graph::gate_without_export),
        help("gates guard what leaves the pipeline: put `gate` on a node of the family `export`")
    )]
    GateWithoutExport {
        /// The node.
        node: String,
        /// Where.
        #[label("only exports have gates")]
        at: SourceSpan,
    },
    /// `gate` names no gate.
    #[error("`{gate}` is no gate")]
    #[diagnostic(code(graph::unknown_gate))]
    UnknownGate {
        /// The name.
        gate: String,
        /// Where.
        #[label("no node `[eval.{gate}]` with `type = \"gate\"`")]
        at: SourceSpan,
        /// What it may have meant.
        #[help]
        help: Option<String>,
    },
    /// `refresh` on a node that takes no snapshots.
    #[error("node `{node}` takes no snapshot that could be refreshed")]
    #[diagnostic(
        code(graph::needless_refresh),
        help("remove `refresh`: local files and other nodes are looked at in each build")
    )]
    NeedlessRefresh {
        /// The node.
        node: String,
        /// Where.
        #[label("nothing remote here")]
        at: SourceSpan,
    },
    /// `[run.node.NAME]` names no node.
    #[error("`[run.node]` names unknown node `{name}`")]
    #[diagnostic(code(graph::unknown_run_node))]
    UnknownRunNode {
        /// The name.
        name: String,
        /// Where.
        #[label("no node has this name")]
        at: SourceSpan,
        /// What it may have meant.
        #[help]
        help: Option<String>,
    },
    /// `out` that is no path inside the project.
    #[error("`out` of node `{node}` is not a path in the project")]
    #[diagnostic(
        code(graph::bad_out),
        help("write a path relative to the manifest, such as `out = \"output/model.gguf\"`")
    )]
    BadOut {
        /// The node.
        node: String,
        /// Why not.
        why: String,
        /// Where.
        #[label("{why}")]
        at: SourceSpan,
    },
    /// `out` on a node that makes no bytes.
    #[error("node `{node}` has no output that could be written")]
    #[diagnostic(code(graph::out_without_bytes), help("remove `out`; `tunesmith show {node}` prints its fields"))]
    OutWithoutBytes {
        /// The node.
        node: String,
        /// Where.
        #[label("this type makes no files")]
        at: SourceSpan,
    },
    /// `out` that does not tell the nodes of a matrix apart.
    #[error("`out` of matrix `{node}` does not contain `{{{axis}}}`")]
    #[diagnostic(
        code(graph::out_without_axis),
        help("each node of a matrix writes a file of its own: put `{{{axis}}}` into the path")
    )]
    OutWithoutAxis {
        /// The node.
        node: String,
        /// The axis.
        axis: String,
        /// Where.
        #[label("the same for all values of `{axis}`")]
        at: SourceSpan,
    },
    /// Two nodes write one path.
    #[error("nodes `{first_node}` and `{node}` both write to `{path}`")]
    #[diagnostic(code(graph::out_twice), help("give each its own path"))]
    OutTwice {
        /// The path.
        path: String,
        /// The node.
        node: String,
        /// The other.
        first_node: String,
        /// Where.
        #[label("again here")]
        at: SourceSpan,
        /// Where it was first.
        #[label("first here")]
        first: SourceSpan,
    },
    /// A node writes what another reads as a local file.
    #[error("`out` of node `{node}` is a file that node `{reader}` reads")]
    #[diagnostic(
        code(graph::out_is_input),
        help("write elsewhere, or let `{reader}` read the node itself by `from = [\"{node}\"]`")
    )]
    OutIsInput {
        /// The node.
        node: String,
        /// The node that reads it.
        reader: String,
        /// Where.
        #[label("written here")]
        at: SourceSpan,
        /// Where it is read.
        #[label("read here")]
        read: SourceSpan,
    },
    /// Matrices make too many nodes or edges.
    #[error("the manifest makes more than {limit} {what}")]
    #[diagnostic(
        code(graph::too_large),
        help("a matrix makes one node for each combination of its values: give it fewer")
    )]
    TooLarge {
        /// `nodes` or `edges`.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// Where.
        #[label("here the limit is passed")]
        at: SourceSpan,
    },
}

/// A setting that a kind refuses, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSetting {
    /// The node as the manifest names it.
    pub node: String,
    /// Stable code.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Why here.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
    /// Where.
    pub at: SourceSpan,
}

impl fmt::Display for RefusedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node `{}`: {}", self.node, self.message)
    }
}

impl std::error::Error for RefusedSetting {}

impl Diagnostic for RefusedSetting {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some(self.label.clone()), self.at))))
    }
}

/// A name on the command line that selects nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("there is no node `{name}`")]
#[diagnostic(code(graph::unknown_target))]
pub struct UnknownTarget {
    /// The name.
    pub name: String,
    /// What it may have meant.
    #[help]
    pub help: Option<String>,
}
