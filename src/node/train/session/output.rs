//! What a training leaves: an adapter in PEFT's form, or a model in the form of transformers.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::learner::Learner;
use super::settings::Settings;
use crate::model::ModelError;
use crate::model::transformer::{Tensor, WholeModel};
use crate::model::weights::{Float, PlannedTensor, Shards, WeightFiles, stored_as};
use crate::node::{NodeError, Run};
use crate::store::{Artifact, FileRef};

/// The most bytes of weights in one file: that of the hub's own tools.
const SHARD_BYTES: u64 = 5_000_000_000;
/// Numbers that a thread writes at once.
const PIECE: usize = 1 << 20;
/// What names the configuration.
const CONFIG: &str = "config.json";

/// Puts what was trained into the store; returns it with the name of the output.
pub(super) fn store(
    run: &Run<'_>,
    settings: &Settings,
    learner: &Learner,
) -> Result<(&'static str, Artifact), NodeError> {
    let (name, files) = match learner {
        Learner::Adapter { adapter, .. } => {
            let dropout = settings.adapter.as_ref().map_or(0.0, |adapter| adapter.dropout);
            let mut files = BTreeMap::new();
            for (name, bytes) in adapter.to_peft(dropout).map_err(ModelError::Lora)? {
                files.insert(name.to_owned(), run.store.put_file_bytes(&bytes)?);
            }
            ("adapter", files)
        }
        Learner::Whole(model) => ("weights", whole(run, model)?),
    };
    Ok((name, Artifact::Folder { files }))
}

/// Writes the weights in 32 bits, and what the base has beside its own.
fn whole(run: &Run<'_>, model: &WholeModel) -> Result<BTreeMap<String, FileRef>, NodeError> {
    let WeightFiles::Folder(base) = run.weight_files()? else {
        return Err(run.bad_job("its base model is no folder".into()));
    };
    run.progress(0, None, "", "writing the model");
    let tensors = model.tensors();
    let plan =
        |tensor: &Tensor<'_>| PlannedTensor { name: tensor.parameter.name(), shape: tensor.shape(), float: Float::F32 };
    let shards =
        Shards::create(run.scratch(), tensors.iter().map(plan).collect(), SHARD_BYTES).map_err(ModelError::from)?;
    for (place, tensor) in tensors.iter().enumerate() {
        run.check_cancelled()?;
        let shape = tensor.shape();
        let (rows, columns) = if let [rows, columns] = shape[..] { (rows, columns) } else { (1, tensor.numbers.len()) };
        let step = (PIECE / columns.max(1)).max(1);
        let firsts: Vec<usize> = (0..rows).step_by(step).collect();
        firsts
            .into_par_iter()
            .try_for_each(|first| {
                let numbers: Vec<f32> = (first..rows.min(first + step)).flat_map(|row| tensor.row(row)).collect();
                shards.write(place, first * columns, &numbers, &mut Vec::new())
            })
            .map_err(ModelError::from)?;
    }
    let mut files = BTreeMap::new();
    for (name, path) in shards.finish().map_err(ModelError::from)? {
        files.insert(name, run.store.adopt(&path)?);
    }
    for (name, path) in base.iter().filter(|(name, _)| !crate::model::weights::are_weights(name)) {
        let file = if name == CONFIG {
            let config = stored_as(&fs_err::read(path).map_err(ModelError::from)?, Some(Float::F32));
            let config = config.map_err(|cause| ModelError::Json { path: path.clone(), cause })?;
            run.store.put_file_bytes(config.as_bytes())?
        } else {
            run.store.put_file(path)?
        };
        files.insert(name.clone(), file);
    }
    Ok(files)
}
