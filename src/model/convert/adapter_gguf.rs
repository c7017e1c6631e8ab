//! An adapter as a GGUF of its own, which llama.cpp puts beside a base that stays as it is.
//!
//! The form is that of llama.cpp's `convert_lora_to_gguf.py`: for each weight that is changed its `A` and its `B`, the rows of
//! `B` in the order of the weight's rows in GGUF, and one alpha for all. llama.cpp scales a pair by alpha over its rank; where
//! PEFT scales it otherwise (rsLoRA, an alpha of its own), `B` takes the difference.

use std::path::Path;

use super::merge::{Heads, fits};
use super::metadata::text;
use super::{Adapter, ConvertError, Source};
use crate::model::gguf::{PlannedTensor, TensorType, Value, Writer};
use crate::model::lora::PeftModule;

/// The version of quantised blocks that the reference writes with every file.
const QUANTIZATION_VERSION: u32 = 2;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdapterGguf {
    /// Tensors: two for each module.
    pub tensors: usize,
    /// Numbers in all.
    pub parameters: u64,
}

/// Writes an adapter of the base `source` to a GGUF at `output`, its numbers in `kind`: 32 or 16 bits.
///
/// # Errors
/// An adapter that does not fit the base; one that llama.cpp has no form for; the file system.
pub fn write_adapter_gguf(
    source: &dyn Source,
    adapter: &Adapter,
    kind: TensorType,
    output: &Path,
) -> Result<AdapterGguf, ConvertError> {
    fits(adapter, source.tensors())?;
    if let Some((tensor, _)) = adapter.modules.iter().find(|(_, module)| module.magnitude.is_some()) {
        return Err(ConvertError::NoForm { tensor: tensor.clone() });
    }
    let metadata = source.metadata();
    let heads = Heads::of(&metadata);
    let alpha = adapter.modules.values().next().map_or(0.0, alpha);
    let (mut planned, mut numbers) = (Vec::new(), Vec::new());
    for tensor in source.tensors() {
        let Some(module) = adapter.modules.get(&tensor.name) else { continue };
        let order = heads.order(tensor);
        let factor = self::alpha(module) / alpha;
        let scaled = |number: &f32| (f64::from(*number) * factor) as f32;
        let rows = (0..module.outputs()).map(|row| order.original(row) * module.rank);
        let b = rows.flat_map(|start| module.b[start..start + module.rank].iter().map(scaled)).collect();
        let rank = module.rank as u64;
        for (end, dimensions, values) in [
            ("lora_a", [module.inputs() as u64, rank], module.a.clone()),
            ("lora_b", [rank, module.outputs() as u64], b),
        ] {
            let name = format!("{}.{end}", tensor.name);
            planned.push(PlannedTensor { name, dimensions: dimensions.into(), tensor_type: kind });
            numbers.push(values);
        }
    }
    let architecture = metadata.into_iter().find(|(key, _)| key == "general.architecture");
    let metadata: Vec<(String, Value)> = architecture
        .into_iter()
        .chain([
            text("general.type", "adapter"),
            text("adapter.type", "lora"),
            ("adapter.lora.alpha".to_owned(), Value::F32(alpha as f32)),
            ("general.quantization_version".to_owned(), Value::U32(QUANTIZATION_VERSION)),
        ])
        .collect();
    let written =
        AdapterGguf { tensors: planned.len(), parameters: numbers.iter().map(|values| values.len() as u64).sum() };
    let names: Vec<String> = planned.iter().map(|tensor| tensor.name.clone()).collect();
    let mut writer = Writer::create(output, &metadata, planned)?;
    for (name, values) in names.iter().zip(&numbers) {
        writer.write(&encoded(name, values, kind)?)?;
    }
    writer.finish()?;
    Ok(written)
}

/// Returns the alpha by which llama.cpp scales a module as PEFT does. That of LoRA itself comes back as it was given.
fn alpha(module: &PeftModule) -> f64 {
    let rank = module.rank as f64;
    let is_own = ((module.alpha / rank) as f32).to_bits() == module.scale.to_bits();
    if is_own { module.alpha } else { f64::from(module.scale) * rank }
}

/// Returns numbers as a file has them.
fn encoded(name: &str, numbers: &[f32], kind: TensorType) -> Result<Vec<u8>, ConvertError> {
    let rounded = |number: f32| match kind {
        TensorType::F16 => f32::from(half::f16::from_f32(number)),
        _ => number,
    };
    if let Some(&number) = numbers.iter().find(|number| !rounded(**number).is_finite()) {
        return Err(ConvertError::NotFinite { tensor: name.to_owned(), target: kind.name(), number });
    }
    Ok(match kind {
        TensorType::F16 => numbers.iter().flat_map(|&number| half::f16::from_f32(number).to_le_bytes()).collect(),
        TensorType::BF16 => numbers.iter().flat_map(|&number| half::bf16::from_f32(number).to_le_bytes()).collect(),
        _ => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
    })
}
