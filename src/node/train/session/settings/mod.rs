//! Settings of a training, in groups: the adapter where there is one, the optimizer, the loop.
//!
//! A manifest has them side by side in one table.

mod adapter;
mod looped;
mod optimizer;

use schemars::schema_for;
use serde::{Serialize, Serializer, ser};
use serde_json::{Map, Value};

use super::Method;
use crate::node::groups::{self, Group};
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
        let shared = [schema_for!(OptimizerSettings), schema_for!(LoopSettings)];
        match method {
            Method::Lora => {
                let parts = std::iter::once(schema_for!(AdapterSettings)).chain(shared);
                groups::schema("Settings of `train.lora`.", parts).to_value()
            }
            Method::Full => {
                let mut whole = groups::schema("Settings of `train.full`.", shared).to_value();
                whole["properties"]["learning-rate"]["default"] = FULL_LEARNING_RATE.into();
                whole
            }
        }
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
        let shared = [Group::of::<OptimizerSettings>(), Group::of::<LoopSettings>()];
        let adapter = (method == Method::Lora).then(Group::of::<AdapterSettings>);
        let groups: Vec<Group> = adapter.into_iter().chain(shared).collect();
        let whole = groups::canonical(&filled, &groups)
            .map_err(|problems| problems.into_iter().map(|problem| helped(method, problem)).collect::<Vec<_>>())?;
        let mut problems = Self::read(method, &whole).map(|settings| settings.problems()).unwrap_or_default();
        problems.extend(second_warmup(written));
        settings::accepted(whole, problems)
    }

    /// Reads canonical settings.
    pub(super) fn read(method: Method, canonical: &Value) -> serde_json::Result<Self> {
        Ok(Self {
            adapter: (method == Method::Lora).then(|| groups::read(canonical)).transpose()?,
            optimizer: groups::read(canonical)?,
            training: groups::read(canonical)?,
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

/// Adds the way out to the problem of a key that the method does not have.
fn helped(method: Method, problem: SettingProblem) -> SettingProblem {
    let key = problem.path.first().filter(|_| problem.code == "settings::unknown_key");
    let help = match (method, key.map(String::as_str)) {
        (Method::Lora, Some(METHOD)) => "`type = \"lora\"` trains an adapter, `type = \"full\"` all weights",
        (Method::Full, Some(METHOD)) => "`type = \"full\"` trains all weights, `type = \"lora\"` an adapter",
        (Method::Full, Some(key)) if groups::keys::<AdapterSettings>().iter().any(|of_adapter| of_adapter == key) => {
            "it says something of an adapter, and here all weights are trained: remove it, or set `type = \"lora\"`"
        }
        _ => return problem,
    };
    SettingProblem { help: Some(help.to_owned()), ..problem }
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
