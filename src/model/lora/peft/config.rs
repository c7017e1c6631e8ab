//! `adapter_config.json`.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::super::targets::Patterns;
use super::super::{LoraError, TargetModules};

/// Keys whose value changes nothing that an adapter's numbers do not say.
const WITHOUT_EFFECT: [&str; 12] = [
    "auto_mapping",
    "base_model_name_or_path",
    "ephemeral_gpu_offload",
    "inference_mode",
    "loftq_config",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

/// Keys that are read.
const READ: [&str; 13] = [
    "alpha_pattern",
    "bias",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "use_dora",
    "use_rslora",
];

/// Ways to start that leave the base model as it is; after the others the adapter belongs to a changed base.
const PLAIN_STARTS: [&str; 5] = ["eva", "gaussian", "loftq", "mica", "orthogonal"];

/// What is read of the settings.
#[derive(Debug, Deserialize)]
pub(super) struct PeftConfig {
    pub(super) r: usize,
    pub(super) lora_alpha: f64,
    #[serde(default)]
    pub(super) target_modules: Option<TargetModules>,
    #[serde(default)]
    pub(super) exclude_modules: Option<TargetModules>,
    #[serde(default)]
    layers_to_transform: Option<OneOrMore<usize>>,
    #[serde(default)]
    layers_pattern: Option<OneOrMore<String>>,
    #[serde(default)]
    pub(super) use_rslora: bool,
    #[serde(default)]
    pub(super) use_dora: bool,
    #[serde(default)]
    rank_pattern: Option<Ordered<usize>>,
    #[serde(default)]
    alpha_pattern: Option<Ordered<f64>>,
}

impl PeftConfig {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`LoraError`] when they are no JSON of PEFT's, or ask for what is not computed here.
    pub(super) fn parse(json: &[u8]) -> Result<Self, LoraError> {
        let all: Value = serde_json::from_slice(json).map_err(LoraError::Config)?;
        if let Some(what) = all.as_object().and_then(|all| all.iter().find_map(|(key, value)| unsupported(key, value)))
        {
            return Err(LoraError::Unsupported { what });
        }
        let config: Self = serde_json::from_slice(json).map_err(LoraError::Config)?;
        let patterns = config.layers_pattern.as_ref().map_or(&[][..], |patterns| &patterns.0);
        if config.layers().is_some() && !(patterns.is_empty() || patterns.iter().any(|pattern| pattern == "layers")) {
            return Err(LoraError::Unsupported { what: format!("has `layers_pattern` = {patterns:?}") });
        }
        Ok(config)
    }

    /// Returns the blocks that are trained, if not all.
    pub(super) fn layers(&self) -> Option<&[usize]> {
        self.layers_to_transform.as_ref().map(|layers| &layers.0[..]).filter(|layers| !layers.is_empty())
    }

    /// Returns what tells the rank of each module.
    pub(super) fn ranks(&self) -> Result<Values<'_, usize>, LoraError> {
        Values::new(self.rank_pattern.as_ref(), self.r)
    }

    /// Returns what tells the alpha of each module.
    pub(super) fn alphas(&self) -> Result<Values<'_, f64>, LoraError> {
        Values::new(self.alpha_pattern.as_ref(), self.lora_alpha)
    }
}

/// Returns what cannot be computed because of a setting, in words behind "the adapter".
fn unsupported(key: &str, value: &Value) -> Option<String> {
    let off = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    };
    let fine = match key {
        "peft_type" => value == "LORA",
        "bias" => off || value == "none",
        "init_lora_weights" => value.as_str().is_none_or(|start| PLAIN_STARTS.contains(&start)),
        _ => off || READ.contains(&key) || WITHOUT_EFFECT.contains(&key),
    };
    if fine {
        return None;
    }
    if key == "init_lora_weights" {
        return Some(format!(
            "started with `init_lora_weights` = {value} and was saved without \
             `path_initial_model_for_weight_conversion`, so it belongs to a changed base"
        ));
    }
    Some(format!("has `{key}` = {value}"))
}

/// Each module's value: that of the first pattern that matches, or the default.
pub(super) struct Values<'a, V> {
    patterns: Patterns<'a, V>,
    default: V,
}

impl<'a, V: Copy> Values<'a, V> {
    fn new(patterns: Option<&'a Ordered<V>>, default: V) -> Result<Self, LoraError> {
        let patterns = patterns.into_iter().flat_map(|patterns| &patterns.0);
        Ok(Self { patterns: Patterns::new(patterns.map(|(pattern, value)| (pattern.as_str(), *value)))?, default })
    }

    /// Returns the value of the module with this path.
    pub(super) fn of(&self, path: &str) -> Result<V, LoraError> {
        Ok(self.patterns.of(path)?.first().map_or(self.default, |(_, value)| *value))
    }
}

/// A value, or a list of them.
#[derive(Debug)]
struct OneOrMore<T>(Vec<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let list = if value.is_array() { value } else { Value::Array(vec![value]) };
        serde_json::from_value(list).map(Self).map_err(D::Error::custom)
    }
}

/// The entries of a table in the order in which they are written.
#[derive(Debug)]
struct Ordered<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Read<V> {
            type Value = Ordered<V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table of patterns")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<V>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Read(PhantomData))
    }
}
