//! Why a command did not do what it was asked for, and the exit code that says so.

use std::path::PathBuf;

use miette::Diagnostic;

use super::Exit;
use crate::engine::EngineError;
use crate::graph::UnknownTarget;
use crate::manifest::Problems;
use crate::node::NodeError;
use crate::node::source::CorrectionsError;

/// Why a command failed.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum CliError {
    /// The manifest is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Manifest(Box<Problems>),
    /// A name on the command line selects nothing.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Target(#[from] Box<UnknownTarget>),
    /// No manifest is there.
    #[error("there is no `pipeline.toml` in `{folder}` or a folder above it")]
    #[diagnostic(
        code(cli::no_manifest),
        help("`tunesmith init` writes one for this repository; `-f FILE` names one elsewhere")
    )]
    NoManifest {
        /// Where the search began.
        folder: PathBuf,
    },
    /// The manifest's file cannot be read.
    #[error("the manifest `{file}` cannot be read")]
    #[diagnostic(code(cli::unreadable_manifest), help("name another file with `-f FILE`"))]
    UnreadableManifest {
        /// As it was named.
        file: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The manifest's file is no text.
    #[error("the manifest `{file}` is no UTF-8 text: byte {offset} is not part of a character")]
    #[diagnostic(code(cli::not_text), help("save it as UTF-8; if it is no manifest, name another with `-f FILE`"))]
    NotText {
        /// As it was named.
        file: String,
        /// Where, in bytes from the start.
        offset: usize,
    },
    /// `init` would overwrite a manifest.
    #[error("`{file}` is there already")]
    #[diagnostic(code(cli::would_overwrite), help("`tunesmith init --force` overwrites it"))]
    WouldOverwrite {
        /// The file.
        file: String,
    },
    /// A matrix' name where one node is meant.
    #[error("`{name}` means {} nodes: `{}`", .names.len(), .names.join("`, `"))]
    #[diagnostic(code(cli::several_nodes), help("name one of them"))]
    SeveralNodes {
        /// The name.
        name: String,
        /// The nodes.
        names: Vec<String>,
    },
    /// A run without a result of a node.
    #[error("run {run} gave no result of `{node}`")]
    #[diagnostic(code(cli::not_in_run), help("`tunesmith log {run}` shows what became of each node"))]
    NotInRun {
        /// The node.
        node: String,
        /// The run.
        run: u64,
    },
    /// A run's result that a collection removed.
    #[error("the store no longer knows what run {run} built `{node}` from")]
    #[diagnostic(
        code(cli::record_gone),
        help("name a later run; `tunesmith cache gc --keep-runs N` keeps more of them")
    )]
    RecordGone {
        /// The node.
        node: String,
        /// The run.
        run: u64,
    },
    /// The id of no record, the digest of no output.
    #[error("no output has a record `{id}`, and nothing that was built is called that")]
    #[diagnostic(code(cli::unknown_record))]
    UnknownRecord {
        /// What was asked for.
        id: String,
        /// What may be meant.
        #[help]
        help: String,
    },
    /// An exclusion is undone that is none.
    #[error("`{id}` is not in {file}")]
    #[diagnostic(code(cli::not_excluded), help("a row is excluded with its record: undo the record's line"))]
    NotExcluded {
        /// The id.
        id: String,
        /// The list.
        file: String,
    },
    /// A node without a result.
    #[error("node `{node}` was never built")]
    #[diagnostic(code(cli::never_built), help("`tunesmith build {node}` builds it"))]
    NeverBuilt {
        /// The node.
        node: String,
    },
    /// A node whose result is not that of its inputs as they are.
    #[error("node `{node}` is stale, so there is no result to compare with")]
    #[diagnostic(
        code(cli::stale),
        help("`tunesmith build {node}` builds it; `tunesmith explain {node}` says what changed")
    )]
    Stale {
        /// The node.
        node: String,
    },
    /// A node that changes something outside and so has no stored result.
    #[error("node `{node}` changes something outside the project, so it cannot be rebuilt aside")]
    #[diagnostic(code(cli::effect), help("verify what it reads"))]
    Effect {
        /// The node.
        node: String,
    },
    /// A kind whose runs start from nothing.
    #[error("node `{node}` has no warm start: `{kind}` starts from no earlier result")]
    #[diagnostic(code(cli::no_warm_start), help("name a node of the type `lora`, of the family `train`"))]
    NoWarmStart {
        /// The node.
        node: String,
        /// Its kind.
        kind: String,
    },
    /// A rollback where nothing was deployed.
    #[error("nothing was deployed from this project's store")]
    #[diagnostic(
        code(cli::nothing_deployed),
        help("`tunesmith build --deploy` deploys; only the store that it ran on knows what it replaced")
    )]
    NothingDeployed,
    /// The name of no output.
    #[error("node `{node}` has no output `{output}`")]
    #[diagnostic(code(cli::no_output))]
    NoOutput {
        /// The node.
        node: String,
        /// The output.
        output: String,
        /// Which it has.
        #[help]
        help: String,
    },
    /// Rows of something that has none.
    #[error("output `{output}` of node `{node}` is no record set, so it has no rows")]
    #[diagnostic(code(cli::no_rows), help("`tunesmith get {node}:{output} -o PATH` copies it"))]
    NoRows {
        /// The node.
        node: String,
        /// The output.
        output: String,
    },
    /// A row that an output does not have.
    #[error("output `{output}` of node `{node}` has no row `{row}`")]
    #[diagnostic(code(cli::no_such_row), help("`tunesmith show {node} --rows 5` shows how its rows are named"))]
    NoSuchRow {
        /// The node.
        node: String,
        /// The output.
        output: String,
        /// The id.
        row: String,
    },
    /// Tokens of a project without a base model.
    #[error("the manifest has no `[model]`, whose tokenizer makes the tokens")]
    #[diagnostic(code(cli::no_model), help("name one: `[model]` with `base = \"…\"`"))]
    NoModel,
    /// Tokens in a program that was built without tokenizers.
    #[cfg(not(feature = "train"))]
    #[error("this tunesmith was built without the feature `train`, so it has no tokenizer")]
    #[diagnostic(code(cli::no_tokenizer), help("build it with its default features"))]
    NoTokenizer,
    /// The base model's files.
    #[cfg(feature = "train")]
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] crate::model::ModelError),
    /// A node without a model.
    #[cfg(feature = "llama")]
    #[error("node `{node}` is of type `{kind}`, which gives no model")]
    #[diagnostic(code(cli::not_a_model))]
    NotAModel {
        /// The node.
        node: String,
        /// Its family and type.
        kind: String,
        /// Which give one.
        #[help]
        help: String,
    },
    /// A model that cannot be asked.
    #[cfg(feature = "llama")]
    #[error(transparent)]
    #[diagnostic(transparent)]
    Serve(#[from] crate::serve::ServeError),
    /// An Ollama server that cannot be compared with.
    #[cfg(feature = "llama")]
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ollama(#[from] crate::serve::OllamaError),
    /// A name for one model where several are built, or none.
    #[cfg(feature = "llama")]
    #[error("`--ollama-model` names one model, and {} nodes give one", .names.len())]
    #[diagnostic(code(cli::which_model), help("write it as `NODE=NAME`: {}", .names.join(", ")))]
    WhichModel {
        /// The nodes.
        names: Vec<String>,
    },
    /// A base or an adapter of which no GGUF can be made.
    #[cfg(feature = "llama")]
    #[error(transparent)]
    #[diagnostic(transparent)]
    Convert(#[from] crate::model::convert::ConvertError),
    /// An address that cannot be listened at.
    #[cfg(feature = "llama")]
    #[error("cannot listen at {address}")]
    #[diagnostic(
        code(cli::cannot_listen),
        help("another program may listen there already: `--listen 127.0.0.1:0` takes a free port")
    )]
    CannotListen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A model is asked in a program that was built without llama.cpp.
    #[cfg(not(feature = "llama"))]
    #[error(transparent)]
    #[diagnostic(transparent)]
    NoLlama(#[from] crate::llama::Absent),
    /// No node reads corrections.
    #[error("no node of type `corrections` is in the manifest")]
    #[diagnostic(
        code(cli::no_corrections),
        help(
            "add `[source.corrections]` with `type = \"corrections\"` and `path = \"data/corrections.jsonl\"`, and put \
             `corrections` into `from` of the filter that makes rows"
        )
    )]
    NoCorrections,
    /// Several nodes read corrections.
    #[error("{} nodes are of type `corrections`: `{}`", .names.len(), .names.join("`, `"))]
    #[diagnostic(code(cli::several_corrections), help("name one of them: `tunesmith correct {}`", .names[0]))]
    SeveralCorrections {
        /// The nodes.
        names: Vec<String>,
    },
    /// A node that reads no corrections.
    #[error("node `{node}` is of type `{kind}`, not `corrections`")]
    #[diagnostic(code(cli::not_corrections), help("name a node of that type, or none where there is only one"))]
    NotCorrections {
        /// The node.
        node: String,
        /// Its family and type.
        kind: String,
    },
    /// A correction without its question or its answer, and nobody to ask.
    #[error("the correction has no {what}")]
    #[diagnostic(code(cli::half_correction), help("give `--{what} TEXT`; on a terminal you are asked for it"))]
    HalfCorrection {
        /// `question` or `answer`.
        what: &'static str,
    },
    /// What is in a file of corrections, or would be.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Corrections(#[from] CorrectionsError),
    /// `get` would overwrite a file.
    #[error("`{path}` is there already")]
    #[diagnostic(code(cli::target_exists), help("`--force` overwrites it"))]
    TargetExists {
        /// The path as it was given.
        path: String,
    },
    /// `get` would replace a folder.
    #[error("`{path}` is a folder")]
    #[diagnostic(code(cli::target_is_folder), help("name a path in it that is not there yet"))]
    TargetIsFolder {
        /// The path as it was given.
        path: String,
    },
    /// The engine, the store or the lock.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Engine(#[from] EngineError),
    /// A file cannot be read or written.
    #[error(transparent)]
    #[diagnostic(code(cli::io))]
    Io(#[from] std::io::Error),
}

impl From<Problems> for CliError {
    fn from(problems: Problems) -> Self {
        Self::Manifest(Box::new(problems))
    }
}

impl CliError {
    /// Returns the exit code that says this.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Engine(EngineError::UnknownNode { .. } | EngineError::UnknownRun { .. }) => Exit::Wrong,
            Self::Io(_)
            | Self::Engine(_)
            | Self::RecordGone { .. }
            | Self::NeverBuilt { .. }
            | Self::Stale { .. }
            | Self::NothingDeployed
            | Self::NoSuchRow { .. }
            | Self::TargetExists { .. }
            | Self::TargetIsFolder { .. } => Exit::Failed,
            #[cfg(feature = "llama")]
            Self::Convert(crate::model::convert::ConvertError::Interrupted) => Exit::Interrupted,
            #[cfg(feature = "llama")]
            Self::Serve(_) | Self::Ollama(_) | Self::Convert(_) | Self::CannotListen { .. } => Exit::Failed,
            _ => Exit::Wrong,
        }
    }
}

/// The failure of a node's run, shown as any other error.
#[derive(Debug)]
pub(super) struct Reported<'a>(pub(super) &'a NodeError);

impl std::fmt::Display for Reported<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)?;
        self.0.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for Reported<'_> {}

impl Diagnostic for Reported<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.0.code.as_ref().map(|code| Box::new(code) as Box<dyn std::fmt::Display>)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.0.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }
}
