//! Settings of a training, in groups: the adapter where there is one, the optimizer, the loop.
//!
//! A manifest has them side by side in one table. Serde's `flatten` would lose the place of what is wrong, so each group
//! reads its own keys.

mod adapter;
mod looped;
mod optimizer;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer, ser};
use serde_json::{Map, Value};

use super::Method;
use crate::node::{SettingProblem, settings};

pub(super) use adapter::AdapterSettings;
pub(super) use looped::{Divergence, Keep, LoopSettings, UntrainedRows};
pub(super) use optimizer::OptimizerSettings;

/// Settings of a training.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    /// The adapter that is trained; nothing where all weights are.
    pub(super) adapter: Option<AdapterSettings>,
    /// How a gradient changes it.
    pub(super) optimizer: OptimizerSettings,
    /// What is trained on, and for how long.
    pub(super) training: LoopSettings,
}

/// A setting's name, whether its value is in its range, and the range in words.
type Check = (&'static str, bool, &'static str);

/// The greatest learning rate of all weights when none is given: a tenth of what suits an adapter, as is usual.
const FULL_LEARNING_RATE: f64 = 2e-5;

/// The key under which other tools choose between an adapter and all weights.
const METHOD: &str = "method";

impl Settings {
    /// Returns the schema of all settings as one object.
    pub(super) fn schema(method: Method) -> Value {
        let mut schemas = schemas(method).into_iter();
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
        let of = match method {
            Method::Lora => "train.lora",
            Method::Full => {
                whole["properties"]["learning-rate"]["default"] = FULL_LEARNING_RATE.into();
                "train.full"
            }
        };
        if let Some(whole) = whole.as_object_mut() {
            whole.insert("title".to_owned(), "Settings".into());
            whole.insert("description".to_owned(), format!("Settings of `{of}`.").into());
        }
        whole
    }

    /// Returns settings as written in the manifest with every default filled in.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn canonical(method: Method, written: &Value) -> Result<Value, Vec<SettingProblem>> {
        let mut filled = written.clone();
        if let (Method::Full, Some(filled)) = (method, filled.as_object_mut()) {
            filled.entry("learning-rate").or_insert(FULL_LEARNING_RATE.into());
        }
        let keys: Vec<Vec<String>> = schemas(method).iter().map(keys).collect();
        let known: Vec<&str> = keys.iter().flatten().map(String::as_str).collect();
        let unknown = written.as_object().into_iter().flat_map(Map::keys).filter(|key| !known.contains(&key.as_str()));
        let mut problems: Vec<SettingProblem> = unknown.map(|key| unknown_key(method, key, &known)).collect();
        let mut whole = Map::new();
        let mut take = |canonical: Result<Value, Vec<SettingProblem>>| match canonical {
            Ok(part) => whole.extend(part.as_object().cloned().unwrap_or_default()),
            Err(wrong) => problems.extend(wrong),
        };
        if method == Method::Lora {
            take(settings::canonical::<AdapterSettings>(&part::<AdapterSettings>(&filled)));
        }
        take(settings::canonical::<OptimizerSettings>(&part::<OptimizerSettings>(&filled)));
        take(settings::canonical::<LoopSettings>(&part::<LoopSettings>(&filled)));
        let whole = Value::Object(whole);
        if problems.is_empty() {
            problems = Self::read(method, &whole).map(|settings| settings.problems()).unwrap_or_default();
            problems.extend(second_warmup(written));
        }
        settings::accepted(whole, problems)
    }

    /// Reads canonical settings.
    pub(super) fn read(method: Method, canonical: &Value) -> serde_json::Result<Self> {
        Ok(Self {
            adapter: (method == Method::Lora).then(|| group(canonical)).transpose()?,
            optimizer: group(canonical)?,
            training: group(canonical)?,
        })
    }

    /// Returns every number that is out of its range.
    fn problems(&self) -> Vec<SettingProblem> {
        let adapter = self.adapter.iter().flat_map(AdapterSettings::checks);
        let checks = adapter.chain(self.optimizer.checks()).chain(self.training.checks());
        let wrong = checks.filter(|(_, good, _)| !good);
        let mut problems: Vec<SettingProblem> =
            wrong.map(|(key, _, range)| settings::out_of_range(&[key], range)).collect();
        problems.extend(self.adapter.iter().flat_map(super::adapter::problems));
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
        let adapter = self.adapter.iter().map(serde_json::to_value);
        let parts = adapter.chain([serde_json::to_value(&self.optimizer), serde_json::to_value(&self.training)]);
        let mut whole = Map::new();
        for part in parts {
            whole.extend(part.map_err(ser::Error::custom)?.as_object().cloned().unwrap_or_default());
        }
        whole.serialize(serializer)
    }
}

/// A group of settings.
trait Group: DeserializeOwned {
    /// Returns the schema.
    fn schema() -> Value;
}

impl Group for AdapterSettings {
    fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

impl Group for OptimizerSettings {
    fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

impl Group for LoopSettings {
    fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }
}

/// Returns the schemas of a method's groups.
fn schemas(method: Method) -> Vec<Value> {
    let shared = [OptimizerSettings::schema(), LoopSettings::schema()];
    (method == Method::Lora).then(AdapterSettings::schema).into_iter().chain(shared).collect()
}

/// Returns the problem of a key that no group of the method has.
fn unknown_key(method: Method, key: &str, known: &[&str]) -> SettingProblem {
    let problem = settings::unknown_key(key, known);
    let help = match method {
        Method::Lora if key == METHOD => "`type = \"lora\"` trains an adapter, `type = \"full\"` all weights",
        Method::Full if key == METHOD => "`type = \"full\"` trains all weights, `type = \"lora\"` an adapter",
        Method::Full if keys(&AdapterSettings::schema()).iter().any(|of_adapter| of_adapter == key) => {
            "it says something of an adapter, and here all weights are trained: remove it, or set `type = \"lora\"`"
        }
        _ => return problem,
    };
    SettingProblem { help: Some(help.to_owned()), ..problem }
}

/// Reads one group of the settings.
fn group<G: Group>(whole: &Value) -> serde_json::Result<G> {
    G::deserialize(part::<G>(whole))
}

/// Returns the settings of one group.
fn part<G: Group>(whole: &Value) -> Value {
    let keys = keys(&G::schema());
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
