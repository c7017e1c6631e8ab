//! What a kind of node is: facts for the graph and the engine, its settings, and its run.

use std::path::PathBuf;

use serde_json::Value;

use super::{Cost, Forecast, NodeError, Outcome, Outlook, Run};

/// The table of a manifest that a node stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// `[model]`, the base model: a node of its own with the name `model`.
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

    /// Returns the name as the manifest has it.
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

/// What an output or an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Issues, pull requests, documents, corrections: what sources yield.
    Records,
    /// Conversations: what training reads.
    Rows,
    /// The base model's weights: one GGUF, or a folder of safetensors.
    Weights,
    /// A LoRA adapter in PEFT's form.
    Adapter,
    /// One GGUF file.
    Gguf,
    /// Another file or folder.
    Files,
    /// No bytes, only fields: metrics and gates.
    Fields,
}

impl Content {
    /// Returns the word for people, as the end of "it reads …".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Rows => "rows",
            Self::Weights => "weights",
            Self::Adapter => "an adapter",
            Self::Gguf => "a GGUF",
            Self::Files => "files",
            Self::Fields => "fields",
        }
    }
}

/// How far two runs of one key agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Determinism {
    /// The same bytes on any machine.
    Exact,
    /// The same bytes on the same instruction set, where no GPU computes: float kernels.
    ExactPerIsa,
    /// Other bytes each time: judges, the state of a server.
    Varies,
}

/// Where a run takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// In the driver's process.
    Light,
    /// In a child that can be ended, measured, and may abort.
    Heavy,
}

/// What part a kind has in a rehearsal: before a long run starts, what reads its result is run on a stand-in of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// None.
    None,
    /// Its runs may be long, and [`Kind::rehearse`] gives a stand-in of their result at once.
    Opens,
    /// It runs on stand-ins, by [`Kind::rehearse`].
    Follows,
}

/// A named output.
#[derive(Clone, Copy, Debug)]
pub struct OutputInfo {
    /// The name in `NODE:NAME`.
    pub name: &'static str,
    /// What it holds.
    pub content: Content,
}

/// The facts of a kind that need no settings.
#[derive(Clone, Copy, Debug)]
pub struct KindInfo {
    /// The family whose table it stands in.
    pub family: Family,
    /// The value of `type`.
    pub name: &'static str,
    /// Raised when the same settings and inputs give other bytes than before; the history stands beside it in a comment.
    pub version: u32,
    /// One phrase for the README's table.
    pub summary: &'static str,
    /// What `from` may name; empty when the kind reads no node.
    pub inputs: &'static [Content],
    /// The outputs; the first is the one that `NODE` alone means.
    pub outputs: &'static [OutputInfo],
    /// Fields that `{node.field}` and gates may read; `*.kl` stands for all that end so.
    pub fields: &'static [&'static str],
    /// How far two runs of one key agree.
    pub determinism: Determinism,
    /// Where a run takes place.
    pub weight: Weight,
    /// Whether the base model's weights are an input whatever the settings.
    pub weights: bool,
    /// Which settings of `[model]` are copied into this kind's settings, under the same names.
    pub model_settings: &'static [&'static str],
    /// Whether the result is a snapshot of something remote, pinned in the lock, whatever the settings.
    pub pinned: bool,
    /// Whether a run changes something outside the project: never a hit, only with `--deploy` or when named.
    pub effect: bool,
}

impl KindInfo {
    /// Returns family and type, such as `filter.split`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.family.as_str(), self.name)
    }
}

/// A setting that the kind refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    /// Where, from the node's table inwards: keys, and indices in decimal. Empty: the node as a whole.
    pub path: Vec<String>,
    /// Stable code, such as `settings::unknown_key`.
    pub code: &'static str,
    /// What is wrong, one lower-case phrase.
    pub message: String,
    /// The label under the place: why here.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
}

impl SettingProblem {
    /// Makes the problem of what stands at `path`.
    pub fn new(path: &[&str], code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        let path = path.iter().map(|&key| key.to_owned()).collect();
        Self { path, code, message: message.into(), label: "here".into(), help: Some(help.into()) }
    }
}

/// A field of another node that a setting reads otherwise than by `{node.field}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldReference {
    /// The setting: keys, and indices in decimal.
    pub path: Vec<String>,
    /// The node's name.
    pub node: String,
    /// The field's name.
    pub field: String,
}

/// Local files that settings name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInput {
    /// The setting that names them.
    pub setting: &'static str,
    /// A file, or a folder for `globs`; relative to the manifest.
    pub path: PathBuf,
    /// For a folder: which files below it, as globs; `None` for a single file.
    pub globs: Option<Globs>,
    /// Whether it may be absent.
    pub optional: bool,
}

/// Which files below a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globs {
    /// Files that match one of these…
    pub include: Vec<String>,
    /// …and none of these.
    pub exclude: Vec<String>,
}

/// A kind of node. Kinds are stateless: all that a run needs is in its job.
pub trait Kind: Sync {
    /// Returns the kind's facts.
    fn info(&self) -> &'static KindInfo;

    /// Returns the JSON Schema of the settings.
    fn schema(&self) -> Value;

    /// Returns the settings with every default filled in, or everything that is wrong with them.
    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>>;

    /// Returns whether a run can compute on a GPU.
    fn has_devices(&self) -> bool {
        false
    }

    /// Returns how far two runs of one key agree, with these canonical settings.
    fn determinism(&self, settings: &Value) -> Determinism {
        let _ = settings;
        self.info().determinism
    }

    /// Returns the names of settings that do not shape the output's bytes and so stay out of the key; `judge.token` is one
    /// of a table.
    fn outside_key(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the local files that canonical `settings` name.
    fn files(&self, settings: &Value) -> Vec<FileInput> {
        let _ = settings;
        Vec::new()
    }

    /// Returns the settings whose files only a first run of a pinned kind begins with: what they hold is in the snapshot
    /// from then on, so they shape no key and may go.
    fn first_files(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the fields of other nodes that canonical `settings` read, such as a gate's metrics.
    fn references(&self, settings: &Value) -> Vec<FieldReference> {
        let _ = settings;
        Vec::new()
    }

    /// Returns names and contents of the outputs of a node with these canonical settings, the default first.
    fn outputs(&self, settings: &Value) -> Vec<(String, Content)> {
        let _ = settings;
        self.info().outputs.iter().map(|output| (output.name.to_owned(), output.content)).collect()
    }

    /// Returns whether the names of the input nodes shape the bytes, as they do where inputs are files named by node.
    fn reads_input_names(&self) -> bool {
        false
    }

    /// Returns whether the base model's weights are an input of a node with these canonical settings.
    fn reads_model(&self, settings: &Value) -> bool {
        let _ = settings;
        self.info().weights
    }

    /// Returns whether the result of a node with these canonical settings is a snapshot of something remote, pinned in the
    /// lock.
    fn is_pinned(&self, settings: &Value) -> bool {
        let _ = settings;
        self.info().pinned
    }

    /// Returns whether a run with these settings changes something outside the project.
    fn is_effect(&self, settings: &Value) -> bool {
        let _ = settings;
        self.info().effect
    }

    /// Returns the settings whose files a run changes: its targets, which it may find other than they were planned.
    fn targets(&self) -> &'static [&'static str] {
        &[]
    }

    /// Takes back the newest change that the node's ledger has, and returns what it did, a line each.
    ///
    /// # Errors
    /// Nothing is noted; what was changed is no longer as the node left it; what can go wrong with the target.
    fn roll_back(&self, run: &Run<'_>) -> Result<Vec<String>, NodeError> {
        Err(super::LedgerError::NoWayBack { node: run.job.node.clone() }.into())
    }

    /// Returns what else shapes the bytes, such as the version of llama.cpp: name and version, for the key.
    fn tools(&self, settings: &Value) -> Vec<(String, String)> {
        let _ = settings;
        Vec::new()
    }

    /// Returns what a run is going to ask of the network. It opens no socket.
    fn forecast(&self, outlook: &Outlook<'_>) -> Option<Forecast> {
        let _ = outlook;
        None
    }

    /// Returns what `run` is going to take of this machine, from its inputs and within seconds. Nothing for kinds that
    /// take little.
    ///
    /// # Errors
    /// Why it would fail on this machine, such as too little memory.
    fn cost(&self, run: &Run<'_>) -> Result<Option<Cost>, NodeError> {
        let _ = run;
        Ok(None)
    }

    /// Returns what part the kind has in a rehearsal.
    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::None
    }

    /// Does what a run may fail at, in little time, and gives what it would give but for its worth: a stand-in. An effect
    /// changes nothing, and looks whether it could; it finds no inputs where what they are made of passed before.
    ///
    /// # Errors
    /// Why a run would fail.
    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        self.run(run)
    }

    /// Returns whether a run can start from an earlier result of its node that the lock pins.
    fn warm_starts(&self) -> bool {
        false
    }

    /// Runs the node.
    ///
    /// # Errors
    /// What went wrong, for the user. The run leaves nothing behind outside its scratch folder and the store.
    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError>;
}
