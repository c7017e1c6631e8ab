//! Tables to declarations: the keys that every node may have, and the checks that need no kind.

use std::collections::BTreeMap;

use miette::SourceSpan;
use serde_json::Value as Json;

use super::declaration::{Axis, Declaration, Family, Input, Refresh, is_axis_value, is_name};
use super::error::ManifestError;
use super::field::{self, Sink};
use super::run::{read_cache, read_run, unknown_key};
use super::suggest;
use super::value::{Data, Entry, Spanned, Table, Value};
use super::{Manifest, Project};

/// The `schema` that this version reads.
const SCHEMA: i64 = 1;
/// The only `type` of `[model]`, which the manifest does not write.
const MODEL_TYPE: &str = "base";
/// More profiles are refused: `check` reads the manifest once for each.
const MOST_PROFILES: usize = 64;
const TABLES: [&str; 11] =
    ["schema", "project", "model", "source", "filter", "train", "export", "eval", "run", "cache", "profile"];
/// Keys of a node that are not settings of its kind.
const NODE_KEYS: [&str; 6] = ["type", "from", "out", "gate", "refresh", "matrix"];

/// Reads the whole document, overlays already applied.
pub(super) fn document(document: Table, start: usize, manifest: &mut Manifest, problems: &mut Sink) {
    check_schema(&document, start, problems);
    for Entry { key, value } in document.into_entries() {
        let name = key.value.as_str();
        if name == "schema" {
            continue;
        }
        let Some(family) = Family::ALL.into_iter().find(|family| family.as_str() == name) else {
            match name {
                "project" | "run" | "cache" | "profile" => {
                    if let Some(table) = field::table(name, &value, problems) {
                        other_table(name, table, manifest, problems);
                    }
                }
                _ => problems.push(ManifestError::UnknownTable {
                    name: name.escape_debug().to_string(),
                    at: key.span,
                    help: suggest::help(name, TABLES, "tables"),
                }),
            }
            continue;
        };
        if field::table(name, &value, problems).is_none() {
            continue;
        }
        let Data::Table(table) = value.data else { continue };
        if family == Family::Model {
            manifest.declarations.push(model(&key, table));
        } else {
            nodes(family, table, &mut manifest.declarations, problems);
        }
    }
    manifest.declarations.sort_by_key(|declaration| declaration.name.span.offset());
    check_unique(&mut manifest.declarations, problems);
}

fn check_schema(document: &Table, start: usize, problems: &mut Sink) {
    match document.get("schema") {
        None => problems.push(ManifestError::NoSchema { at: (start, 0).into() }),
        Some(value) if value.data == Data::Integer(SCHEMA) => {}
        Some(value) => problems.push(ManifestError::UnknownSchema { at: value.span }),
    }
}

fn other_table(name: &str, table: &Table, manifest: &mut Manifest, problems: &mut Sink) {
    match name {
        "project" => {
            for Entry { key, value } in table.entries() {
                match key.value.as_str() {
                    "name" => {
                        manifest.project = Project { name: field::plain_string("name", value, problems) };
                    }
                    _ => problems.push(unknown_key(key, "project", ["name"])),
                }
            }
        }
        "run" => manifest.run = read_run(table, problems),
        "cache" => manifest.cache = read_cache(table, problems),
        _ => {
            if let Some(first) = table.entries().get(MOST_PROFILES) {
                let found = table.entries().len();
                let at = first.key.span;
                problems.push(ManifestError::TooLarge { what: "profiles", found, limit: MOST_PROFILES, at });
                return;
            }
            for Entry { key, value } in table.entries() {
                check_name("a profile", key, problems);
                field::table(&key.value, value, problems);
                manifest.profiles.push(key.clone());
            }
        }
    }
}

fn model(key: &Spanned<String>, table: Table) -> Declaration {
    Declaration {
        family: Family::Model,
        name: key.clone(),
        kind: Some(Spanned { value: MODEL_TYPE.to_owned(), span: key.span }),
        from: None,
        has_refused_inputs: false,
        out: None,
        gate: None,
        refresh: None,
        matrix: Vec::new(),
        settings: table,
    }
}

fn nodes(family: Family, table: Table, declarations: &mut Vec<Declaration>, problems: &mut Sink) {
    for Entry { key, value } in table.into_entries() {
        let Data::Table(settings) = value.data else {
            let help = Some(format!("a node is a table: `[{family}.NAME]`"));
            field::wrong_type::<()>(
                &format!("{family}.{}", key.value.escape_debug()),
                &value,
                "a table",
                help,
                problems,
            );
            continue;
        };
        if key.value == "model" {
            problems.push(ManifestError::ReservedName { at: key.span });
        } else if check_name("a node", &key, problems) {
            declarations.push(node(family, key, settings, problems));
        }
    }
}

/// Reads one node: takes its own keys out of the table; the rest are the kind's settings.
fn node(family: Family, name: Spanned<String>, mut settings: Table, problems: &mut Sink) -> Declaration {
    let kind = settings.take("type").map(|entry| field::plain_string("type", &entry.value, problems));
    if kind.is_none() {
        problems.push(ManifestError::MissingType { node: name.value.clone(), at: name.span });
    }
    let before = problems.len();
    let from = settings.take("from").and_then(|entry| inputs(&name, &entry.value, problems));
    let has_refused_inputs = problems.len() > before;
    let out = settings.take("out").and_then(|entry| field::plain_string("out", &entry.value, problems));
    let gate = settings.take("gate").and_then(|entry| field::plain_string("gate", &entry.value, problems));
    let refresh = settings.take("refresh").and_then(|entry| refresh(&entry.value, problems));
    let matrix = settings.take("matrix").map(|entry| matrix(&entry.value, &settings, problems));
    Declaration {
        family,
        name,
        kind: kind.flatten(),
        from,
        has_refused_inputs,
        out,
        gate,
        refresh,
        matrix: matrix.unwrap_or_default(),
        settings,
    }
}

fn inputs(node: &Spanned<String>, value: &Value, problems: &mut Sink) -> Option<Spanned<Vec<Spanned<Input>>>> {
    let Data::Array(items) = &value.data else {
        let help = value.as_str().map(|text| format!("write `from = [\"{}\"]`", text.escape_debug()));
        return field::wrong_type("from", value, "an array of node names", help, problems);
    };
    let mut inputs = Vec::with_capacity(items.len());
    let mut seen: BTreeMap<&str, SourceSpan> = BTreeMap::new();
    for item in items {
        let Some(text) = field::string("from", item, problems) else { continue };
        let Some(input) = Input::parse(&text.value) else {
            let shown = text.value.escape_debug().to_string();
            problems.push(ManifestError::BadInput { help: input_help(&text.value), text: shown, at: text.span });
            continue;
        };
        if let Some(&first) = item.as_str().and_then(|text| seen.get(text)) {
            let (node, input) = (node.value.clone(), text.value);
            problems.push(ManifestError::RepeatedInput { node, input, at: text.span, first });
            continue;
        }
        seen.extend(item.as_str().map(|entry| (entry, item.span)));
        inputs.push(Spanned { value: input, span: text.span });
    }
    Some(Spanned { value: inputs, span: value.span })
}

/// Says how an input is written, for what people write instead.
fn input_help(text: &str) -> String {
    let family_and_name =
        text.split_once('.').filter(|(family, _)| Family::NAMED.iter().any(|known| known.as_str() == *family));
    match family_and_name {
        Some((_, name)) => format!("names are unique over all families: write `{}`", name.escape_debug()),
        None if text.contains('/') => {
            "`from` names nodes, never paths: read files by a `source`, and name it here".into()
        }
        None => "inputs are `NODE`, `NODE:OUTPUT`, `NODE@*` or `NODE@AXIS=VALUE`".into(),
    }
}

fn refresh(value: &Value, problems: &mut Sink) -> Option<Spanned<Refresh>> {
    let refresh = match value.as_str() {
        Some("manual") => Refresh::Manual,
        Some("always") => Refresh::Always,
        Some(text) => match humantime::parse_duration(text) {
            Ok(time) if !time.is_zero() => Refresh::Every(time),
            _ => {
                let help = "write `refresh = \"manual\"`, `\"always\"`, or an age such as `\"24h\"`";
                return field::wrong_value("refresh", value.span, "no policy and no age", Some(help.into()), problems);
            }
        },
        None => return field::wrong_type("refresh", value, "a string", None, problems),
    };
    Some(Spanned { value: refresh, span: value.span })
}

fn matrix(value: &Value, settings: &Table, problems: &mut Sink) -> Vec<Axis> {
    let Some(table) = field::table("matrix", value, problems) else { return Vec::new() };
    let mut axes = Vec::new();
    if table.is_empty() {
        problems.push(bad_matrix("matrix", "it has no axis", value.span));
    }
    for Entry { key, value } in table.entries() {
        match axis(key, value, settings) {
            Ok(axis) => axes.push(axis),
            Err(problem) => problems.push(problem),
        }
    }
    axes.sort_by(|a: &Axis, b| a.name.value.cmp(&b.name.value));
    axes
}

fn axis(key: &Spanned<String>, value: &Value, settings: &Table) -> Result<Axis, ManifestError> {
    let refuse = |why, at| Err(bad_matrix(&key.value, why, at));
    if !is_name(&key.value) {
        return refuse("an axis is named like a setting", key.span);
    }
    if NODE_KEYS.contains(&key.value.as_str()) {
        return refuse("an axis is a setting of the kind", key.span);
    }
    if settings.get(&key.value).is_some() {
        return refuse("the node sets this as well", key.span);
    }
    let Data::Array(items) = &value.data else { return refuse("its values are an array", value.span) };
    if items.is_empty() {
        return refuse("it has no value", value.span);
    }
    let mut values: BTreeMap<String, SourceSpan> = BTreeMap::new();
    let mut named = Vec::new();
    for item in items {
        let name = match item.to_json() {
            Json::String(text) if is_axis_value(&text) => text,
            Json::String(_) => return refuse("in a name only letters, digits and `-_.+` can stand", item.span),
            scalar @ (Json::Number(_) | Json::Bool(_)) => scalar.to_string(),
            _ => return refuse("values are strings, numbers or booleans", item.span),
        };
        if values.insert(name.clone(), item.span).is_some() {
            return refuse("the same value twice", item.span);
        }
        named.push((name, item.clone()));
    }
    Ok(Axis { name: key.clone(), values: named })
}

fn bad_matrix(axis: &str, why: &'static str, at: SourceSpan) -> ManifestError {
    ManifestError::BadMatrix { axis: axis.escape_debug().to_string(), why, at }
}

fn check_name(what: &'static str, name: &Spanned<String>, problems: &mut Sink) -> bool {
    let good = is_name(&name.value);
    if !good {
        let shown = name.value.chars().take(80).flat_map(char::escape_debug).collect();
        problems.push(ManifestError::BadName { what, name: shown, at: name.span });
    }
    good
}

/// Reports names that stand twice, and keeps the first of each.
fn check_unique(declarations: &mut Vec<Declaration>, problems: &mut Sink) {
    let mut first: BTreeMap<String, SourceSpan> = BTreeMap::new();
    declarations.retain(|declaration| {
        let Spanned { value: name, span: at } = declaration.name.clone();
        match first.get(&name) {
            Some(&first) => {
                problems.push(ManifestError::DuplicateName { name, at, first });
                false
            }
            None => first.insert(name, at).is_none(),
        }
    });
}
