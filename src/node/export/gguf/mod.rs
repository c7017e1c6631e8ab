//! `export.gguf`: the adapter merged into the base model, as one quantised GGUF.

#[cfg(feature = "llama")]
mod error;
#[cfg(feature = "llama")]
mod write;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::gguf::{FileType, TensorType};
use crate::node::settings::canonical;
use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Run, SettingProblem, Weight,
};

/// The kind `gguf`.
pub(super) struct ExportGguf;

/// Settings of `export.gguf`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// How the weights are stored: a name that `llama-quantize` knows, such as `Q4_K_M`, `Q8_0`, `IQ4_NL`, `F16`.
    #[serde(default = "default_quantization")]
    quantization: String,

    /// Types for tensors whose GGUF names a pattern finds, such as `attn_v` or `^blk\.0\.`, instead of what
    /// `quantization` would give them; the first pattern counts. Norms stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tensor_types: Vec<TensorTypeSetting>,
}

/// One entry of `tensor-types`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct TensorTypeSetting {
    /// A regular expression.
    pattern: String,
    /// A type of tensors, such as `Q6_K`.
    #[serde(rename = "type")]
    kind: String,
}

impl Settings {
    /// Returns patterns and types.
    fn overrides(&self) -> Result<Vec<(Regex, TensorType)>, SettingProblem> {
        let problem =
            |message: String, help: &str| SettingProblem::new(&["tensor-types"], "export::tensor_types", message, help);
        let one = |entry: &TensorTypeSetting| {
            let pattern = Regex::new(&entry.pattern).map_err(|error| {
                let message = format!("`{}` is no regular expression", entry.pattern);
                let problem = problem(message, "names look like `blk.0.attn_v.weight`");
                SettingProblem { label: error.to_string(), ..problem }
            })?;
            let kind = TensorType::from_name(&entry.kind).filter(|kind| TENSOR_TYPES.contains(&kind.name()));
            let unknown = || {
                let known = format!("types: {}", TENSOR_TYPES.join(", "));
                problem(format!("a tensor cannot be stored as `{}`", entry.kind), &known)
            };
            Ok((pattern, kind.ok_or_else(unknown)?))
        };
        self.tensor_types.iter().map(one).collect()
    }
}

/// What a tensor can be stored as by choice: what needs no importance matrix.
const TENSOR_TYPES: &[&str] =
    &["Q2_K", "Q3_K", "IQ3_S", "Q4_0", "Q4_1", "IQ4_NL", "IQ4_XS", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0"];

fn default_quantization() -> String {
    "Q4_K_M".into()
}

static INFO: KindInfo = KindInfo {
    family: Family::Export,
    name: "gguf",
    version: 3,
    summary: "the adapter merged into the base model, converted and quantised: one file for llama.cpp and Ollama",
    inputs: &[Content::Adapter],
    outputs: &[OutputInfo { name: "gguf", content: Content::Gguf }],
    fields: &["size", "tensors", "parameters", "quantization", "bits-per-weight"],
    determinism: Determinism::ExactPerIsa,
    weight: Weight::Heavy,
    weights: true,
    model_settings: &[],
    pinned: false,
    effect: false,
};

impl Kind for ExportGguf {
    fn info(&self) -> &'static KindInfo {
        &INFO
    }

    fn schema(&self) -> Value {
        schemars::schema_for!(Settings).to_value()
    }

    fn canonical(&self, settings: &Value) -> Result<Value, Vec<SettingProblem>> {
        let mut value = canonical::<Settings>(settings)?;
        let read: Settings = serde_json::from_value(value.clone()).map_err(|_| Vec::new())?;
        read.overrides().map_err(|problem| vec![problem])?;
        let name = value["quantization"].as_str().unwrap_or_default();
        match FileType::from_name(name) {
            Some(found) if found.needs_importance() => Err(vec![problem(
                format!("llama.cpp makes `{found}` only with an importance matrix"),
                "types without one, from small to large: Q2_K, IQ3_S, Q3_K_M, IQ4_XS, Q4_K_M, Q5_K_M, Q6_K, Q8_0",
            )]),
            Some(found) => {
                value["quantization"] = found.name().into();
                Ok(value)
            }
            None => Err(vec![problem(format!("unknown quantisation `{name}`"), suggestion(name))]),
        }
    }

    /// Plain floats need no llama.cpp but for reading a quantised base, whose decoding it shapes as well.
    fn tools(&self, _: &Value) -> Vec<(String, String)> {
        vec![("llama.cpp".into(), crate::llama::VERSION.into())]
    }

    #[cfg(feature = "llama")]
    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let settings: Settings = run.settings()?;
        let unknown = || run.bad_job(format!("its quantisation `{}` is unknown", settings.quantization));
        let target = FileType::from_name(&settings.quantization).ok_or_else(unknown)?;
        let overrides = settings.overrides().map_err(|problem| run.bad_job(problem.message))?;
        write::export(run, target, &overrides)
    }

    #[cfg(not(feature = "llama"))]
    fn run(&self, _: &Run<'_>) -> Result<Outcome, NodeError> {
        Err(crate::llama::Absent { wanted: INFO.name }.into())
    }
}

fn problem(message: String, help: impl Into<String>) -> SettingProblem {
    SettingProblem::new(&["quantization"], "export::quantization", message, help)
}

fn suggestion(name: &str) -> String {
    let name = name.to_uppercase();
    let near = FileType::all()
        .filter(|known| !known.needs_importance())
        .map(|known| (strsim::jaro_winkler(&name, known.name()), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => "common ones: Q4_K_M (default), Q5_K_M, Q6_K, Q8_0, F16".into(),
    }
}

#[cfg(test)]
#[cfg(feature = "llama")]
mod tests;
