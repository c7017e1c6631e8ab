//! Hyperparameters from `config.json`, as transformers writes it in its versions 4 and 5.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::config::{
    Architecture, Biases, KNOWN_ARCHITECTURES, KNOWN_ROPE_SCALINGS, ModelConfig, RopeScaling, rope_frequencies,
};
use super::super::{ModelError, Result};
use super::shards::Float;

/// What is read of `config.json`, by its names.
#[derive(Deserialize)]
pub(super) struct ConfigJson {
    model_type: Option<String>,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    max_position_embeddings: usize,
    sliding_window: Option<usize>,
    /// Qwen has a window written down that it does not use.
    use_sliding_window: Option<bool>,
    rms_norm_eps: f32,
    tie_word_embeddings: Option<bool>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeJson>,
    /// Where transformers 5 keeps `rope_theta` and the scaling.
    rope_parameters: Option<RopeJson>,
    partial_rotary_factor: Option<f64>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    hidden_act: Option<String>,
    quantization_config: Option<Value>,
}

/// The scaling of the rotary embedding, old and new form.
#[derive(Deserialize)]
struct RopeJson {
    rope_type: Option<String>,
    /// Its name before; transformers wrote both for a while.
    #[serde(rename = "type")]
    older_type: Option<String>,
    rope_theta: Option<f64>,
    partial_rotary_factor: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

/// The size of Qwen3's heads where `config.json` says nothing.
const QWEN_3_HEAD: usize = 128;

/// Where publishers' tools note where a model lay on their machine.
const ORIGIN: &str = "_name_or_path";

/// Returns a model's `config.json` as it is beside other weights: without what no longer holds, and with their type, where
/// they have one.
///
/// # Errors
/// Text that is no JSON object.
pub fn stored_as(config: &[u8], float: Option<Float>) -> serde_json::Result<String> {
    let mut config: Map<String, Value> = serde_json::from_slice(config)?;
    config.remove(ORIGIN);
    if let Some(float) = float {
        // The key's name of transformers 5, and that of the versions before.
        let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        config.insert(key.to_owned(), float.torch_name().into());
    }
    Ok(format!("{:#}\n", Value::Object(config)))
}

impl ConfigJson {
    /// Takes the architecture first, so that a model of another one is named as such and not by what its file lacks.
    pub(super) fn architecture(raw: &Value) -> Result<Architecture> {
        let found = raw.get("model_type").and_then(Value::as_str).unwrap_or("none");
        Architecture::from_model_type(found)
            .ok_or_else(|| ModelError::Architecture { found: found.to_owned(), known: KNOWN_ARCHITECTURES })
    }

    /// Makes hyperparameters; `has_head` says whether the weights have an output projection of their own.
    pub(super) fn config(&self, architecture: Architecture, has_head: bool) -> Result<ModelConfig> {
        self.refuse_unsupported(architecture)?;
        if self.num_attention_heads == 0 {
            return Err(ModelError::MissingKey { key: "num_attention_heads".into() });
        }
        // Where the file says nothing, the weights do.
        if self.tie_word_embeddings == Some(false) && !has_head {
            return Err(ModelError::MissingTensor { name: "lm_head.weight".into() });
        }
        let plain_head = match architecture {
            Architecture::Qwen3 => QWEN_3_HEAD,
            Architecture::Llama | Architecture::Qwen2 => self.hidden_size / self.num_attention_heads,
        };
        let head_dim = self.head_dim.unwrap_or(plain_head);
        let (base, scaling) = self.rope()?;
        // A window is kept by never training rows that are longer: within it attention sees all.
        let window = self.sliding_window.filter(|_| self.use_sliding_window != Some(false));
        Ok(ModelConfig {
            architecture,
            biases: self.biases(architecture),
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dim,
            vocabulary: self.vocab_size,
            context: window.map_or(self.max_position_embeddings, |window| window.min(self.max_position_embeddings)),
            rms_epsilon: self.rms_norm_eps,
            tied: self.tie_word_embeddings == Some(true) || !has_head,
            rope_frequencies: rope_frequencies(head_dim, base, scaling),
        })
    }

    fn refuse_unsupported(&self, architecture: Architecture) -> Result<()> {
        let what = if self.hidden_act.as_deref().is_some_and(|name| name != "silu") {
            "an activation other than `silu`".to_owned()
        } else if self.rotated_share().is_some_and(|share| share < 1.0) {
            "a rotary embedding of a part of each head".to_owned()
        } else if self.attention_bias && architecture == Architecture::Qwen3 {
            "biases in its projections".to_owned()
        } else if let Some(quantization) = &self.quantization_config {
            let method = quantization.get("quant_method").and_then(Value::as_str).unwrap_or("unknown");
            format!("weights quantised by `{method}`")
        } else {
            return Ok(());
        };
        Err(ModelError::Unsupported { what })
    }

    fn biases(&self, architecture: Architecture) -> Biases {
        match architecture {
            // Mistral has none, whatever its file says.
            Architecture::Llama if self.model_type.as_deref() != Some("mistral") => Biases {
                attention_inputs: self.attention_bias,
                attention_output: self.attention_bias,
                feed_forward: self.mlp_bias,
            },
            Architecture::Qwen2 => Biases { attention_inputs: true, ..Biases::default() },
            Architecture::Llama | Architecture::Qwen3 => Biases::default(),
        }
    }

    fn rope_json(&self) -> Option<&RopeJson> {
        self.rope_parameters.as_ref().or(self.rope_scaling.as_ref())
    }

    /// Returns the share of a head's features that are turned, where it is written down.
    fn rotated_share(&self) -> Option<f64> {
        self.partial_rotary_factor.or_else(|| self.rope_json()?.partial_rotary_factor)
    }

    /// Returns the base of the rotary embedding's frequencies, and their scaling.
    pub(super) fn rope(&self) -> Result<(f64, RopeScaling)> {
        let rope = self.rope_json();
        let base = self.rope_theta.or(rope.and_then(|rope| rope.rope_theta)).unwrap_or(10_000.0);
        Ok((base, rope.map_or(Ok(RopeScaling::None), RopeJson::scaling)?))
    }
}

impl RopeJson {
    fn scaling(&self) -> Result<RopeScaling> {
        let needed = |value: Option<f64>, key: &str| {
            value.filter(|value| *value > 0.0).ok_or(ModelError::MissingKey { key: format!("rope_scaling.{key}") })
        };
        match self.rope_type.as_deref().or(self.older_type.as_deref()) {
            // The dynamic one scales nothing within the model's context, and longer rows are never trained.
            None | Some("default" | "dynamic") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: needed(self.factor, "factor")? }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: needed(self.factor, "factor")?,
                low: needed(self.low_freq_factor, "low_freq_factor")?,
                high: needed(self.high_freq_factor, "high_freq_factor")?,
                original_context: needed(self.original_max_position_embeddings, "original_max_position_embeddings")?,
            }),
            Some(other) => Err(ModelError::RopeScaling { found: other.to_owned(), known: KNOWN_ROPE_SCALINGS }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Reads a small `config.json` with `more` in it.
    fn read(more: Value) -> Result<ModelConfig> {
        let mut raw = json!({
            "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 512,
            "rms_norm_eps": 1e-6, "hidden_act": "silu"
        });
        raw.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let architecture = ConfigJson::architecture(&raw)?;
        serde_json::from_value::<ConfigJson>(raw).unwrap().config(architecture, true)?.checked()
    }

    fn refused(more: Value) -> String {
        read(more).unwrap_err().to_string()
    }

    #[test]
    fn each_architecture_has_its_biases_its_heads_and_its_norms() {
        let llama = read(json!({})).unwrap();
        assert_eq!((llama.architecture, llama.biases, llama.head_dim), (Architecture::Llama, Biases::default(), 16));
        let qwen2 = read(json!({"model_type": "qwen2"})).unwrap();
        assert_eq!(qwen2.biases, Biases { attention_inputs: true, ..Biases::default() });
        let qwen3 = read(json!({"model_type": "qwen3", "attention_bias": false})).unwrap();
        assert_eq!((qwen3.has_head_norms(), qwen3.head_dim), (true, 128));
        assert_eq!(read(json!({"model_type": "qwen3", "head_dim": 32})).unwrap().head_dim, 32);
        let biased = read(json!({"attention_bias": true, "mlp_bias": true})).unwrap();
        let all = Biases { attention_inputs: true, attention_output: true, feed_forward: true };
        assert_eq!(biased.biases, all);
    }

    #[test]
    fn a_sliding_window_bounds_the_context_where_it_is_used() {
        let context = |more| read(more).unwrap().context;
        assert_eq!(context(json!({"model_type": "mistral", "sliding_window": 64})), 64);
        assert_eq!(context(json!({"model_type": "mistral", "sliding_window": null})), 512);
        assert_eq!(context(json!({"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": false})), 512);
        assert_eq!(context(json!({"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": true})), 64);
    }

    #[test]
    fn another_architecture_is_refused_with_those_that_are_known() {
        let error = refused(json!({"model_type": "gemma3"}));
        assert_eq!(
            error,
            "the base model has the architecture `gemma3`, trained are: llama (also SmolLM2 and Mistral), qwen2 (also \
             Qwen2.5), qwen3"
        );
    }

    #[test]
    fn what_is_not_computed_here_is_refused_by_name() {
        assert!(refused(json!({"hidden_act": "gelu"})).contains("an activation other than `silu`"));
        assert!(refused(json!({"partial_rotary_factor": 0.5})).contains("a part of each head"));
        assert!(refused(json!({"quantization_config": {"quant_method": "gptq"}})).contains("quantised by `gptq`"));
        assert!(refused(json!({"rope_parameters": {"partial_rotary_factor": 0.5}})).contains("a part of each head"));
        assert!(refused(json!({"rope_scaling": {"type": "linear"}})).contains("`rope_scaling.factor`"));
        assert!(refused(json!({"rope_scaling": {"type": "linear", "factor": 0}})).contains("`rope_scaling.factor`"));
        assert!(refused(json!({"model_type": "qwen3", "attention_bias": true})).contains("biases"));
        assert!(refused(json!({"num_attention_heads": 0})).contains("num_attention_heads"));
        assert!(refused(json!({"num_key_value_heads": 0})).contains("impossible sizes"));
    }

    #[test]
    fn a_rotary_scaling_is_computed_or_refused_by_its_type_in_every_form_of_the_file() {
        for found in ["yarn", "longrope", "su", "mrope", "proportional"] {
            let scaling = json!({"rope_type": found, "factor": 4.0, "original_max_position_embeddings": 64});
            for (key, value) in [
                ("rope_scaling", json!({"type": found, "factor": 4.0})),
                ("rope_scaling", json!({"type": found, "rope_type": found, "factor": 4.0})),
                ("rope_scaling", scaling.clone()),
                ("rope_parameters", scaling),
            ] {
                assert_eq!(
                    refused(json!({key: value})),
                    format!(
                        "the base model has rotary scaling of the type `{found}`, computed are: none (`default`; `dynamic` \
                         within the model's context), `linear`, `llama3`"
                    )
                );
            }
        }
        let frequencies = |more| read(more).unwrap().rope_frequencies;
        let plain = frequencies(json!({}));
        assert_eq!(frequencies(json!({"rope_scaling": {"type": "dynamic", "factor": 4.0}})), plain);
        assert_eq!(frequencies(json!({"rope_scaling": {"type": "default", "rope_type": "default"}})), plain);
        let quarter: Vec<f64> = plain.iter().map(|frequency| frequency / 4.0).collect();
        assert_eq!(
            frequencies(json!({"rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 4}})),
            quarter
        );
    }
}
