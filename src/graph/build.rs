//! A manifest to a checked graph, or everything that is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::catalog::Catalog;
use super::error::{GraphError, Sink};
use super::expand::{self, Draft, Look};
use super::node::{Graph, RunLimits};
use super::{order, out, resolve};
use crate::manifest::{Manifest, Problem, Problems, RunOptions, suggest};

/// From so many declarations on a loop is looked for before the nodes are made, which take time and memory; of fewer,
/// what else is wrong is told together with it.
const MANY: usize = 10_000;

impl Graph {
    /// Checks the declarations of `manifest` against the kinds of `catalog` and makes the graph.
    ///
    /// # Errors
    /// Everything that is wrong with the manifest, what [`Manifest::parse`] found included.
    pub fn build(manifest: &Manifest, catalog: &dyn Catalog) -> Result<Self, Problems> {
        Self::build_with_files(manifest, catalog, &mut |_| ControlFlow::Continue(()))
    }

    /// As [`Self::build`], and hands the local files of all nodes with valid settings to `look`, whatever else is wrong
    /// with the manifest. A break ends the work: nobody mends what a graph would show before these files.
    ///
    /// # Errors
    /// Those of [`Self::build`].
    pub fn build_with_files(manifest: &Manifest, catalog: &dyn Catalog, look: Look<'_>) -> Result<Self, Problems> {
        let mut found = Sink::default();
        let makes_sense = manifest.readable && !manifest.is_flooded();
        let graph = if makes_sense { checked(manifest, catalog, look, &mut found) } else { Self::default() };
        if manifest.problems.is_empty() && found.is_empty() {
            return Ok(graph);
        }
        let mut problems = manifest.problems_so_far();
        let (list, others) = found.into_parts();
        problems.extend(list.into_iter().map(|problem| Box::new(problem) as Problem).collect());
        problems.count_others(others);
        Err(problems)
    }
}

fn checked(manifest: &Manifest, catalog: &dyn Catalog, look: Look<'_>, problems: &mut Sink) -> Graph {
    if manifest.declarations.len() > MANY {
        order::report_loops_of_declarations(&manifest.declarations, problems);
        if !problems.is_empty() {
            return Graph::default();
        }
    }
    let mut notes = Vec::new();
    let Some((mut drafts, names)) = expand::expand(manifest, catalog, look, problems) else { return Graph::default() };
    resolve::resolve(&mut drafts, &names, problems);
    if problems.stops() {
        return Graph::default();
    }
    check_refresh(&drafts, problems);
    out::resolve(&mut drafts, manifest, &mut notes, problems);
    run_options(&mut drafts, manifest, problems);
    order::order(drafts, notes, problems)
}

fn check_refresh(drafts: &[Draft<'_>], problems: &mut Sink) {
    for draft in drafts {
        if let (Some(refresh), Some(kind)) = (&draft.declaration.refresh, draft.kind)
            && !kind.pinned(&draft.node.settings)
        {
            let node = draft.declaration.name.value.clone();
            problems.push(GraphError::NeedlessRefresh { node, at: refresh.span });
        }
    }
}

fn limits(options: RunOptions) -> RunLimits {
    let default = RunLimits::default();
    RunLimits {
        retries: options.retries.unwrap_or(default.retries),
        timeout: options.timeout.or(default.timeout),
        threads: options.threads.map(|threads| threads as usize),
        memory: options.memory,
        device: options.device,
        rehearse: options.rehearse,
    }
}

/// Gives each node its options: those of its own name, then those of its matrix, then those of all.
fn run_options(drafts: &mut [Draft<'_>], manifest: &Manifest, problems: &mut Sink) {
    let named: BTreeMap<&str, &RunOptions> =
        manifest.run.nodes.iter().map(|(name, options)| (name.value.as_str(), options)).collect();
    for draft in drafts.iter_mut() {
        let mut options = RunOptions::default();
        for name in [&draft.node.name, &draft.node.declared] {
            if let Some(found) = named.get(name.as_str()) {
                options = options.or(found);
            }
        }
        draft.node.run = limits(options.or(&manifest.run.options));
    }
    if named.is_empty() {
        return;
    }
    let known: BTreeSet<&str> =
        drafts.iter().flat_map(|draft| [draft.node.name.as_str(), draft.node.declared.as_str()]).collect();
    for (name, _) in &manifest.run.nodes {
        if !known.contains(name.value.as_str()) {
            let names = drafts.iter().map(|draft| draft.node.declared.as_str());
            let suggests = resolve::suggests(problems, drafts.len());
            problems.push(GraphError::UnknownRunNode {
                name: name.value.escape_debug().to_string(),
                at: name.span,
                help: suggests.then(|| suggest::help(&name.value, names, "nodes here")).flatten(),
            });
        }
    }
}
