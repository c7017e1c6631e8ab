//! Where a rehearsal takes place: a store of its own.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::super::execute::{Executor, Failure, check_outputs};
use super::super::plan::is_held_effect;
use super::super::{Decision, Deploy, EngineError, Known, Observer, Prepared, Resolver, Said};
use super::told::{Rehearsed, RehearsedPart};
use crate::graph::{Node, NodeIndex, Role};
use crate::node::{Cancel, Content, FailureClass, Grant, Progress, Secrets};
use crate::store::{Digest, Store};

/// What changes from day to day, while what is rehearsed does not depend on it.
const ROWS: [Content; 2] = [Content::Rows, Content::Records];

/// How a run is rehearsed.
pub struct Rehearse<'a> {
    /// The nodes that are built: what else follows is rehearsed, too, but fails nothing.
    pub selected: &'a BTreeSet<NodeIndex>,
    /// Which effects run, in the same sense.
    pub deploy: &'a Deploy,
    /// The program that heavy nodes run in; `None` runs them in this process.
    pub worker: Option<&'a Path>,
    /// What each run may use.
    pub grant: Grant,
    /// Takes what happens, under the name of the node that is rehearsed.
    pub observer: &'a dyn Observer,
    /// Stops it.
    pub cancel: &'a Cancel,
    /// Gives secrets.
    pub secrets: &'a dyn Secrets,
}

/// An `out` that could not be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`out = \"{path}\"` cannot be written")]
#[diagnostic(code(engine::rehearsal_out), help("make room for it, or name another path"))]
struct NoOut {
    path: String,
    #[source]
    cause: std::io::Error,
}

/// Returns the nodes that a node reads; whether a gate is met is no matter.
pub(super) fn read(node: &Node) -> impl Iterator<Item = NodeIndex> {
    node.inputs.iter().filter(|edge| edge.role != Role::Gate).map(|edge| edge.from)
}

/// Rehearses a run. `known` has what the other nodes gave, as far as that is known.
pub(super) fn rehearse(
    resolver: &Resolver<'_>,
    index: NodeIndex,
    prepared: &Prepared,
    known: &[Option<Arc<Known>>],
    options: &Rehearse<'_>,
) -> Result<Rehearsed, EngineError> {
    let mut rehearsed = Rehearsed::default();
    let mut following = Vec::new();
    let all = resolver.following(index)?;
    let known = known_before(resolver, &all, known, options)?;
    for later in all {
        let has_stand_in = |from: &NodeIndex| *from == index || following.contains(from);
        match read(&resolver.graph[later]).find(|from| !has_stand_in(from) && known[from.get()].is_none()) {
            Some(lacking) => rehearsed.left_out.push((later, lacking)),
            None => following.push(later),
        }
    }
    if following.is_empty() {
        return Ok(rehearsed);
    }
    let name = format!("rehearsed/{}", subject(resolver, (index, prepared), &following, &known)?);
    rehearsed.passed_before = resolver.store.state(&name)?.unwrap_or_default();

    // What waits for the next group commit is not seen by another opening of the store.
    resolver.store.flush()?;
    let folder = tempfile::Builder::new().prefix("rehearse-").tempdir_in(resolver.store.root().join("scratch"))?;
    let lender = Store::open(resolver.store.root(), resolver.store.remote_root())?;
    let aside = Store::open(&folder.path().join("store"), None)?.borrowing(lender);
    let stage =
        Stage { resolver: Resolver { store: &aside, ..*resolver }, options, known, name: &resolver.graph[index].name };
    let passed = stage.run_all(index, prepared, &following, &mut rehearsed)?;
    if passed && !rehearsed.passed_before {
        resolver.store.put_state(&name, &true)?;
    }
    Ok(rehearsed)
}

/// Returns what is known of all nodes when a run is about to start, with what its rehearsal needs beside: what is fresh and
/// was not decided about yet, and of what is not built the last result.
fn known_before(
    resolver: &Resolver<'_>,
    following: &[NodeIndex],
    known: &[Option<Arc<Known>>],
    options: &Rehearse<'_>,
) -> Result<Vec<Option<Arc<Known>>>, EngineError> {
    let mut known = known.to_vec();
    let upstream = resolver.graph.upstream(following);
    for node in resolver.graph.indices() {
        if !upstream[node.get()] || known[node.get()].is_some() || following.contains(&node) {
            continue;
        }
        known[node.get()] = match resolver.decide(node, &known) {
            Ok(Decision::Fresh(fresh)) => Some(fresh),
            _ if !options.selected.contains(&node) => resolver.last_built(node)?,
            _ => None,
        };
    }
    Ok(known)
}

/// Returns the digest of what a rehearsal is about: kinds, settings and the base. Which rows there are is no matter.
fn subject(
    resolver: &Resolver<'_>,
    (index, prepared): (NodeIndex, &Prepared),
    following: &[NodeIndex],
    known: &[Option<Arc<Known>>],
) -> Result<Digest, EngineError> {
    let place = |from: NodeIndex| std::iter::once(&index).chain(following).position(|node| *node == from);
    let mut parts = Vec::new();
    for &node_index in std::iter::once(&index).chain(following) {
        let node = &resolver.graph[node_index];
        let kind = resolver.kind(node)?;
        let edges = node.inputs.iter().filter(|edge| edge.role != Role::Gate).map(|edge| {
            let from = &resolver.graph[edge.from];
            let content = from.outputs.iter().find(|output| output.name == edge.output).map(|output| output.content.0);
            let is_rows = ROWS.iter().any(|rows| content == Some(rows.as_str()));
            let artifact = known[edge.from.get()].as_ref().and_then(|known| known.outputs.get(&edge.output));
            let digest = artifact.filter(|_| !is_rows).map(|artifact| artifact.digest().to_string());
            json!([edge.role.as_str(), edge.output, place(edge.from), digest])
        });
        let settings = if node_index == index { &prepared.settings } else { &node.settings };
        parts.push(json!([
            node.kind_name,
            kind.info().version,
            settings,
            kind.tools(settings),
            node.out,
            edges.collect::<Vec<_>>(),
        ]));
    }
    Ok(Digest::of(json!(parts).to_string().as_bytes()))
}

/// Where a rehearsal takes place.
struct Stage<'a> {
    /// Decides on the store that is dropped afterwards.
    resolver: Resolver<'a>,
    options: &'a Rehearse<'a>,
    known: Vec<Option<Arc<Known>>>,
    /// The node that is rehearsed.
    name: &'a str,
}

impl Stage<'_> {
    /// Runs everything until something that was asked for fails. Returns whether nothing at all failed.
    fn run_all(
        mut self,
        index: NodeIndex,
        prepared: &Prepared,
        following: &[NodeIndex],
        rehearsed: &mut Rehearsed,
    ) -> Result<bool, EngineError> {
        let (mut passed, mut lacking) = (true, Vec::new());
        for &part in std::iter::once(&index).chain(following) {
            let node = &self.resolver.graph[part];
            let kind = self.resolver.kind(node)?;
            let is_held = is_held_effect(&self.resolver, part, self.options.deploy)?;
            let is_asked = self.options.selected.contains(&part) && !is_held;
            let is_over = rehearsed.passed_before && !kind.is_effect(&node.settings);
            // `--offline` opens no socket that was not asked for.
            if is_over || is_held && self.resolver.mode.offline {
                continue;
            }
            // After a failure that stops nothing, what reads it has nothing to read.
            let failed = rehearsed.parts.iter().filter(|part| part.result.is_err()).map(|part| part.index);
            let failed: Vec<NodeIndex> = failed.chain(lacking.iter().copied()).collect();
            if read(node).any(|from| failed.contains(&from)) {
                lacking.push(part);
                continue;
            }
            let started = Instant::now();
            let result = if part == index {
                self.run(part, prepared)
            } else {
                match self.resolver.prepare(node, kind, &self.known) {
                    Ok(prepared) => self.run(part, &prepared),
                    Err(error) => Err(error.into()),
                }
            };
            let result = match result {
                Ok(known) => {
                    let counts = known.report.clone();
                    self.known[part.get()] = Some(known);
                    Ok(counts)
                }
                Err(Failure::Engine(error)) => return Err(error),
                Err(Failure::Node(error)) => Err(error),
            };
            let ends_here = result.as_ref().is_err_and(|error| is_asked || error.class == FailureClass::Cancelled);
            passed &= result.is_ok();
            if part != index || result.is_err() {
                rehearsed.parts.push(RehearsedPart { index: part, duration: started.elapsed(), result, is_asked });
            }
            if ends_here {
                break;
            }
        }
        Ok(passed)
    }

    /// Runs one node, and sees whether its `out` could be written.
    fn run(&self, index: NodeIndex, prepared: &Prepared) -> Result<Arc<Known>, Failure> {
        let node = &self.resolver.graph[index];
        let kind = self.resolver.kind(node)?;
        let voice = Voice { observer: self.options.observer, name: self.name };
        let executor = Executor {
            resolver: &self.resolver,
            observer: &voice,
            cancel: self.options.cancel,
            secrets: self.options.secrets,
            worker: self.options.worker,
            grant: self.options.grant,
            complained: Arc::default(),
        };
        let outcome = executor.tries(node, kind, prepared)?;
        check_outputs(node, kind, prepared, &outcome)?;
        if let Some(path) = &node.out {
            writable(&self.resolver.root.join(path))
                .map_err(|cause| Failure::Node(NoOut { path: path.clone(), cause }.into()))?;
        }
        let report = outcome.report.into_iter().map(|count| (count.what, count.count)).collect();
        Ok(Arc::new(Known { key: prepared.key, outputs: outcome.outputs, fields: outcome.fields, report }))
    }
}

/// Sees whether something could be written at a path: in the nearest folder on its way that is there. Nothing stays.
fn writable(path: &Path) -> std::io::Result<()> {
    let folder = path.ancestors().skip(1).find(|folder| folder.symlink_metadata().is_ok());
    tempfile::tempfile_in(folder.unwrap_or(Path::new("/"))).map(drop)
}

/// Says what the parts of a rehearsal say under the name of the node that is rehearsed.
struct Voice<'a> {
    observer: &'a dyn Observer,
    name: &'a str,
}

impl Observer for Voice<'_> {
    fn said(&self, part: &str, said: &Said) {
        let said = match said {
            Said::Progress(progress) => {
                let detail = format!("rehearsing `{part}` {}", progress.detail).trim_end().to_owned();
                Said::Progress(Progress { detail, ..progress.clone() })
            }
            Said::Warning { text } => Said::Warning { text: format!("rehearsing `{part}`: {text}") },
            Said::Retry { .. } => said.clone(),
            _ => return,
        };
        self.observer.said(self.name, &said);
    }
}
