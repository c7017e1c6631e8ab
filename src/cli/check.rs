//! `tunesmith check`: everything that is wrong with the manifest, absent local files and all profiles included.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use miette::{Diagnostic, SourceSpan};
use serde_json::json;

use super::project::ManifestText;
use super::{CliError, Context, Execute, Exit, project};
use crate::graph::{Graph, LocalFiles, NamedFiles};
use crate::manifest::{Family, MOST_KEPT, Manifest, Others, Problem, Problems, suggest};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Check {}

/// So many names of a folder are looked at for a like one.
const MOST_NAMES: usize = 10_000;

/// A local file that is not as the manifest says.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum FileProblem {
    /// It is not there.
    #[error("node `{node}` reads `{path}`, which is not there")]
    #[diagnostic(code(check::missing_file))]
    Missing {
        node: String,
        path: String,
        #[help]
        help: Option<String>,
        #[label("no such file or folder")]
        at: SourceSpan,
    },
    /// It is a file where a folder is meant, or a folder where a file is meant.
    #[error("node `{node}` reads `{path}` as {expected}, which it is not")]
    #[diagnostic(code(check::wrong_file), help("paths start from the manifest's folder"))]
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
        let ManifestText { file, shown, text } = project::text(context)?;
        let root = file.parent().unwrap_or(Path::new("/"));
        let chosen = context.globals.profile.as_deref();
        let manifest = project::parse(context, &shown, &text, chosen);
        let mut judged = judge(root, &manifest, context);
        if chosen.is_none() {
            for profile in &manifest.profiles {
                if judged.as_ref().is_err_and(|problems| problems.count() > MOST_KEPT) {
                    break;
                }
                let overlaid = project::parse(context, &shown, &text, Some(&profile.value));
                judged = both(judged, judge(root, &overlaid, context));
            }
        }
        let graph = judged?;
        report(&manifest.file, &graph, context);
        Ok(Exit::Done)
    }
}

/// Returns the graph, or everything that is wrong with the manifest and the files that it names.
fn judge(root: &Path, manifest: &Manifest, context: &Context<'_>) -> Result<Graph, Problems> {
    let catalog = &context.surroundings.catalog;
    if manifest.is_flooded() {
        return Err(manifest.problems_so_far());
    }
    let mut told: Vec<Problem> = Vec::new();
    let mut stopped = false;
    let built = Graph::build_with_files(manifest, catalog, &mut |files| {
        if is_wrong(root, &files) {
            // Each costs a look into a folder.
            stopped = told.len() >= MOST_KEPT;
            if stopped {
                return ControlFlow::Break(());
            }
            told.push(Box::new(file_problem(root, &files)));
        }
        ControlFlow::Continue(())
    });
    let mut problems = match built {
        Ok(graph) if told.is_empty() => return Ok(graph),
        Ok(_) => Problems::new(manifest.sources.clone(), told),
        Err(mut problems) => {
            problems.extend(told);
            problems
        }
    };
    problems.count_others(Others { count: usize::from(stopped), stopped });
    Err(problems)
}

/// Returns the first graph where both are right, and otherwise the problems of both.
fn both(one: Result<Graph, Problems>, other: Result<Graph, Problems>) -> Result<Graph, Problems> {
    match (one, other) {
        (Ok(graph), Ok(_)) => Ok(graph),
        (Err(mut problems), Err(more)) => {
            problems.extend(more.into_list());
            Err(problems)
        }
        (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => Err(problems),
    }
}

/// Returns whether what lies at a path is not what a node reads there.
fn is_wrong(root: &Path, files: &NamedFiles) -> bool {
    let LocalFiles { path, globs, optional, .. } = &files.files;
    match fs_err::metadata(root.join(path)) {
        Ok(found) => found.is_dir() != globs.is_some(),
        Err(_) => !optional,
    }
}

fn file_problem(root: &Path, files: &NamedFiles) -> FileProblem {
    let LocalFiles { path, globs, .. } = &files.files;
    let (node, shown, at) = (files.node.clone(), path.display().to_string().escape_debug().to_string(), files.at);
    if root.join(path).exists() {
        let expected = if globs.is_some() { "a folder" } else { "a file" };
        FileProblem::WrongSort { node, path: shown, expected, at }
    } else {
        FileProblem::Missing { node, path: shown, help: Some(file_help(root, path)), at }
    }
}

/// Says what of a like name lies there.
fn file_help(root: &Path, path: &Path) -> String {
    let folder = path.parent().unwrap_or(Path::new(""));
    let entries = fs_err::read_dir(root.join(folder)).into_iter().flatten().take(MOST_NAMES);
    let names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match suggest::nearest(&name, names.iter().map(String::as_str)).first() {
        Some(near) => format!("did you mean `{}`?", folder.join(near).display().to_string().escape_debug()),
        None => "paths start from the manifest's folder".to_owned(),
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
