//! `tunesmith schema`: the JSON Schema of a manifest, made of the schemas of all kinds; or the README's table of them.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{CliError, Context, Execute, Exit};
use crate::engine::KindCatalog;
use crate::node::{Family, Kind, KindInfo};

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Print a Markdown table of the node types instead
    #[arg(long)]
    table: bool,
}

/// What can name a node or a profile.
const NAME: &str = "^[a-z0-9][a-z0-9_-]{0,63}$";

impl Execute for Schema {
    fn execute(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let catalog = &context.surroundings.catalog;
        if self.table {
            context.output.text(&table(catalog));
        } else {
            let schema = manifest_schema(catalog);
            if context.output.is_json() {
                context.output.json(&schema);
            } else {
                context.output.text(&format!("{schema:#}\n"));
            }
        }
        Ok(Exit::Done)
    }
}

/// Returns the JSON Schema of a manifest.
fn manifest_schema(catalog: &KindCatalog) -> Value {
    let mut definitions = Map::new();
    let mut properties = Map::new();
    properties.insert("schema".into(), json!({ "const": 1, "description": "The version of the manifest's form." }));
    properties.insert("project".into(), closed(&json!({ "name": { "type": "string" } })));
    for family in Family::ALL {
        let kinds: Vec<&dyn Kind> = catalog.kinds().filter(|kind| kind.info().family == family).collect();
        let mut choices = Vec::new();
        for kind in &kinds {
            let name = kind.info().full_name();
            choices.push(json!({ "$ref": format!("#/$defs/{name}") }));
            definitions.insert(name.clone(), node_schema(*kind, &name));
        }
        let table = match family {
            Family::Model => choices.pop().unwrap_or_else(|| json!({ "type": "object" })),
            _ => json!({
                "type": "object",
                "propertyNames": { "pattern": NAME, "not": { "const": "model" } },
                "additionalProperties": if choices.is_empty() { json!(false) } else { json!({ "oneOf": choices }) },
            }),
        };
        properties.insert(family.as_str().into(), table);
    }
    properties.insert("run".into(), run_schema());
    properties.insert("cache".into(), closed(&json!({ "remote": { "type": "string" }, "dir": { "type": "string" } })));
    properties.insert(
        "profile".into(),
        json!({
            "type": "object",
            "description": "Overlays: dotted keys such as \"train.expert.epochs\" and their values.",
            "propertyNames": { "pattern": NAME },
            "additionalProperties": { "type": "object" },
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tunesmith pipeline",
        "type": "object",
        "required": ["schema"],
        "additionalProperties": false,
        "properties": properties,
        "$defs": definitions,
    })
}

fn closed(properties: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn run_schema() -> Value {
    let count = |least: u32| json!({ "type": "integer", "minimum": least, "maximum": u32::MAX });
    let options = json!({
        "retries": count(0),
        "timeout": { "type": "string", "description": "A time with its unit, such as 2h 30m." },
        "threads": count(1),
        "memory": { "type": ["string", "integer"], "description": "A size with its unit, such as 24 GiB, or bytes." },
        "device": { "type": "string", "pattern": "^(cpu|cuda|cuda:[0-9]+)$" },
        "rehearse": { "type": "boolean", "description": "Whether what follows from a training is tried before it." },
    });
    let mut all = options.clone();
    all["jobs"] = count(1);
    all["keep-going"] = json!({ "type": "boolean" });
    all["node"] = json!({ "type": "object", "additionalProperties": closed(&options) });
    closed(&all)
}

/// Returns a kind's schema with the keys that every node has, its own definitions moved below its name.
fn node_schema(kind: &dyn Kind, name: &str) -> Value {
    let info = kind.info();
    let mut schema = kind.schema();
    move_references(&mut schema, &format!("#/$defs/{name}/$defs/"));
    let Value::Object(map) = &mut schema else { return schema };
    map.remove("$schema");
    map.insert("title".into(), json!(name));
    map.insert("description".into(), json!(info.summary));
    map.insert("type".into(), json!("object"));
    map.insert("additionalProperties".into(), json!(false));
    if info.family == Family::Model {
        return schema;
    }
    let mut required = vec![json!("type")];
    if !info.inputs.is_empty() {
        required.push(json!("from"));
    }
    if let Some(Value::Array(settings)) = map.get("required") {
        // What `[model]` gives need not stand here.
        let here = |setting: &&Value| !info.model_settings.iter().any(|shared| *setting == &json!(shared));
        required.extend(settings.iter().filter(here).cloned());
    }
    map.insert("required".into(), Value::Array(required));
    let properties = map.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        properties.extend(node_keys(info));
    }
    schema
}

/// Returns the keys of a node that are not settings of its kind.
fn node_keys(info: &KindInfo) -> Map<String, Value> {
    let mut keys = Map::new();
    keys.insert("type".into(), json!({ "const": info.name }));
    if !info.inputs.is_empty() {
        let inputs = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
        keys.insert("from".into(), inputs);
    }
    if info.outputs.first().is_some_and(|output| output.content != crate::node::Content::Fields) {
        keys.insert("out".into(), json!({ "type": "string", "description": "Where the output is copied to." }));
    }
    if info.family == Family::Export {
        keys.insert("gate".into(), json!({ "type": "string", "description": "The eval.gate that must be met." }));
    }
    // Whether a base model is pinned, its settings say.
    if info.pinned || info.family == Family::Model {
        keys.insert(
            "refresh".into(),
            json!({ "type": "string", "description": "manual, always, or an age such as 24h." }),
        );
    }
    keys.insert(
        "matrix".into(),
        json!({ "type": "object", "additionalProperties": { "type": "array", "minItems": 1 } }),
    );
    keys
}

/// Puts `prefix` in the place of `#/$defs/` in all references.
fn move_references(schema: &mut Value, prefix: &str) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "$ref" => {
                        if let Some(name) = text.strip_prefix("#/$defs/") {
                            *text = format!("{prefix}{name}");
                        }
                    }
                    _ => move_references(value, prefix),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| move_references(item, prefix)),
        _ => {}
    }
}

/// Returns the Markdown table of all kinds.
fn table(catalog: &KindCatalog) -> String {
    let mut text =
        String::from("| type | what it makes | reads | outputs | settings |\n| --- | --- | --- | --- | --- |\n");
    for kind in catalog.kinds() {
        let info = kind.info();
        let outputs = info.outputs.iter().map(|output| format!("`{}`", output.name));
        let cells = [
            format!("`{}`", info.full_name()),
            info.summary.to_owned(),
            info.inputs.iter().map(|content| content.as_str().to_owned()).collect::<Vec<_>>().join(", "),
            outputs.collect::<Vec<_>>().join(", "),
            settings(&kind.schema()).join(", "),
        ];
        text.push_str("| ");
        text.push_str(&cells.map(|cell| cell.replace('|', "\\|").replace('\n', " ")).join(" | "));
        text.push_str(" |\n");
    }
    text
}

/// Returns the settings of a schema, those without a default first: `path`, `rank = 16`.
fn settings(schema: &Value) -> Vec<String> {
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let required = schema["required"].as_array();
    let is_required = |key: &String| required.is_some_and(|required| required.contains(&json!(key)));
    let show = |(key, property): (&String, &Value)| match &property["default"] {
        Value::Null | Value::Object(_) => format!("`{key}`"),
        default => format!("`{key} = {default}`"),
    };
    let (needed, optional): (Vec<_>, Vec<_>) = properties.iter().partition(|(key, _)| is_required(key));
    needed.into_iter().chain(optional).map(show).collect()
}
