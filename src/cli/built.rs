//! The model that a node gave, as a GGUF, for commands that ask it.
//!
//! Nothing is built: what there is is taken, and where there is no GGUF of it (an adapter, a base in a folder) one is
//! written aside for as long as the command runs.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::session::Session;
use super::{CliError, Context, machine};
use crate::engine::{EngineError, Explanation, Known, Standing, explain};
use crate::graph::{NodeIndex, Role};
use crate::model::convert::{Adapter, Merge, merge, open};
use crate::model::gguf::FileType;
use crate::model::weights::WeightFiles;
use crate::node::{Cancel, Content};
use crate::store::Artifact;

/// A model that can be asked.
pub(super) struct Built {
    /// The node.
    pub(super) node: String,
    /// The GGUF.
    pub(super) path: PathBuf,
    /// The system prompt of `[model]`.
    pub(super) system: String,
    /// Where the GGUF lies that was written aside.
    _aside: Option<TempDir>,
}

/// The node of the base model.
const BASE: &str = "model";

impl Built {
    /// Returns the model that a node gave when it was last built, and says so when that is not what it would give now.
    ///
    /// # Errors
    /// A node that gives no model, or that was never built; a base or an adapter that is no GGUF and cannot be made one.
    pub(super) fn of(
        context: &mut Context<'_>,
        session: &Session<'_>,
        index: NodeIndex,
        cancel: &Cancel,
    ) -> Result<Self, CliError> {
        let node = session.project.graph[index].name.clone();
        let is_model = |content: &str| {
            [Content::Gguf, Content::Adapter, Content::Weights].iter().any(|model| model.as_str() == content)
        };
        let outputs = &session.project.graph[index].outputs;
        let output =
            outputs.iter().find(|output| is_model(output.content.0)).ok_or_else(|| not_a_model(session, index))?;
        let explanation = explain(&session.resolver(), index)?;
        let known = explanation.known.as_deref().ok_or_else(|| CliError::NeverBuilt { node: node.clone() })?;
        let artifact = artifact(known, &output.name, &node)?;
        if !is_fresh(&explanation) {
            context.output.note(format_args!(
                "`{node}` is stale: this is what it gave when it was last built; `tunesmith build {node}` builds it"
            ));
        }
        let aside = Aside { session, cancel };
        if output.content.0 == Content::Adapter.as_str() {
            let base = base_of(session, index)?;
            context.output.note(format_args!("merging the adapter of `{node}` into its base …"));
            return aside.merged(&node, &base, Some(artifact));
        }
        match artifact {
            Artifact::File(file) => {
                let path = session.store.path(file).map_err(EngineError::from)?;
                Ok(Self { node, path, system: system(session), _aside: None })
            }
            other => {
                context.output.note(format_args!("converting the model of `{node}` …"));
                aside.merged(&node, other, None)
            }
        }
    }

    /// Returns the base model of the project, as [`Self::of`].
    ///
    /// # Errors
    /// Those of [`Self::of`]; no `[model]`.
    pub(super) fn base(context: &mut Context<'_>, session: &Session<'_>, cancel: &Cancel) -> Result<Self, CliError> {
        let index = session.project.graph.find(BASE).ok_or(CliError::NoModel)?;
        Self::of(context, session, index, cancel)
    }
}

fn is_fresh(explanation: &Explanation) -> bool {
    explanation.standing == Standing::Fresh && explanation.stale_inputs.is_empty()
}

fn artifact<'k>(known: &'k Known, output: &str, node: &str) -> Result<&'k Artifact, CliError> {
    known.outputs.get(output).ok_or_else(|| CliError::NeverBuilt { node: node.to_owned() })
}

/// Returns the error for a node without a model, with the nodes that have one.
fn not_a_model(session: &Session<'_>, index: NodeIndex) -> CliError {
    let graph = &session.project.graph;
    let gives = |node: &&crate::graph::Node| node.outputs.iter().any(|it| it.content.0 == Content::Gguf.as_str());
    let names: Vec<String> = graph.nodes().iter().filter(gives).map(|node| format!("`{}`", node.name)).collect();
    let help = if names.is_empty() {
        "name a node of the type `gguf`, a training, or `model`".to_owned()
    } else {
        format!("name one that gives a GGUF ({}), a training, or `model`", names.join(", "))
    };
    let node = &graph[index];
    CliError::NotAModel { node: node.name.clone(), kind: node.kind_name.clone(), help }
}

/// Returns the base that a training starts from, as it was last built.
fn base_of(session: &Session<'_>, index: NodeIndex) -> Result<Artifact, CliError> {
    let graph = &session.project.graph;
    let edge = graph[index].inputs.iter().find(|edge| edge.role == Role::Model).ok_or(CliError::NoModel)?;
    let node = &graph[edge.from].name;
    let known = session.resolver().last_built(edge.from)?;
    let known = known.ok_or_else(|| CliError::NeverBuilt { node: node.clone() })?;
    artifact(&known, &edge.output, node).cloned()
}

/// Returns the system prompt that all of the project shares.
fn system(session: &Session<'_>) -> String {
    let graph = &session.project.graph;
    let settings = graph.find(BASE).map(|index| &graph[index].settings);
    settings.and_then(|settings| settings["system"].as_str()).unwrap_or_default().to_owned()
}

/// Writes a GGUF in 16 bits into the store's scratch folder.
struct Aside<'a> {
    session: &'a Session<'a>,
    cancel: &'a Cancel,
}

impl Aside<'_> {
    fn merged(&self, node: &str, base: &Artifact, adapter: Option<&Artifact>) -> Result<Built, CliError> {
        let store = &self.session.store;
        let never_built = || CliError::NeverBuilt { node: node.to_owned() };
        let files = WeightFiles::of(store, base).map_err(EngineError::from)?.ok_or_else(never_built)?;
        let adapter = match adapter {
            Some(Artifact::Folder { files }) => Some(Adapter::read(&store.paths(files).map_err(EngineError::from)?)?),
            _ => None,
        };
        let aside = tempfile::Builder::new().prefix("ask-").tempdir_in(store.root().join("scratch"))?;
        let path = aside.path().join("model.gguf");
        self.write(&files, adapter.as_ref(), &path)?;
        Ok(Built { node: node.to_owned(), path, system: system(self.session), _aside: Some(aside) })
    }

    fn write(&self, files: &WeightFiles, adapter: Option<&Adapter>, path: &Path) -> Result<(), CliError> {
        let mut how = Merge {
            adapter,
            float: FileType::F16,
            threads: machine::grant(&self.session.project.manifest.run.options).threads,
            earlier: None,
            progress: &mut |_, _| !self.cancel.is_cancelled(),
        };
        merge(open(files)?.as_ref(), path, &mut how)?;
        Ok(())
    }
}
