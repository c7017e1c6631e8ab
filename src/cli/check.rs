//! `tunesmith check`: everything that is wrong with the manifest, absent local files included.

use std::collections::BTreeMap;
use std::path::Path;

use miette::{Diagnostic, SourceSpan};
use serde_json::json;

use super::{CliError, Context, Execute, Exit, project};
use crate::graph::{Graph, LocalFiles, NamedFiles};
use crate::manifest::{Family, Problem, Problems};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Check {}

/// A local file that is not as the manifest says.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum FileProblem {
    /// It is not there.
    #[error("node `{node}` reads `{path}`, which is not there")]
    #[diagnostic(code(check::missing_file), help("paths start from the manifest's folder"))]
    Missing {
        node: String,
        path: String,
        #[label("no such file or folder")]
        at: SourceSpan,
    },
    /// It is a file where a folder is meant, or a folder where a file is meant.
    #[error("node `{node}` reads `{path}` as {expected}, which it is not")]
    #[diagnostic(code(check::wrong_file))]
    WrongSort {
        node: String,
        path: String,
        expected: &'static str,
        #[label("not {expected}")]
        at: SourceSpan,
    },
}

impl Execute for Check {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let (file, manifest) = project::read(context)?;
        let catalog = &context.surroundings.catalog;
        let root = file.parent().unwrap_or(Path::new("/"));
        let files = Graph::local_files(&manifest, catalog);
        let mut list: Vec<Problem> = Vec::new();
        list.extend(
            files.iter().filter_map(|files| check_file(root, files)).map(|problem| Box::new(problem) as Problem),
        );
        let graph = match Graph::build(&manifest, catalog) {
            Ok(graph) if list.is_empty() => graph,
            Ok(_) => return Err(Problems::new(manifest.sources, list).into()),
            Err(mut problems) => {
                problems.extend(list);
                return Err(problems.into());
            }
        };
        report(&manifest.file, &graph, context);
        Ok(Exit::Done)
    }
}

fn check_file(root: &Path, files: &NamedFiles) -> Option<FileProblem> {
    let LocalFiles { path, globs, optional, .. } = &files.files;
    let (node, shown, at) = (files.node.clone(), path.display().to_string(), files.at);
    let expected = if globs.is_some() { "a folder" } else { "a file" };
    match fs_err::metadata(root.join(path)) {
        Ok(found) if found.is_dir() == globs.is_some() => None,
        Ok(_) => Some(FileProblem::WrongSort { node, path: shown, expected, at }),
        Err(_) if *optional => None,
        Err(_) => Some(FileProblem::Missing { node, path: shown, at }),
    }
}

fn report(file: &str, graph: &Graph, context: &mut Context<'_>) {
    let mut counts: BTreeMap<Family, usize> = BTreeMap::new();
    for node in graph.nodes() {
        *counts.entry(node.family).or_default() += 1;
    }
    let parts: Vec<String> = counts.iter().map(|(family, count)| format!("{count} {family}")).collect();
    let total = graph.nodes().len();
    let nodes = if total == 1 { "node" } else { "nodes" };
    context.output.line(format_args!("{file}: no problem in {total} {nodes} ({})", parts.join(", ")));
    for note in graph.notes() {
        context.output.note(format_args!("note: `{}` is {}", note.node, note.text));
    }
    let families: BTreeMap<&str, usize> = counts.iter().map(|(family, count)| (family.as_str(), *count)).collect();
    let notes: Vec<_> = graph.notes().iter().map(|note| json!({ "node": note.node, "note": note.text })).collect();
    context
        .output
        .json(&json!({ "check": { "manifest": file, "nodes": total, "families": families, "notes": notes } }));
}
