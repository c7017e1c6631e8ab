//! A random adapter for tests, in PEFT's form.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};

use crate::model::gguf::tiny;

/// The rank of its pairs.
pub(crate) const RANK: usize = 4;
/// Its alpha.
pub(crate) const ALPHA: f32 = 6.0;

/// Writes a random PEFT adapter over `modules` (name, rows, columns) and returns its files.
pub(crate) fn write_adapter(
    folder: &Path,
    modules: &[(&str, usize, usize)],
    config: &str,
) -> BTreeMap<String, PathBuf> {
    let mut data: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (seed, (module, rows, columns)) in modules.iter().enumerate() {
        let mut push = |end: &str, shape: [usize; 2], seed: u64| {
            let numbers = tiny::noise(seed, shape[0] * shape[1]);
            let bytes = numbers.iter().flat_map(|x| (x * 0.05).to_le_bytes()).collect();
            data.push((format!("base_model.model.{module}.{end}.weight"), shape.to_vec(), bytes));
        };
        push("lora_A", [RANK, *columns], 2 * seed as u64 + 100);
        push("lora_B", [*rows, RANK], 2 * seed as u64 + 101);
    }
    let views = data
        .iter()
        .map(|(name, shape, bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let bytes = safetensors::serialize(views, None).unwrap();
    let files = [("adapter_model.safetensors", bytes), ("adapter_config.json", config.into())];
    files.into_iter().fold(BTreeMap::new(), |mut files, (name, bytes): (&str, Vec<u8>)| {
        fs_err::write(folder.join(name), bytes).unwrap();
        files.insert(name.to_owned(), folder.join(name));
        files
    })
}

/// Returns an adapter's settings with `more` in them.
pub(crate) fn config(more: &str) -> String {
    format!(r#"{{"peft_type":"LORA","r":{RANK},"lora_alpha":{ALPHA}{more}}}"#)
}
