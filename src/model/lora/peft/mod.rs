//! PEFT's form of an adapter: `adapter_config.json` and `adapter_model.safetensors`.

mod config;
mod read;
mod write;

pub use read::{PeftAdapter, PeftModule};

/// The file of an adapter's settings.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";
/// The file of an adapter's numbers.
pub const ADAPTER_TENSORS: &str = "adapter_model.safetensors";

/// What stands before a module's path in the name of a tensor.
const PREFIX: &str = "base_model.model.";
/// What stands behind it, for each kind of tensor.
const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";
const MAGNITUDE: &str = ".lora_magnitude_vector";
