//! Which tensors a model has: what a file holds is compared with what its hyperparameters say, before anything is read.

use std::collections::BTreeMap;

use super::super::config::ModelConfig;
use super::super::lora::Projection;
use super::super::{ModelError, Result};
use super::check_shape;

/// What some checkpoints carry and no runtime reads: it follows from the configuration.
const DERIVED: &[&str] = &[".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"];

/// How many surplus tensors an error names.
const NAMED: usize = 3;

/// Returns names and shapes of all tensors, by their names in transformers.
pub(in super::super) fn tensors(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let table = vec![config.vocabulary, config.hidden];
    let mut tensors = vec![("model.embed_tokens.weight".to_owned(), table.clone())];
    for layer in 0..config.layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        for projection in Projection::ALL {
            let (inputs, outputs) = projection.shape(config);
            tensors.push((name(&format!("{}.weight", projection.path())), vec![outputs, inputs]));
            if projection.has_bias(config) {
                tensors.push((name(&format!("{}.bias", projection.path())), vec![outputs]));
            }
        }
        tensors.push((name("input_layernorm.weight"), vec![config.hidden]));
        tensors.push((name("post_attention_layernorm.weight"), vec![config.hidden]));
        if config.has_head_norms() {
            tensors.push((name("self_attn.q_norm.weight"), vec![config.head_dim]));
            tensors.push((name("self_attn.k_norm.weight"), vec![config.head_dim]));
        }
    }
    tensors.push(("model.norm.weight".to_owned(), vec![config.hidden]));
    if !config.tied {
        tensors.push(("lm_head.weight".to_owned(), table));
    }
    tensors
}

/// Returns the number of a model's weights, those of norms and biases among them.
pub fn parameters(config: &ModelConfig) -> usize {
    tensors(config).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
}

/// Returns whether a tensor may be in a file without being read.
pub(in super::super) fn is_needless(config: &ModelConfig, name: &str) -> bool {
    (config.tied && name == "lm_head.weight") || DERIVED.iter().any(|end| name.ends_with(end))
}

/// Refuses a file that lacks a tensor, has one of another shape, or has one that would not be computed with.
///
/// `rename` turns a name of transformers into the file's own; `found` has the file's tensors by their own names.
pub(super) fn check(
    config: &ModelConfig,
    mut found: BTreeMap<String, &[usize]>,
    rename: impl Fn(&str) -> String,
) -> Result<()> {
    for (name, shape) in tensors(config) {
        let name = rename(&name);
        let is_there = found.remove(&name);
        check_shape(&name, is_there.ok_or_else(|| ModelError::MissingTensor { name: name.clone() })?, &shape)?;
    }
    found.retain(|name, _| !is_needless(config, name));
    if found.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = found.keys().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = found.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(ModelError::SurplusTensors { names: named.join(", ") + &more, architecture: config.architecture.gguf_name() })
}
