//! What enters a node's key from its own table: settings with placeholders filled in, and local files.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde_json::Value;

use super::{EngineError, Known};
use crate::graph::{Graph, Node};
use crate::node::FileInput;
use crate::store::Store;

/// Fills `{node.field}` in a node's settings with what those nodes gave.
pub(super) fn substitute<'n>(
    node: &'n Node,
    graph: &Graph,
    known: &[Option<Arc<Known>>],
) -> Result<Cow<'n, Value>, EngineError> {
    if node.references.is_empty() {
        return Ok(Cow::Borrowed(&node.settings));
    }
    let mut settings = node.settings.clone();
    for reference in &node.references {
        let from = &graph[reference.node];
        let Some(known) = &known[reference.node.get()] else { continue };
        let value = known.fields.get(&reference.field).ok_or_else(|| EngineError::MissingField {
            node: node.name.clone(),
            from: from.name.clone(),
            field: reference.field.clone(),
        })?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let Some(Value::String(setting)) = at(&mut settings, &reference.path) {
            *setting = setting.replace(&reference.placeholder, &text);
        }
    }
    Ok(Cow::Owned(settings))
}

fn at<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Object(map) => map.get_mut(key),
        Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Returns the files that an input names: relative name and path, sorted by name.
pub(super) fn listed_files(
    node: &Node,
    root: &Path,
    store: &Store,
    input: &FileInput,
) -> Result<Vec<(String, PathBuf)>, EngineError> {
    let path = root.join(&input.path);
    // A file that must be there is looked at by its reader, who says the same when it is not.
    if (input.optional || input.globs.is_some()) && !path.exists() {
        store.watch_absent(&path);
        return if input.optional { Ok(Vec::new()) } else { Err(missing(node, input)) };
    }
    let Some(globs) = &input.globs else {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok(vec![(name, path)]);
    };
    let (include, exclude) = (glob_set(node, &globs.include)?, glob_set(node, &globs.exclude)?);
    walk(node, &path, store, (&include, &exclude))
}

/// The error for a file or folder that is not there.
pub(super) fn missing(node: &Node, input: &FileInput) -> EngineError {
    EngineError::MissingFile { node: node.name.clone(), setting: input.setting.to_owned(), path: input.path.clone() }
}

fn walk(
    node: &Node,
    folder: &Path,
    store: &Store,
    (include, exclude): (&GlobSet, &GlobSet),
) -> Result<Vec<(String, PathBuf)>, EngineError> {
    let mut files = Vec::new();
    // What a Kubernetes volume keeps its versions in, beside links of the files' own names, begins with two dots.
    let is_visible = |entry: &walkdir::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b"..");
    let entries = walkdir::WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || is_visible(entry)) {
        let entry = match entry {
            // A link to a folder that it stands in, whose files were listed, or a link to nothing.
            Err(error) if error.depth() > 0 && leads_nowhere(&error) => continue,
            entry => entry.map_err(std::io::Error::from)?,
        };
        if entry.file_type().is_dir() {
            store.watch_folder(entry.path());
        }
        if !entry.file_type().is_file() {
            continue;
        }
        let relative = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        let name = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
        if (include.is_empty() || include.is_match(&name)) && !exclude.is_match(&name) {
            if relative.to_str().is_none() {
                // Two such names would be one in records and keys.
                return Err(EngineError::NameIsNoText { node: node.name.clone(), name });
            }
            files.push((name, entry.into_path()));
        }
    }
    files.sort();
    Ok(files)
}

fn leads_nowhere(error: &walkdir::Error) -> bool {
    error.loop_ancestor().is_some() || error.io_error().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

fn glob_set(node: &Node, globs: &[String]) -> Result<GlobSet, EngineError> {
    let bad = |glob: &str, error: &globset::Error| EngineError::BadGlob {
        node: node.name.clone(),
        glob: glob.to_owned(),
        what: error.kind().to_string(),
    };
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(Glob::new(glob).map_err(|error| bad(glob, &error))?);
    }
    builder.build().map_err(|error| bad(&globs.join(", "), &error))
}
