//! A LoRA in PEFT's form, read for merging.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::ConvertError;

/// One pair of matrices: the base's weight `W` becomes `W + scale · B·A`.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// `rank × columns`, row by row.
    pub a: Vec<f32>,
    /// `rows × rank`, row by row, in PEFT's order of rows.
    pub b: Vec<f32>,
    /// The rank.
    pub rank: usize,
    /// `alpha / rank`, or `alpha / √rank` for rank-stabilised LoRA.
    pub scale: f32,
}

/// An adapter: pairs by the GGUF name of the weight that they change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapter {
    /// The pairs.
    pub pairs: BTreeMap<String, Lora>,
}

#[derive(Deserialize)]
struct Config {
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    fan_in_fan_out: bool,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    modules_to_save: Option<Vec<String>>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
}

impl Adapter {
    /// Reads an adapter from its files by name.
    ///
    /// # Errors
    /// Files that are absent or damaged, tensors that belong to no known part, and kinds of adapters that cannot be merged.
    pub fn read(files: &BTreeMap<String, PathBuf>) -> Result<Self, ConvertError> {
        let config = file(files, "adapter_config.json")?;
        let config: Config = serde_json::from_slice(&config).map_err(ConvertError::AdapterConfig)?;
        refuse_unsupported(&config)?;
        let bytes = file(files, "adapter_model.safetensors")?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(ConvertError::AdapterTensors)?;
        let mut pairs = BTreeMap::new();
        for name in tensors.names() {
            let unknown = || ConvertError::UnknownTensor { tensor: name.to_owned() };
            if name.ends_with(".lora_B.weight") {
                continue;
            }
            let module = name.strip_suffix(".lora_A.weight").ok_or_else(unknown)?;
            let (a, [rank, columns]) = matrix(&tensors, name)?;
            let (b, [rows, b_rank]) = matrix(&tensors, &format!("{module}.lora_B.weight"))?;
            if b_rank != rank || rank == 0 || rows * columns == 0 {
                return Err(unsupported(format!("has ranks {rank} and {b_rank} at `{module}`")));
            }
            let module = module.strip_prefix("base_model.model.").unwrap_or(module);
            let tensor = gguf_name(module).ok_or_else(unknown)?;
            let scale = config.alpha(module) / if config.use_rslora { (rank as f64).sqrt() } else { rank as f64 };
            pairs.insert(tensor, Lora { a, b, rank, scale: scale as f32 });
        }
        if pairs.is_empty() {
            return Err(unsupported(format!("of rank {} has no tensors", config.r)));
        }
        Ok(Self { pairs })
    }
}

impl Config {
    /// Returns the module's own alpha, or that of all. PEFT's patterns are names or ends of names here.
    fn alpha(&self, module: &str) -> f64 {
        let own = |pattern: &str| module == pattern || module.ends_with(&format!(".{pattern}"));
        self.alpha_pattern.iter().find(|(pattern, _)| own(pattern)).map_or(self.lora_alpha, |(_, alpha)| *alpha)
    }
}

fn refuse_unsupported(config: &Config) -> Result<(), ConvertError> {
    let what = if config.use_dora {
        "is a DoRA"
    } else if config.fan_in_fan_out {
        "has transposed weights"
    } else if config.bias.as_deref().is_some_and(|bias| bias != "none") {
        "trains biases"
    } else if config.modules_to_save.as_ref().is_some_and(|modules| !modules.is_empty()) {
        "saves whole modules"
    } else {
        return Ok(());
    };
    Err(unsupported(what.into()))
}

fn unsupported(what: String) -> ConvertError {
    ConvertError::UnsupportedAdapter { what }
}

fn file(files: &BTreeMap<String, PathBuf>, name: &'static str) -> Result<Vec<u8>, ConvertError> {
    let path: &Path = files.get(name).ok_or(ConvertError::IncompleteAdapter { file: name })?;
    fs_err::read(path).map_err(|cause| ConvertError::Read { path: path.to_owned(), cause })
}

fn matrix(tensors: &SafeTensors<'_>, name: &str) -> Result<(Vec<f32>, [usize; 2]), ConvertError> {
    let view = tensors.tensor(name).map_err(ConvertError::AdapterTensors)?;
    let &[rows, columns] = view.shape() else {
        return Err(unsupported(format!("has no matrix at `{name}`")));
    };
    let bytes = view.data();
    let numbers: Vec<f32> = match view.dtype() {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|bytes| half::bf16::from_le_bytes(*bytes).to_f32()).collect(),
        other => return Err(unsupported(format!("has numbers of the type {other:?} at `{name}`"))),
    };
    Ok((numbers, [rows, columns]))
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
