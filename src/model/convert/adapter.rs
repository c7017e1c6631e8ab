//! A LoRA in PEFT's form, read for merging.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ConvertError;
use crate::model::lora::{PeftAdapter, PeftModule};

/// An adapter: modules by the GGUF name of the weight that they change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapter {
    /// The modules; their rows are in PEFT's order.
    pub modules: BTreeMap<String, PeftModule>,
}

impl Adapter {
    /// Reads an adapter from its files by name.
    ///
    /// # Errors
    /// Files that are absent or damaged, modules that are no known part, and kinds of adapters that cannot be merged.
    pub fn read(files: &BTreeMap<String, PathBuf>) -> Result<Self, ConvertError> {
        let mut modules = BTreeMap::new();
        for (path, module) in PeftAdapter::read(files)?.modules {
            let tensor = gguf_name(&path).ok_or(ConvertError::UnknownModule { module: path })?;
            modules.insert(tensor, module);
        }
        Ok(Self { modules })
    }
}

/// Returns the GGUF name of a module's weight, for `model.layers.N.…` and `lm_head`.
pub(super) fn gguf_name(module: &str) -> Option<String> {
    if module == "lm_head" {
        return Some("output.weight".into());
    }
    let (layer, part) = module.strip_prefix("model.layers.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let part = match part {
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    };
    Some(format!("blk.{layer}.{part}.weight"))
}
