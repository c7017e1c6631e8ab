//! PEFT's form of an adapter: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Deserialize;
use serde_json::json;

use super::super::config::ModelConfig;
use super::super::{ModelError, Result};
use super::{Adapter, Module, Projection};

/// What is read of `adapter_config.json`.
#[derive(Deserialize)]
struct PeftConfig {
    r: usize,
    lora_alpha: f64,
    target_modules: Vec<String>,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
}

impl Adapter {
    /// Returns the two files that PEFT, llama.cpp's converter and others read, by name. `dropout` is only noted.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] when a file cannot be put together, which is a bug.
    pub fn to_peft(&self, dropout: f64) -> Result<BTreeMap<&'static str, Vec<u8>>> {
        let mut targets: Vec<&str> = self.modules().iter().map(|module| module.projection.name()).collect();
        targets.sort_unstable();
        targets.dedup();
        let config = json!({
            "base_model_name_or_path": null,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": self.alpha,
            "lora_dropout": dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.rank,
            "target_modules": targets,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": false,
        });
        let bytes: Vec<(String, [usize; 2], Vec<u8>)> = self
            .modules()
            .iter()
            .flat_map(|module| self.matrices(module))
            .map(|(name, shape, numbers)| (name, shape, numbers.iter().flat_map(|n| n.to_le_bytes()).collect()))
            .collect();
        let unwritable = |error: &dyn std::fmt::Display| ModelError::Adapter { what: error.to_string() };
        let views = bytes
            .iter()
            .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.to_vec(), bytes)?)))
            .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|error| unwritable(&error))?;
        let metadata = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
        let tensors = safetensors::serialize(views, Some(metadata)).map_err(|error| unwritable(&error))?;
        let mut config = serde_json::to_vec_pretty(&config).map_err(|error| unwritable(&error))?;
        config.push(b'\n');
        Ok([("adapter_config.json", config), ("adapter_model.safetensors", tensors)].into())
    }

    /// Reads an adapter for a base model from PEFT's two files.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] when it was made for another model, or is of a kind that is not read.
    pub fn from_peft(base: &ModelConfig, config: &Path, tensors: &Path) -> Result<Self> {
        let refused = |what: String| ModelError::Adapter { what };
        let peft: PeftConfig = serde_json::from_slice(&fs_err::read(config)?)
            .map_err(|cause| ModelError::Json { path: config.to_owned(), cause })?;
        if peft.use_dora || peft.r == 0 {
            return Err(refused("it is no plain LoRA".into()));
        }
        let targets = peft.target_modules.iter().map(|name| {
            let known = Projection::ALL.into_iter().find(|projection| projection.name() == name);
            known.ok_or_else(|| refused(format!("it trains `{name}`")))
        });
        let targets = targets.collect::<Result<Vec<_>>>()?;
        // Rank-stabilised LoRA divides by √rank: the same as a larger alpha.
        let alpha = if peft.use_rslora { peft.lora_alpha * (peft.r as f64).sqrt() } else { peft.lora_alpha };
        let mut adapter = Self::zeros(base, &targets, peft.r, alpha);
        let bytes = fs_err::read(tensors)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| refused(error.to_string()))?;
        let modules = adapter.modules.clone();
        for module in &modules {
            for (matrix, place, shape) in places(module) {
                let name = tensor_name(module, matrix);
                let tensor = file.tensor(&name).map_err(|error| refused(format!("tensor `{name}`: {error}")))?;
                if tensor.shape() != shape || tensor.dtype() != Dtype::F32 {
                    let found = format!("{:?} of {:?}", tensor.shape(), tensor.dtype());
                    return Err(refused(format!("tensor `{name}` has the shape {found}, not {shape:?} of F32")));
                }
                let numbers = tensor.data().as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes);
                for (parameter, number) in adapter.parameters[place].iter_mut().zip(numbers) {
                    *parameter = number;
                }
            }
        }
        if file.len() != 2 * modules.len() {
            return Err(refused(format!("it has {} tensors instead of {}", file.len(), 2 * modules.len())));
        }
        Ok(adapter)
    }

    /// Returns a module's two matrices with their names and shapes.
    fn matrices<'a>(&'a self, module: &Module) -> impl Iterator<Item = (String, [usize; 2], &'a [f32])> + use<'a> {
        let module = *module;
        places(&module)
            .map(move |(matrix, place, shape)| (tensor_name(&module, matrix), shape, &self.parameters[place]))
    }
}

/// Returns a module's matrices: PEFT's name, place, shape.
fn places(module: &Module) -> impl Iterator<Item = (&'static str, std::ops::Range<usize>, [usize; 2])> + use<> {
    let rank = module.rank;
    [("A", module.a(), [rank, module.inputs]), ("B", module.b(), [module.outputs, rank])].into_iter()
}

/// Returns PEFT's name of a module's matrix.
fn tensor_name(module: &Module, matrix: &str) -> String {
    format!("base_model.model.{}.lora_{matrix}.weight", module.name())
}
