//! What goes into a node's run, and its key.
//!
//! The key alone is made for every node of every command; the owned inputs of a run only for what runs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use serde_json::Value;

use super::settings::{listed_files, missing, substitute};
use super::{EngineError, Known, Resolver, Trace};
use crate::graph::{Edge, Node, Role};
use crate::node::{FieldReference, FileInput, InputRole, JobFile, JobInput, Kind};
use crate::store::{Artifact, Digest, Explained, Key, StoreError};

/// A run's inputs, all known, and the key that they give.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Settings with `{node.field}` filled in.
    pub settings: Value,
    /// What it reads of other nodes.
    pub inputs: Vec<JobInput>,
    /// Local files.
    pub files: Vec<JobFile>,
    /// The key.
    pub key: Digest,
    /// The key in parts.
    pub explained: Explained,
    /// The outputs of the last snapshot, for pinned kinds that go on from it.
    pub previous: BTreeMap<String, Artifact>,
}

impl Prepared {
    /// Returns what is remembered of a run on these inputs.
    pub fn trace(&self) -> Trace {
        let inputs = self.inputs.iter();
        Trace {
            key: self.key,
            explained: self.explained.clone(),
            inputs: inputs.map(|input| (input.node.clone(), input.output.clone(), input.artifact.clone())).collect(),
        }
    }
}

/// All that shapes a node's output.
pub(super) struct KeyParts<'n> {
    node: &'n Node,
    kind: &'static dyn Kind,
    /// Settings with `{node.field}` filled in.
    pub(super) settings: Cow<'n, Value>,
    inputs: Vec<(String, Digest)>,
    files: Vec<JobFile>,
    file_digests: Vec<(String, Digest)>,
    tools: Vec<(String, String)>,
}

impl KeyParts<'_> {
    /// Returns the key.
    pub(super) fn key(&self) -> Digest {
        self.explainable().digest()
    }

    fn explainable(&self) -> Key<'_> {
        Key {
            kind: &self.node.kind_name,
            kind_version: self.kind.info().version,
            settings: &self.settings,
            outside: self.kind.outside_key(),
            inputs: &self.inputs,
            files: &self.file_digests,
            tools: &self.tools,
        }
    }
}

impl Resolver<'_> {
    /// Gathers a run's inputs and their key.
    ///
    /// # Errors
    /// A missing local file, a field or an output that a node did not give, a broken store.
    pub fn prepare(
        &self,
        node: &Node,
        kind: &'static dyn Kind,
        known: &[Option<Arc<Known>>],
    ) -> Result<Prepared, EngineError> {
        let parts = self.parts(node, kind, known)?;
        self.prepared(parts, known)
    }

    /// Gathers what shapes a node's output.
    pub(super) fn parts<'n>(
        &self,
        node: &'n Node,
        kind: &'static dyn Kind,
        known: &[Option<Arc<Known>>],
    ) -> Result<KeyParts<'n>, EngineError> {
        let settings = substitute(node, self.graph, known)?;
        let mut inputs = self.input_parts(node, kind, known)?;
        inputs.extend(self.warm_inputs(node, kind)?.into_iter().map(|(part, _)| part));
        let files = self.files(node, kind.files(&settings))?;
        let shapes_key = |file: &&JobFile| !kind.first_files().contains(&file.setting.as_str());
        let named = |file: &JobFile| (format!("{} {}", file.setting, file.name), file.digest);
        let file_digests = files.iter().filter(shapes_key).map(named).collect();
        let tools = kind.tools(&settings);
        Ok(KeyParts { node, kind, settings, inputs, files, file_digests, tools })
    }

    /// Makes of a key's parts what a run needs.
    pub(super) fn prepared(&self, parts: KeyParts<'_>, known: &[Option<Arc<Known>>]) -> Result<Prepared, EngineError> {
        let (key, explained) = (parts.key(), parts.explainable().explained());
        let mut inputs = self.inputs(parts.node, parts.kind, known)?;
        inputs.extend(self.warm_inputs(parts.node, parts.kind)?.into_iter().map(|(_, input)| input));
        let settings = parts.settings.into_owned();
        Ok(Prepared { settings, inputs, files: parts.files, key, explained, previous: BTreeMap::new() })
    }

    /// Returns the parts of a key that the inputs give. The name of an input's node shapes bytes only for kinds that say
    /// so.
    fn input_parts(
        &self,
        node: &Node,
        kind: &dyn Kind,
        known: &[Option<Arc<Known>>],
    ) -> Result<Vec<(String, Digest)>, EngineError> {
        let with_name = kind.reads_input_names();
        let mut parts = Vec::new();
        for (role, edge, known) in read_edges(node, known) {
            let digest = self.artifact(edge, known)?.digest();
            let name = match role {
                InputRole::Model => "model".to_owned(),
                _ if with_name => format!("from {}", self.graph[edge.from].name),
                _ => "from".to_owned(),
            };
            parts.push((name, digest));
        }
        for (from, field, value) in self.field_values(node, kind, known)? {
            parts.push((format!("field {from}.{field}"), Digest::of(value.to_string().as_bytes())));
        }
        Ok(parts)
    }

    fn inputs(&self, node: &Node, kind: &dyn Kind, known: &[Option<Arc<Known>>]) -> Result<Vec<JobInput>, EngineError> {
        let mut inputs = Vec::new();
        for (role, edge, known) in read_edges(node, known) {
            inputs.push(JobInput {
                role,
                node: self.graph[edge.from].name.clone(),
                output: edge.output.clone(),
                artifact: self.artifact(edge, known)?.clone(),
                fields: known.fields.clone(),
            });
        }
        for (from, field, value) in self.field_values(node, kind, known)? {
            inputs.push(JobInput {
                role: InputRole::Fields,
                node: from,
                output: String::new(),
                artifact: Artifact::Folder { files: BTreeMap::new() },
                fields: BTreeMap::from([(field, value)]),
            });
        }
        Ok(inputs)
    }

    /// Returns the artifact that an edge reads.
    fn artifact<'k>(&self, edge: &Edge, known: &'k Known) -> Result<&'k Artifact, EngineError> {
        known.outputs.get(&edge.output).ok_or_else(|| {
            let from = &self.graph[edge.from];
            let declared = from.outputs.iter().map(|output| output.name.clone()).collect();
            let got = known.outputs.keys().cloned().collect();
            EngineError::WrongOutputs { node: from.name.clone(), got, declared }
        })
    }

    /// Returns the single fields that a node reads, such as a gate's metrics: node, field, value.
    fn field_values(
        &self,
        node: &Node,
        kind: &dyn Kind,
        known: &[Option<Arc<Known>>],
    ) -> Result<Vec<(String, String, Value)>, EngineError> {
        let mut values = Vec::new();
        for FieldReference { node: from, field, .. } in kind.references(&node.settings) {
            let value = self
                .graph
                .find(&from)
                .and_then(|index| known[index.get()].as_ref())
                .and_then(|known| known.fields.get(&field))
                .cloned()
                .ok_or_else(|| EngineError::MissingField {
                    node: node.name.clone(),
                    from: from.clone(),
                    field: field.clone(),
                })?;
            values.push((from, field, value));
        }
        Ok(values)
    }

    /// Returns the local files of a node with their digests, sorted by setting and name.
    fn files(&self, node: &Node, inputs: Vec<FileInput>) -> Result<Vec<JobFile>, EngineError> {
        let mut files = Vec::new();
        for input in inputs {
            for (name, path) in listed_files(node, self.root, self.store, &input)? {
                let file = match self.store.file(&path) {
                    Err(StoreError::Io(error)) if error.kind() == ErrorKind::NotFound => {
                        return Err(missing(node, &input));
                    }
                    Err(StoreError::Io(cause)) if cause.kind() == ErrorKind::PermissionDenied => {
                        let (node, setting) = (node.name.clone(), input.setting.to_owned());
                        return Err(EngineError::UnreadableFile { node, setting, path, cause });
                    }
                    file => file?,
                };
                let (digest, size) = (file.digest, file.size);
                files.push(JobFile { setting: input.setting.to_owned(), name, path, digest, size });
            }
        }
        Ok(files)
    }
}

/// Returns the edges whose artifacts a node reads. Fields are read one by one, and a gate lets the node run or not: it
/// shapes no bytes.
fn read_edges<'n>(
    node: &'n Node,
    known: &'n [Option<Arc<Known>>],
) -> impl Iterator<Item = (InputRole, &'n Edge, &'n Known)> {
    node.inputs.iter().filter_map(|edge| {
        let role = match edge.role {
            Role::From => InputRole::From,
            Role::Model => InputRole::Model,
            Role::Fields | Role::Gate => return None,
        };
        Some((role, edge, known[edge.from.get()].as_deref()?))
    })
}
