//! `export.gguf`: the adapter merged into the base model, or a model of its own, as one quantised GGUF.

#[cfg(feature = "llama")]
mod earlier;
#[cfg(feature = "llama")]
mod error;
#[cfg(feature = "llama")]
mod importance;
#[cfg(feature = "llama")]
mod write;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::gguf::{FileType, TensorType};
use crate::node::settings::{accepted, canonical};
use crate::node::{
    Content, Determinism, Family, Kind, KindInfo, NodeError, Outcome, OutputInfo, Rehearsal, Run, SettingProblem,
    Weight,
};

/// The kind `gguf`.
pub(super) struct ExportGguf;

/// Settings of `export.gguf`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// How the weights are stored: a name that `llama-quantize` knows, such as `Q4_K_M`, `Q8_0`, `IQ4_NL`, `F16`.
    /// `Q4_K_M` unless `bits-per-weight` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DEFAULT))]
    quantization: Option<String>,

    /// Instead of a quantisation: the size of the whole file, in bits for each of the model's numbers, such as `4.5`. Each
    /// tensor gets a type of its own, so that as little as can be is lost; what `tensor-types` names has the type given there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2.0, max = 32.0))]
    bits_per_weight: Option<f64>,

    /// Which node of `from` gives the rows for an importance matrix, such as `dataset`: how much each column of a weight
    /// matters is measured while the merged model reads them. Small types lose less with one, and the smallest need it:
    /// `IQ1_S`, `IQ1_M`, `IQ2_XXS`, `IQ2_XS`, `IQ2_S`, `IQ2_M`, `Q2_K_S`, `IQ3_XXS`, `IQ3_XS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    imatrix: Option<String>,

    /// Rows are read until they have so many tokens: 32768 unless it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    imatrix_tokens: Option<u64>,

    /// Types for tensors whose GGUF names a pattern finds, such as `attn_v` or `^blk\.0\.`, instead of what
    /// `quantization` would give them; the first pattern counts. Norms stay as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tensor_types: Vec<TensorTypeSetting>,

    /// The longest row, for the importance matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    max_tokens: Option<u32>,
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
            let small = if self.imatrix.is_some() { SMALL_TENSOR_TYPES } else { &[] };
            let is_known = |kind: &TensorType| TENSOR_TYPES.contains(&kind.name()) || small.contains(&kind.name());
            let kind = TensorType::from_name(&entry.kind).filter(is_known);
            let unknown = || {
                let known = format!("types: {}", [small, TENSOR_TYPES].concat().join(", "));
                problem(format!("a tensor cannot be stored as `{}`", entry.kind), &known)
            };
            Ok((pattern, kind.ok_or_else(unknown)?))
        };
        self.tensor_types.iter().map(one).collect()
    }
}

/// What a tensor can be stored as by choice: what needs no importance matrix.
const TENSOR_TYPES: &[&str] = &[
    "TQ1_0", "TQ2_0", "Q2_K", "Q3_K", "IQ3_S", "MXFP4", "Q4_0", "Q4_1", "IQ4_NL", "IQ4_XS", "Q4_K", "Q5_0", "Q5_1",
    "Q5_K", "Q6_K", "Q8_0", "BF16", "F16", "F32",
];

/// What it can be stored as with one.
const SMALL_TENSOR_TYPES: &[&str] = &["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS"];

/// The quantisation when nothing is asked for.
const DEFAULT: &str = "Q4_K_M";

/// Tokens that the importance is measured on: 64 pieces of 512, as is usual.
const IMATRIX_TOKENS: u64 = 32_768;

/// Tokens of a rehearsal's importance: one such piece.
#[cfg(feature = "llama")]
const REHEARSED_TOKENS: u64 = 512;

/// The longest row where `[model]` says nothing.
#[cfg(feature = "llama")]
const MAX_TOKENS: u32 = 2048;

static INFO: KindInfo = KindInfo {
    family: Family::Export,
    name: "gguf",
    // 5: keys of sampling and of size; the importance of columns is measured with keys and values in 32 bits.
    version: 5,
    summary: "the adapter merged into the base model, or a model that was trained as a whole, converted and quantised: one \
              file for llama.cpp and Ollama",
    inputs: &[Content::Adapter, Content::Weights, Content::Rows],
    outputs: &[OutputInfo { name: "gguf", content: Content::Gguf }],
    fields: &["size", "tensors", "parameters", "quantization", "bits-per-weight"],
    determinism: Determinism::ExactPerIsa,
    weight: Weight::Heavy,
    weights: true,
    model_settings: &["max-tokens"],
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
        let mut problems: Vec<SettingProblem> = read.overrides().err().into_iter().collect();
        match (read.bits_per_weight, read.quantization.as_deref()) {
            (None, name) => match found(name.unwrap_or(DEFAULT), read.imatrix.is_some()) {
                Ok(found) => value["quantization"] = found.name().into(),
                Err(problem) => problems.push(problem),
            },
            (Some(_), Some(_)) => problems
                .push(problem("`bits-per-weight` chooses what `quantization` says".into(), "leave one of the two out")),
            (Some(bits), None) if (2.0..=32.0).contains(&bits) => {}
            (Some(_), None) => {
                let message = "a weight has from 2 to 32 bits";
                let help = "4.5 is a common size, 8.5 that of Q8_0";
                problems.push(SettingProblem::new(&["bits-per-weight"], "export::bits_per_weight", message, help));
            }
        }
        problems.extend(fill_imatrix(&mut value, &read));
        accepted(value, problems)
    }

    /// Plain floats need no llama.cpp but for reading a quantised base, whose decoding it shapes as well.
    fn tools(&self, _: &Value) -> Vec<(String, String)> {
        vec![("llama.cpp".into(), crate::llama::VERSION.into())]
    }

    #[cfg(feature = "llama")]
    fn run(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        write::export(run, &run.settings()?)
    }

    fn rehearsal(&self) -> Rehearsal {
        Rehearsal::Follows
    }

    /// An importance of few tokens is one of all columns as well.
    #[cfg(feature = "llama")]
    fn rehearse(&self, run: &Run<'_>) -> Result<Outcome, NodeError> {
        let mut settings: Settings = run.settings()?;
        settings.imatrix_tokens = settings.imatrix_tokens.map(|tokens| tokens.min(REHEARSED_TOKENS));
        write::export(run, &settings)
    }

    #[cfg(not(feature = "llama"))]
    fn run(&self, _: &Run<'_>) -> Result<Outcome, NodeError> {
        Err(crate::llama::Absent { wanted: INFO.name }.into())
    }
}

/// Returns the file type of this name, or what is wrong with it.
fn found(name: &str, has_importance: bool) -> Result<FileType, SettingProblem> {
    match FileType::from_name(name) {
        Some(found) if found.needs_importance() && !has_importance => Err(problem(
            format!("llama.cpp makes `{found}` only with an importance matrix"),
            "set `imatrix` to a node of `from` that gives rows; types without one, from small to large: Q2_K, IQ3_S, \
             Q3_K_M, IQ4_XS, Q4_K_M, Q5_K_M, Q6_K, Q8_0",
        )),
        Some(found) => Ok(found),
        None => Err(problem(format!("unknown quantisation `{name}`"), suggestion(name, has_importance))),
    }
}

/// Fills in what belongs to an importance matrix, and takes it out where there is none.
fn fill_imatrix(value: &mut Value, read: &Settings) -> Option<SettingProblem> {
    let problem =
        |key: &str, message: &str, help: &str| Some(SettingProblem::new(&[key], "export::imatrix", message, help));
    let is_float = value["quantization"].as_str().and_then(FileType::from_name).is_some_and(FileType::is_float);
    match (&read.imatrix, read.imatrix_tokens) {
        (Some(_), _) if is_float => problem("imatrix", "plain floats need no importance matrix", "remove `imatrix`"),
        (Some(_), Some(0)) => problem("imatrix-tokens", "nothing is measured on no tokens", "32768 is the default"),
        (Some(_), tokens) => {
            value["imatrix-tokens"] = tokens.unwrap_or(IMATRIX_TOKENS).into();
            None
        }
        (None, Some(_)) => {
            let help = "add `imatrix = \"NODE\"`, a node of `from` that gives rows";
            problem("imatrix-tokens", "there is no importance matrix to measure", help)
        }
        (None, None) => {
            // What is not used must not make a result stale.
            if let Some(settings) = value.as_object_mut() {
                settings.remove("max-tokens");
            }
            None
        }
    }
}

fn problem(message: String, help: impl Into<String>) -> SettingProblem {
    SettingProblem::new(&["quantization"], "export::quantization", message, help)
}

fn suggestion(name: &str, has_importance: bool) -> String {
    let name = name.to_uppercase();
    let near = FileType::all()
        .filter(|known| has_importance || !known.needs_importance())
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
