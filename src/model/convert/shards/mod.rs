//! Base and adapter → the merged model in safetensors, as transformers has it: one file, or several with an index.
//!
//! As with a GGUF a tensor goes through a few rows at a time: read, merged in 32 bits, rounded once, written where it
//! belongs.

mod base;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rayon::prelude::*;

use super::merge::{Order, add};
use super::{ConvertError, Merged};
use crate::model::lora::{PeftAdapter, PeftModule};
use crate::model::weights::{Float, PlannedTensor, Shards, WeightFiles};
use base::Base;

pub use base::{Usual, usual_float};

/// Numbers that a thread has in memory at once.
const PIECE: usize = 1 << 16;

/// How to merge a base into a folder.
pub struct MergeFolder<'a> {
    /// What is added to the base, if anything.
    pub adapter: Option<&'a PeftAdapter>,
    /// How all weights are stored; nothing for how the base has each. Of a GGUF that is how it has most of its numbers, or
    /// [`Float::F16`] where these are quantised: the type of its norms says nothing of the model's.
    pub float: Option<Float>,
    /// The most bytes of tensors in one file; a tensor that is larger has a file of its own.
    pub shard_bytes: u64,
    /// Threads.
    pub threads: usize,
    /// Told the numbers written and in all, by any thread; ends the work by returning `false`.
    pub progress: &'a mut (dyn FnMut(u64, u64) -> bool + Send),
}

/// Writes the base's weights with the adapter merged into them below `output`, and returns the files by name.
///
/// # Errors
/// An adapter that does not fit the base; a base that is none; numbers that the type cannot hold; files that cannot be read
/// or written.
pub fn merge_folder(
    files: &WeightFiles,
    output: &Path,
    how: &mut MergeFolder<'_>,
) -> Result<(BTreeMap<String, PathBuf>, Merged), ConvertError> {
    let base = base::open(files)?;
    let planned = base.tensors().iter().map(|tensor| {
        let float = how.float.unwrap_or(tensor.float);
        PlannedTensor { float, ..tensor.clone() }
    });
    let planned: Vec<PlannedTensor> = planned.collect();
    let modules = how.adapter.map(|adapter| modules(adapter, &planned)).transpose()?.unwrap_or_default();
    let (tensors, parameters) = (planned.len(), planned.iter().map(numbers).sum());
    let shards = Shards::create(output, planned, how.shard_bytes)?;
    fill(base.as_ref(), &shards, &modules, how)?;
    Ok((shards.finish()?, Merged { tensors, changed: modules.len(), quantised: 0, taken: 0, parameters }))
}

fn numbers(tensor: &PlannedTensor) -> u64 {
    (tensor.rows() * tensor.columns()) as u64
}

/// Returns the adapter's modules by the tensor that each changes.
fn modules<'a>(
    adapter: &'a PeftAdapter,
    planned: &[PlannedTensor],
) -> Result<BTreeMap<String, &'a PeftModule>, ConvertError> {
    let mut modules = BTreeMap::new();
    for (path, module) in &adapter.modules {
        let name = format!("{path}.weight");
        let tensor = planned.iter().find(|planned| planned.name == name);
        let tensor = tensor.ok_or_else(|| ConvertError::NoSuchTensor { tensor: name.clone() })?;
        let found = (module.outputs(), module.inputs());
        if found != (tensor.rows(), tensor.columns()) {
            return Err(ConvertError::OtherShape {
                tensor: name,
                adapter_rows: found.0 as u64,
                adapter_columns: found.1 as u64,
                rows: tensor.rows() as u64,
                columns: tensor.columns() as u64,
            });
        }
        modules.insert(name, module);
    }
    Ok(modules)
}

/// Writes all tensors, which are in the order of the base's.
fn fill(
    base: &dyn Base,
    shards: &Shards,
    modules: &BTreeMap<String, &PeftModule>,
    how: &mut MergeFolder<'_>,
) -> Result<(), ConvertError> {
    let mut pieces = Vec::new();
    for (place, tensor) in shards.tensors().iter().enumerate() {
        let step = (PIECE / tensor.columns().max(1)).max(1);
        let firsts = (0..tensor.rows()).step_by(step);
        pieces.extend(firsts.map(|first| (place, tensor, first, step.min(tensor.rows() - first))));
    }
    let total: u64 = shards.tensors().iter().map(numbers).sum();
    let pool =
        rayon::ThreadPoolBuilder::new().num_threads(how.threads.max(1)).build().map_err(ConvertError::Threads)?;
    let done = Mutex::new((0, &mut how.progress));
    pool.install(|| {
        pieces.par_iter().try_for_each_init(
            || (Vec::new(), Vec::new()),
            |(numbers, bytes): &mut (Vec<f32>, Vec<u8>), &(place, tensor, first, rows)| {
                let columns = tensor.columns();
                numbers.resize(rows * columns, 0.0);
                base.rows(place, first, numbers)?;
                if let Some(module) = modules.get(&tensor.name) {
                    add(numbers, first, columns, module, &Order::Same);
                }
                if let Some(number) = numbers.iter().copied().find(|number| !tensor.float.holds(*number)) {
                    let (tensor, target) = (tensor.name.clone(), tensor.float.name());
                    return Err(ConvertError::NotFinite { tensor, target, number });
                }
                shards.write(place, first * columns, numbers, bytes)?;
                let Ok(mut done) = done.lock() else { return Err(ConvertError::Interrupted) };
                done.0 += numbers.len() as u64;
                let so_far = done.0;
                if (done.1)(so_far, total) { Ok(()) } else { Err(ConvertError::Interrupted) }
            },
        )
    })
}

#[cfg(test)]
mod tests;
