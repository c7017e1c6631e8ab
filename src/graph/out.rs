//! The rules for `out`: where a node's default output is copied to in the work tree.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use globset::{Glob, GlobSetBuilder};
use miette::SourceSpan;

use super::catalog::{Content, LocalFiles};
use super::error::{GraphError, Sink};
use super::expand::Draft;
use super::node::{Node, Note};
use crate::manifest::{At, Manifest, Spanned};

/// Stands for `{profile}` when no profile is chosen.
const NO_PROFILE: &str = "default";

/// Linux opens no longer path, in bytes.
const LONGEST: usize = 4_096;

/// Fills in each draft's `out` and checks it.
pub(super) fn resolve(drafts: &mut [Draft<'_>], manifest: &Manifest, notes: &mut Vec<Note>, problems: &mut Sink) {
    for draft in drafts.iter_mut() {
        let Some(out) = &draft.declaration.out else { continue };
        let makes_bytes = draft.node.outputs.first().is_some_and(|output| output.content != Content::FIELDS);
        if draft.valid && !makes_bytes {
            let (node, at) = (draft.declaration.name.value.clone(), out.span);
            problems.push(GraphError::OutWithoutBytes { node, at });
            continue;
        }
        match path(&draft.node, out, manifest) {
            Ok(path) if manifest.profile.is_some() && !out.value.contains("{profile}") => {
                let text = format!("not written to `{path}` under a profile: the path has no `{{profile}}`");
                notes.push(Note { node: draft.node.name.clone(), text });
            }
            Ok(path) => draft.node.out = Some(path),
            Err(problem) => problems.push(*problem),
        }
    }
    check_unique(drafts, problems);
    check_not_read(drafts, problems);
}

/// Returns the path with axes and profile filled in, normalised.
fn path(node: &Node, out: &Spanned<String>, manifest: &Manifest) -> Result<String, Box<GraphError>> {
    let refuse = |why: &str| {
        Err(Box::new(GraphError::BadOut { node: node.declared.clone(), why: why.to_owned(), at: out.span }))
    };
    if out.value.len() > LONGEST {
        return refuse("it is longer than any path");
    }
    let mut path = out.value.clone();
    for (axis, value) in &node.axes {
        let placeholder = format!("{{{axis}}}");
        if !path.contains(&placeholder) {
            let (node, axis) = (node.declared.clone(), axis.clone());
            return Err(Box::new(GraphError::OutWithoutAxis { node, axis, at: out.span }));
        }
        path = path.replace(&placeholder, value);
    }
    path = path.replace("{profile}", manifest.profile.as_deref().unwrap_or(NO_PROFILE));
    if path.contains(['{', '}']) {
        return refuse("only `{profile}` and the axes of the node's matrix are filled in");
    }
    if path.contains('\\') {
        return refuse("folders are separated by `/`");
    }
    let Some(parts) = normal(Path::new(&path)) else { return refuse("it leaves the project") };
    if parts.is_empty() || path.ends_with('/') {
        return refuse("it names a folder, no file in it");
    }
    let path = parts.join("/");
    if parts[0] == ".git" {
        return refuse("it belongs to git");
    }
    if is_ours(&parts, &path, manifest) {
        return refuse("it belongs to tunesmith itself: the manifest, the lock, or the store");
    }
    Ok(path)
}

/// Returns the parts of a relative path without `.`; `None` when it is absolute or goes upwards.
fn normal(path: &Path) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?.to_owned()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts)
}

/// Whether a path is the manifest, a lock, or in the store.
fn is_ours(parts: &[String], path: &str, manifest: &Manifest) -> bool {
    let file = manifest.file_name();
    let stem = file.strip_suffix(".toml").unwrap_or(file);
    let is_lock = path
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_suffix(".lock"))
        .is_some_and(|profile| profile.is_empty() || profile.starts_with('.'));
    let store = manifest.cache.dir.as_ref().map_or("cache", |dir| dir.value.as_str());
    let in_store = normal(Path::new(store)).is_some_and(|store| !store.is_empty() && parts.starts_with(&store));
    path == file || is_lock || in_store
}

/// Reports paths that two nodes write, or that lie within each other.
fn check_unique(drafts: &[Draft<'_>], problems: &mut Sink) {
    let mut first: BTreeMap<&str, &Draft<'_>> = BTreeMap::new();
    for draft in drafts {
        let Some(path) = &draft.node.out else { continue };
        if let Some(first) = first.get(path.as_str()) {
            problems.push(twice(path, draft, first));
        } else {
            first.insert(path, draft);
        }
    }
    for (path, draft) in &first {
        for (end, _) in path.match_indices('/') {
            if let Some(folder) = first.get(&path[..end]) {
                problems.push(twice(&path[..end], draft, folder));
            }
        }
    }
}

fn twice(path: &str, draft: &Draft<'_>, first: &Draft<'_>) -> GraphError {
    GraphError::OutTwice {
        path: path.to_owned(),
        node: draft.node.name.clone(),
        first_node: first.node.name.clone(),
        at: out_span(draft),
        first: out_span(first),
    }
}

fn out_span(draft: &Draft<'_>) -> SourceSpan {
    draft.declaration.out.as_ref().map_or(draft.node.span, |out| out.span)
}

/// Reports nodes that write what a node reads as a local file.
fn check_not_read(drafts: &[Draft<'_>], problems: &mut Sink) {
    let written: Vec<&Draft<'_>> = drafts.iter().filter(|draft| draft.node.out.is_some()).collect();
    if written.is_empty() {
        return;
    }
    for reader in drafts {
        for files in &reader.node.files {
            let Some(reads) = Reads::new(files) else { continue };
            for writer in &written {
                if writer.node.out.as_ref().is_some_and(|out| reads.meet(out)) {
                    problems.push(GraphError::OutIsInput {
                        node: writer.node.name.clone(),
                        reader: reader.node.name.clone(),
                        at: out_span(writer),
                        read: reader.declaration.locate(&[files.setting.to_owned()], At::Value),
                    });
                }
            }
        }
    }
}

/// What a node reads, compared by name: paths outside the project meet no `out`.
struct Reads {
    path: String,
    globs: Option<(globset::GlobSet, globset::GlobSet)>,
}

impl Reads {
    fn new(files: &LocalFiles) -> Option<Self> {
        let path = normal(&files.path)?.join("/");
        let globs = files.globs.as_ref().map(|(include, exclude)| (glob_set(include), glob_set(exclude)));
        Some(Self { path, globs })
    }

    fn meet(&self, out: &str) -> bool {
        let below = |folder: &str, path: &str| -> Option<String> {
            if folder.is_empty() {
                return Some(path.to_owned());
            }
            path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned)
        };
        if out == self.path || below(out, &self.path).is_some() {
            return true;
        }
        match (&self.globs, below(&self.path, out)) {
            (Some((include, exclude)), Some(rest)) => {
                (include.is_empty() || include.is_match(&rest)) && !exclude.is_match(&rest)
            }
            _ => false,
        }
    }
}

/// Builds the set; globs that are none are their kind's problem.
fn glob_set(globs: &[String]) -> globset::GlobSet {
    let mut builder = GlobSetBuilder::new();
    for glob in globs.iter().filter_map(|glob| Glob::new(glob).ok()) {
        builder.add(glob);
    }
    builder.build().unwrap_or_default()
}
