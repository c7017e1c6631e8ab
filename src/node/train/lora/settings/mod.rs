//! Settings of `train.lora`, in groups: the adapter, the optimizer, the loop.
//!
//! A manifest has them side by side in one table. Serde's `flatten` would lose the place of what is wrong, so each group
//! reads its own keys.

mod adapter;
mod looped;
mod optimizer;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Map, Value};

use crate::node::{SettingProblem, settings};

pub(super) use adapter::AdapterSettings;
pub(super) use looped::{Divergence, Keep, LoopSettings, UntrainedRows};
pub(super) use optimizer::OptimizerSettings;

/// Settings of `train.lora`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Settings {
    /// What is trained.
    pub(super) adapter: AdapterSettings,
    /// How a gradient changes it.
    pub(super) optimizer: OptimizerSettings,
    /// What is trained on, and for how long.
    pub(super) training: LoopSettings,
}

/// A setting's name, whether its value is in its range, and the range in words.
type Check = (&'static str, bool, &'static str);

impl Settings {
    /// Returns the schema of all settings as one object.
    pub(super) fn schema() -> Value {
        let mut schemas = [AdapterSettings::schema(), OptimizerSettings::schema(), LoopSettings::schema()].into_iter();
        let mut whole = schemas.next().unwrap_or_default();
        for schema in schemas {
            for part in ["properties", "$defs"] {
                let Some(Value::Object(more)) = schema.get(part).cloned() else { continue };
                if let Some(Value::Object(all)) = whole.get_mut(part) {
                    all.extend(more);
                } else if let Some(whole) = whole.as_object_mut() {
                    whole.insert(part.to_owned(), Value::Object(more));
                }
            }
        }
        if let Some(whole) = whole.as_object_mut() {
            whole.insert("title".to_owned(), "Settings".into());
            whole.insert("description".to_owned(), "Settings of `train.lora`.".into());
        }
        whole
    }

    /// Returns settings as written in the manifest with every default filled in.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn canonical(written: &Value) -> Result<Value, Vec<SettingProblem>> {
        let keys =
            [keys(&AdapterSettings::schema()), keys(&OptimizerSettings::schema()), keys(&LoopSettings::schema())];
        let parts = [
            settings::canonical::<AdapterSettings>(&part(written, &keys[0])),
            settings::canonical::<OptimizerSettings>(&part(written, &keys[1])),
            settings::canonical::<LoopSettings>(&part(written, &keys[2])),
        ];
        let known: Vec<&str> = keys.iter().flatten().map(String::as_str).collect();
        let unknown = written.as_object().into_iter().flat_map(Map::keys).filter(|key| !known.contains(&key.as_str()));
        let mut problems: Vec<SettingProblem> = unknown.map(|key| settings::unknown_key(key, &known)).collect();
        let mut whole = Map::new();
        for part in parts {
            match part {
                Ok(part) => whole.extend(part.as_object().cloned().unwrap_or_default()),
                Err(wrong) => problems.extend(wrong),
            }
        }
        let whole = Value::Object(whole);
        if problems.is_empty() {
            problems = Self::deserialize(&whole).map(|settings| settings.problems()).unwrap_or_default();
            problems.extend(second_warmup(written));
        }
        settings::accepted(whole, problems)
    }

    /// Returns every number that is out of its range.
    fn problems(&self) -> Vec<SettingProblem> {
        let checks = [self.adapter.checks(), self.optimizer.checks(), self.training.checks()];
        let wrong = checks.into_iter().flatten().filter(|(_, good, _)| !good);
        let mut problems: Vec<SettingProblem> =
            wrong.map(|(key, _, range)| settings::out_of_range(&[key], range)).collect();
        problems.extend(super::adapter::problems(&self.adapter));
        problems.extend(self.training.contradictions());
        problems
    }

    /// Returns whether the learning rate of a step depends on how many steps there are.
    pub(super) fn depends_on_length(&self) -> bool {
        self.optimizer.depends_on_length()
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = [
            serde_json::to_value(&self.adapter),
            serde_json::to_value(&self.optimizer),
            serde_json::to_value(&self.training),
        ];
        let mut whole = Map::new();
        for part in parts {
            whole.extend(part.map_err(ser::Error::custom)?.as_object().cloned().unwrap_or_default());
        }
        whole.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Value::deserialize(deserializer)?;
        Ok(Self {
            adapter: group(&whole, &AdapterSettings::schema()).map_err(de::Error::custom)?,
            optimizer: group(&whole, &OptimizerSettings::schema()).map_err(de::Error::custom)?,
            training: group(&whole, &LoopSettings::schema()).map_err(de::Error::custom)?,
        })
    }
}

/// Reads one group of the settings.
fn group<G: de::DeserializeOwned>(whole: &Value, schema: &Value) -> serde_json::Result<G> {
    G::deserialize(part(whole, &keys(schema)))
}

/// Returns the settings of one group.
fn part(whole: &Value, keys: &[String]) -> Value {
    let mine = |(key, value): (&String, &Value)| keys.contains(key).then(|| (key.clone(), value.clone()));
    Value::Object(whole.as_object().into_iter().flatten().filter_map(mine).collect())
}

/// Returns the names that a schema has.
fn keys(schema: &Value) -> Vec<String> {
    schema["properties"].as_object().map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
}

/// Returns the problem of a warm-up that is given twice; which one holds would be a guess.
fn second_warmup(written: &Value) -> Option<SettingProblem> {
    let both = ["warmup-steps", "warmup-ratio"].iter().all(|key| written.get(key).is_some());
    both.then(|| SettingProblem {
        path: vec!["warmup-ratio".to_owned()],
        code: "settings::contradiction",
        message: "`warmup-ratio` and `warmup-steps` say the same thing twice".into(),
        label: "`warmup-steps` is there as well".into(),
        help: Some("keep one of them".into()),
    })
}
