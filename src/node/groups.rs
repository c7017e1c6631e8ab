//! Settings that stand side by side in one table and are read in groups, each of which is a type of its own.
//!
//! Serde's `flatten` would lose the place of what is wrong, so each group reads its own keys.

use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{SettingProblem, settings};

/// One group of a table.
pub(crate) struct Group {
    keys: Vec<String>,
    canonical: fn(&Value) -> Result<Value, Vec<SettingProblem>>,
}

impl Group {
    /// Returns the group of the settings that a type has.
    pub(crate) fn of<G: JsonSchema + Serialize + DeserializeOwned>() -> Self {
        Self { keys: keys::<G>(), canonical: settings::canonical::<G> }
    }
}

/// Returns a table as written in the manifest with every default of its groups filled in.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn canonical(written: &Value, groups: &[Group]) -> Result<Value, Vec<SettingProblem>> {
    let known: Vec<&str> = groups.iter().flat_map(|group| &group.keys).map(String::as_str).collect();
    let unknown = written.as_object().into_iter().flat_map(Map::keys).filter(|key| !known.contains(&key.as_str()));
    let mut problems: Vec<SettingProblem> = unknown.map(|key| settings::unknown_key(key, &known)).collect();
    let mut whole = Map::new();
    for group in groups {
        match (group.canonical)(&part(written, &group.keys)) {
            Ok(part) => whole.extend(part.as_object().cloned().unwrap_or_default()),
            Err(wrong) => {
                let new = wrong.into_iter().filter(|problem| !settings::is_misspelt(problem, &problems));
                let new: Vec<SettingProblem> = new.collect();
                problems.extend(new);
            }
        }
    }
    settings::accepted(Value::Object(whole), problems)
}

/// Reads one group of a table.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read<G: JsonSchema + DeserializeOwned>(whole: &Value) -> serde_json::Result<G> {
    G::deserialize(part(whole, &keys::<G>()))
}

/// Returns the schema of a table of which `parts` are the groups.
pub(crate) fn schema(description: &str, parts: impl IntoIterator<Item = Schema>) -> Schema {
    let (mut properties, mut definitions, mut required) = (Map::new(), Map::new(), Vec::new());
    for part in parts {
        for (name, all) in [("properties", &mut properties), ("$defs", &mut definitions)] {
            all.extend(part.get(name).and_then(Value::as_object).cloned().unwrap_or_default());
        }
        required.extend(part.get("required").and_then(Value::as_array).cloned().unwrap_or_default());
    }
    let mut whole = Map::from_iter([
        ("type".to_owned(), json!("object")),
        ("description".to_owned(), json!(description)),
        ("properties".to_owned(), Value::Object(properties)),
        ("additionalProperties".to_owned(), json!(false)),
    ]);
    if !definitions.is_empty() {
        whole.insert("$defs".to_owned(), Value::Object(definitions));
    }
    if !required.is_empty() {
        whole.insert("required".to_owned(), Value::Array(required));
    }
    whole.into()
}

/// Returns the settings of one group.
fn part(whole: &Value, keys: &[String]) -> Value {
    let mine = |(key, value): (&String, &Value)| keys.contains(key).then(|| (key.clone(), value.clone()));
    Value::Object(whole.as_object().into_iter().flatten().filter_map(mine).collect())
}

/// Returns the names of a group's settings.
pub(crate) fn keys<G: JsonSchema>() -> Vec<String> {
    let schema = schema_for!(G);
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Place {
        address: String,
        #[serde(default)]
        at_once: u32,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Text {
        title: String,
    }

    fn said(written: &Value) -> Vec<String> {
        let problems = canonical(written, &[Group::of::<Place>(), Group::of::<Text>()]).unwrap_err();
        problems.into_iter().map(|problem| format!("{}: {}", problem.path.join("."), problem.message)).collect()
    }

    #[test]
    fn groups_are_one_table_and_all_that_is_wrong_with_it_is_told_once() {
        let groups = [Group::of::<Place>(), Group::of::<Text>()];
        let whole = canonical(&json!({"address": "a", "title": "b"}), &groups).unwrap();
        assert_eq!(whole, json!({"address": "a", "at-once": 0, "title": "b"}));
        assert_eq!(read::<Text>(&whole).unwrap().title, "b");
        assert_eq!(said(&json!({})), [": setting `address` is missing", ": setting `title` is missing"]);
        assert_eq!(
            said(&json!({"adress": "a", "at-once": "4", "title": 1})),
            [
                "adress: unknown setting `adress`",
                "at-once: `at-once` must be a whole number from 0, not the string \"4\"",
                "title: `title` must be a string, not the number `1`"
            ]
        );
        let schema = schema("Both.", [schema_for!(Place), schema_for!(Text)]);
        assert_eq!(schema.get("required"), Some(&json!(["address", "title"])));
        assert_eq!(schema.get("properties").and_then(Value::as_object).map(Map::len), Some(3));
    }
}
