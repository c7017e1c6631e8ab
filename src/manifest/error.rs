//! What can be wrong with a manifest as a text, each with its place.

use miette::{Diagnostic, LabeledSpan, SourceSpan};

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
pub enum ManifestError {
    /// The text is no TOML.
    #[error("TOML syntax: {message}")]
    #[diagnostic(code(manifest::syntax))]
    Syntax {
        /// The parser's words.
        message: String,
        /// What to do.
        #[help]
        help: Option<String>,
        /// Where.
        #[label("here")]
        at: SourceSpan,
    },
    /// The text is too large to be a manifest.
    #[error("the manifest has {found} {what}, more than {limit}")]
    #[diagnostic(code(manifest::too_large), help("keep data in files of its own and name them by `path`"))]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// Its size.
        found: usize,
        /// The limit.
        limit: usize,
        /// Where.
        #[label("not read")]
        at: SourceSpan,
    },
    /// There are more nodes than a build could have.
    #[error("the manifest has {found} nodes, more than {limit}")]
    #[diagnostic(code(manifest::too_many_nodes), help("data belongs into files: one `source` node reads many records"))]
    TooManyNodes {
        /// How many up to the end of the table.
        found: usize,
        /// The limit.
        limit: usize,
        /// Where the table begins.
        #[label("not read")]
        at: SourceSpan,
    },
    /// Tables and arrays are nested too deeply.
    #[error("values are nested more than {limit} deep")]
    #[diagnostic(code(manifest::too_deep), help("no setting needs this depth"))]
    TooDeep {
        /// The limit.
        limit: usize,
        /// Where.
        #[label("this is one level too many")]
        at: SourceSpan,
    },
    /// A number that has no place in 64 bits.
    #[error("the number is out of range")]
    #[diagnostic(
        code(manifest::bad_number),
        help("integers have 64 bits with sign; floats are finite: no `inf`, no `nan`")
    )]
    BadNumber {
        /// Where.
        #[label("out of range")]
        at: SourceSpan,
    },
    /// `schema` is missing.
    #[error("the manifest does not say its `schema`")]
    #[diagnostic(code(manifest::no_schema), help("write `schema = 1` as the first line"))]
    NoSchema {
        /// Where.
        #[label("`schema = 1` belongs here")]
        at: SourceSpan,
    },
    /// `schema` is of another version.
    #[error("the manifest has a `schema` that this version does not read")]
    #[diagnostic(code(manifest::unknown_schema), help("this version of tunesmith reads `schema = 1`"))]
    UnknownSchema {
        /// Where.
        #[label("not 1")]
        at: SourceSpan,
    },
    /// A top-level table that means nothing.
    #[error("unknown table `{name}`")]
    #[diagnostic(code(manifest::unknown_table))]
    UnknownTable {
        /// Its name.
        name: String,
        /// Where.
        #[label("no table has this name")]
        at: SourceSpan,
        /// What it may have meant.
        #[help]
        help: Option<String>,
    },
    /// A key that a table of the manifest does not have.
    #[error("unknown key `{key}` in `[{table}]`")]
    #[diagnostic(code(manifest::unknown_key))]
    UnknownKey {
        /// The key.
        key: String,
        /// The table.
        table: String,
        /// Where.
        #[label("no key has this name")]
        at: SourceSpan,
        /// What it may have meant.
        #[help]
        help: Option<String>,
    },
    /// A value of the wrong type.
    #[error("`{key}` is {found}, not {expected}")]
    #[diagnostic(code(manifest::wrong_type))]
    WrongType {
        /// The key.
        key: String,
        /// The type found.
        found: &'static str,
        /// What is expected.
        expected: &'static str,
        /// Where.
        #[label("expected {expected}")]
        at: SourceSpan,
        /// How to write it.
        #[help]
        help: Option<String>,
    },
    /// A value of the right type that says nothing valid.
    #[error("`{key}` has a value that it cannot have")]
    #[diagnostic(code(manifest::wrong_value))]
    WrongValue {
        /// The key.
        key: String,
        /// Why not.
        why: String,
        /// Where.
        #[label("{why}")]
        at: SourceSpan,
        /// How to write it.
        #[help]
        help: Option<String>,
    },
    /// A name that cannot name a node or a profile.
    #[error("{what} cannot be named `{name}`")]
    #[diagnostic(
        code(manifest::bad_name),
        help("names start with `a`-`z` or `0`-`9` and go on with these, `-` and `_`; at most 64 characters")
    )]
    BadName {
        /// What is named.
        what: &'static str,
        /// The name, control characters escaped.
        name: String,
        /// Where.
        #[label("not a name")]
        at: SourceSpan,
    },
    /// The name `model` for another node.
    #[error("a node cannot be named `model`")]
    #[diagnostic(
        code(manifest::reserved_name),
        help("`model` is the node of the `[model]` table; choose another name")
    )]
    ReservedName {
        /// Where.
        #[label("reserved")]
        at: SourceSpan,
    },
    /// Two nodes with one name.
    #[error("two nodes are named `{name}`")]
    #[diagnostic(
        code(manifest::duplicate_name),
        help("names are unique over all families, so that `from` needs no prefix; rename one of them")
    )]
    DuplicateName {
        /// The name.
        name: String,
        /// Where.
        #[label("again here")]
        at: SourceSpan,
        /// Where it was first.
        #[label("first here")]
        first: SourceSpan,
    },
    /// A node without `type`.
    #[error("node `{node}` has no `type`")]
    #[diagnostic(
        code(manifest::missing_type),
        help("add `type = \"…\"`; `tunesmith schema --table` lists the types of each family")
    )]
    MissingType {
        /// The node.
        node: String,
        /// Where.
        #[label("which kind of node is this?")]
        at: SourceSpan,
    },
    /// An entry of `from` that cannot name an input.
    #[error("`{text}` cannot name an input")]
    #[diagnostic(code(manifest::bad_input), help("{help}"))]
    BadInput {
        /// The entry, control characters escaped.
        text: String,
        /// How an input is written.
        help: String,
        /// Where.
        #[label("not an input")]
        at: SourceSpan,
    },
    /// The same entry of `from` twice.
    #[error("node `{node}` reads `{input}` twice")]
    #[diagnostic(code(manifest::repeated_input), help("remove one of them"))]
    RepeatedInput {
        /// The node.
        node: String,
        /// The input.
        input: String,
        /// Where.
        #[label("again here")]
        at: SourceSpan,
        /// Where it was first.
        #[label("first here")]
        first: SourceSpan,
    },
    /// An axis of `matrix` that makes no nodes.
    #[error("axis `{axis}` of the matrix is not valid")]
    #[diagnostic(
        code(manifest::bad_matrix),
        help("write `matrix = {{ rank = [8, 16] }}`: a setting and the values that it takes")
    )]
    BadMatrix {
        /// The axis.
        axis: String,
        /// Why not.
        why: &'static str,
        /// Where.
        #[label("{why}")]
        at: SourceSpan,
    },
    /// A secret in the manifest. The value is never in the message, and masked in the source shown.
    #[error("setting `{setting}` holds a literal secret")]
    #[diagnostic(
        code(manifest::literal_secret),
        help(
            "put the secret into an environment variable and {named}; if the manifest was committed, revoke the secret"
        )
    )]
    LiteralSecret {
        /// The setting.
        setting: String,
        /// How it is named instead.
        named: String,
        /// Where.
        #[label("secrets are named, not written")]
        at: SourceSpan,
    },
    /// `[cache] remote` is a URL.
    #[error("`remote` names no folder")]
    #[diagnostic(
        code(manifest::remote_is_no_folder),
        help("a shared store is a folder, such as `remote = \"/srv/team/tunesmith\"` on a network file system")
    )]
    RemoteIsNoFolder {
        /// Where.
        #[label("a URL")]
        at: SourceSpan,
    },
    /// `--profile` names no profile.
    #[error("there is no profile `{name}`")]
    #[diagnostic(code(manifest::unknown_profile))]
    UnknownProfile {
        /// The name.
        name: String,
        /// Where.
        #[label("no `[profile.{name}]`")]
        at: SourceSpan,
        /// What there is.
        #[help]
        help: Option<String>,
    },
    /// An overlay that cannot be applied.
    #[error("overlay `{key}` changes nothing that is there")]
    #[diagnostic(code(manifest::bad_overlay))]
    BadOverlay {
        /// Its key.
        key: String,
        /// Why not.
        why: String,
        /// Where.
        #[label("{why}")]
        at: SourceSpan,
        /// How to write it.
        #[help]
        help: Option<String>,
    },
}

/// Returns where a problem is, for sorting; problems without a place come first.
pub(crate) fn place(problem: &dyn Diagnostic) -> (usize, usize) {
    let labels: Vec<LabeledSpan> = problem.labels().into_iter().flatten().collect();
    let primary = labels.iter().find(|label| label.primary()).or(labels.first());
    primary.map_or((0, 0), |label| (label.offset(), label.len()))
}
