//! Overlays: what `--profile` and `--set` put over the manifest before it is read.
//!
//! An overlay changes a node or a table that is there; it never makes a node.

use miette::SourceSpan;

use super::Family;
use super::error::ManifestError;
use super::field::Sink;
use super::source::Sources;
use super::suggest;
use super::syntax;
use super::value::{Data, Entry, Spanned, Table, Value};

/// Tables without nodes that an overlay may change.
const TABLES: [&str; 5] = ["project", "model", "run", "cache", "source"];

/// What the command line puts over the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlays {
    /// `--profile NAME`
    pub profile: Option<String>,
    /// `--set KEY=VALUE`, in order; a later one wins.
    pub set: Vec<String>,
}

/// One value and the way to where it belongs.
struct Overlay {
    path: Vec<String>,
    at: SourceSpan,
    value: Value,
}

/// Applies the profile and then each `--set` to the document. The other profiles are checked as well.
pub(super) fn apply(document: &mut Table, overlays: &Overlays, sources: &mut Sources, problems: &mut Sink) {
    let profiles = document.get("profile").and_then(Value::as_table).cloned().unwrap_or_default();
    for Entry { key, value } in profiles.entries() {
        let chosen = overlays.profile.as_ref() == Some(&key.value);
        let Some(table) = value.as_table() else { continue };
        let mut list = Vec::new();
        flatten(table, &mut Vec::new(), &mut list, problems);
        for overlay in list {
            match target(document, &overlay) {
                Ok(()) if chosen => put(document, overlay, problems),
                Ok(()) => {}
                Err(problem) => problems.push(problem),
            }
        }
    }
    if let Some(name) = &overlays.profile
        && profiles.get(name).is_none()
    {
        let start = sources.add("--profile", name);
        let help = suggest::help(name, profiles.entries().iter().map(|entry| entry.key.value.as_str()), "profiles")
            .or_else(|| Some("the manifest has no profiles".into()));
        problems.push(ManifestError::UnknownProfile { name: name.clone(), at: (start, name.len()).into(), help });
    }
    for text in &overlays.set {
        let start = sources.add("--set", text);
        match read_set(text, start, problems) {
            Ok(overlay) => match target(document, &overlay) {
                Ok(()) => put(document, overlay, problems),
                Err(problem) => problems.push(problem),
            },
            Err(problem) => problems.push(problem),
        }
    }
}

/// Reads `KEY=VALUE`: the key dotted, the value as TOML; a bare word is a string.
fn read_set(text: &str, start: usize, problems: &mut Sink) -> Result<Overlay, ManifestError> {
    let all = (start, text.len()).into();
    let help = Some("write `--set train.expert.epochs=1`".to_owned());
    let bad =
        |why: &str, at| ManifestError::BadOverlay { key: shown(text), why: why.to_owned(), at, help: help.clone() };
    let equals = equals_sign(text).ok_or_else(|| bad("there is no `=`", all))?;
    let key = text[..equals].trim_end();
    let at = (start, key.len()).into();
    let path = syntax::dotted_key(key).ok_or_else(|| bad("not a dotted key", at))?;
    let raw = &text[equals + 1..];
    let indent = raw.len() - raw.trim_start().len();
    let raw = raw.trim();
    let value_start = start + equals + 1 + indent;
    let span = (value_start, raw.len()).into();
    let value = match syntax::value(raw, value_start, problems) {
        Some(value) => value,
        None if raw.starts_with(['"', '\'', '[', '{']) => return Err(bad("not a TOML value", span)),
        None => Value { span, data: Data::String(raw.to_owned()) },
    };
    Ok(Overlay { path, at, value })
}

/// Returns where the `=` between key and value stands: not within quotes.
fn equals_sign(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, '=') => return Some(index),
            _ => {}
        }
    }
    None
}

/// Lists a profile's overlays: quoted dotted keys, and tables within tables down to a node's settings.
fn flatten(table: &Table, prefix: &mut Vec<String>, list: &mut Vec<Overlay>, problems: &mut Sink) {
    for Entry { key, value } in table.entries() {
        let Some(steps) = syntax::dotted_key(&key.value) else {
            let why = "not a dotted key".to_owned();
            let help = Some("write `\"train.expert.epochs\" = 1`".to_owned());
            problems.push(ManifestError::BadOverlay { key: shown(&key.value), why, at: key.span, help });
            continue;
        };
        let depth = prefix.len();
        prefix.extend(steps);
        match value.as_table() {
            Some(inner) if prefix.len() < settings_depth(prefix) => flatten(inner, prefix, list, problems),
            _ => list.push(Overlay { path: prefix.clone(), at: key.span, value: value.clone() }),
        }
        prefix.truncate(depth);
    }
}

/// Returns how many steps lead to a setting: `model.base` has two, `train.expert.rank` three.
fn settings_depth(path: &[String]) -> usize {
    match path {
        [run, node, ..] if run == "run" && node == "node" => 4,
        [family, ..] if is_node_family(family) => 3,
        _ => 2,
    }
}

fn is_node_family(name: &str) -> bool {
    Family::NAMED.iter().any(|family| family.as_str() == name)
}

/// Checks that the overlay names something that is there.
fn target(document: &Table, overlay: &Overlay) -> Result<(), ManifestError> {
    let key = overlay.path.join(".");
    let refuse = |why: String, help: Option<String>| {
        Err(ManifestError::BadOverlay { key: shown(&key), why, at: overlay.at, help })
    };
    let first = overlay.path[0].as_str();
    if is_node_family(first) {
        let nodes = document.get(first).and_then(Value::as_table);
        let names = nodes.into_iter().flat_map(Table::entries).map(|entry| entry.key.value.as_str());
        let Some(node) = overlay.path.get(1) else {
            return refuse("names a family, no setting".into(), Some(format!("write `{first}.NODE.SETTING`")));
        };
        if nodes.is_none_or(|nodes| nodes.get(node).is_none()) {
            let help = suggest::help(node, names, &format!("nodes in `{first}`"));
            return refuse(format!("no node `{first}.{}`", shown(node)), help);
        }
    } else if !TABLES.contains(&first) {
        let known = TABLES[..4].iter().copied().chain(Family::NAMED.iter().map(|family| family.as_str()));
        return refuse(format!("no table `{}` to change", shown(first)), suggest::help(first, known, "tables"));
    }
    if overlay.path.len() < settings_depth(&overlay.path) {
        return refuse("names a table, no setting".into(), Some(format!("write `{key}.SETTING`")));
    }
    Ok(())
}

/// Sets the value, making tables on the way where there are none.
fn put(document: &mut Table, overlay: Overlay, problems: &mut Sink) {
    let Overlay { path, at, value } = overlay;
    let Some((last, parents)) = path.split_last() else { return };
    let mut table = document;
    for step in parents {
        if table.get(step).is_none() {
            let made = Value { span: at, data: Data::Table(Table::default()) };
            table.set(Spanned { value: step.clone(), span: at }, made);
        }
        let Some(Value { data: Data::Table(inner), .. }) = table.get_mut(step) else {
            let why = format!("`{}` is no table", shown(step));
            problems.push(ManifestError::BadOverlay { key: shown(&path.join(".")), why, at, help: None });
            return;
        };
        table = inner;
    }
    table.set(Spanned { value: last.clone(), span: at }, value);
}

/// Returns text from outside in a form that is safe in a message.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}
