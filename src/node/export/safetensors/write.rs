//! The run of `export.safetensors`: merge, configuration, card.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::error::ExportError;
use super::{Dtype, Settings, card};
use crate::model::convert::{ConvertError, MergeFolder, merge_folder, restored_files, usual_float};
use crate::model::gguf::TensorType;
use crate::model::lora::{ADAPTER_CONFIG, PeftAdapter};
use crate::model::weights::{Float, WeightFiles, are_weights, stored_as};
use crate::node::tuned::Tuned;
use crate::node::{NodeError, Outcome, Run};
use crate::store::{Artifact, FileRef};

/// What names the configuration.
const CONFIG: &str = "config.json";

/// Merges and writes a tensor's rows at a time.
pub(super) fn export(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let (base, adapter_files) = match Tuned::one(run, |count| ExportError::OneAdapter { count })? {
        Tuned::Adapter(files) => (run.weight_files()?, Some(files)),
        Tuned::Whole(files) => (files, None),
    };
    let adapter = adapter_files.as_ref().map(PeftAdapter::read).transpose()?;
    let usual = match &base {
        WeightFiles::Gguf(path) => Some(usual_float(path).map_err(of_convert)?),
        WeightFiles::Folder(_) => None,
    };
    let asked = settings.dtype.map(|dtype| match dtype {
        Dtype::F32 => Float::F32,
        Dtype::F16 => Float::F16,
        Dtype::Bf16 => Float::BF16,
    });
    let float = asked.or(usual.map(|usual| usual.float));
    let how = &mut MergeFolder {
        adapter: adapter.as_ref(),
        float,
        shard_bytes: settings.shard_bytes,
        threads: run.grant().threads,
        progress: &mut |done, total| {
            run.progress(done, Some(total), "parameters", "merging");
            !run.cancel.is_cancelled()
        },
    };
    let (written, merged) = merge_folder(&base, run.scratch(), how).map_err(of_convert)?;
    run.note(match adapter {
        Some(_) => format!("merged the adapter into {} of {} tensors", merged.changed, merged.tensors),
        None => format!("copied {} tensors", merged.tensors),
    });
    let mut files: BTreeMap<String, FileRef> = BTreeMap::new();
    for (name, path) in &written {
        files.insert(name.clone(), run.store.adopt(path)?);
    }
    let decoded = usual.and_then(|usual| usual.decoded).map(TensorType::name);
    if let (Some(blocks), Some(float)) = (decoded, float) {
        let name = float.name();
        run.note(format!(
            "the base's weights were decoded from {blocks} to {name}: what these blocks lost does not come back"
        ));
    }
    files.extend(match &base {
        WeightFiles::Folder(base) => copied(run, base, float)?,
        WeightFiles::Gguf(path) => restored(run, path, float.unwrap_or(Float::F16))?,
    });
    let lora = adapter_files.map(|files| adapter_config(&files)).transpose()?;
    let dtype = float.map(Float::name);
    let card = card::card(settings, &card::Facts { lora: lora.as_ref(), merged, dtype, decoded });
    files.insert("README.md".to_owned(), run.store.put_file_bytes(card.as_bytes())?);
    let size: u64 = files.values().map(|file| file.size).sum();
    let fields = [
        ("size", json!(size)),
        ("files", json!(files.len())),
        ("tensors", json!(merged.tensors)),
        ("parameters", json!(merged.parameters)),
    ];
    Ok(Outcome {
        outputs: BTreeMap::from([("model".to_owned(), Artifact::Folder { files })]),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        report: Vec::new(),
    })
}

/// Stores what is beside the weights of a folder: it is of use whatever they are.
fn copied(
    run: &Run<'_>,
    base: &BTreeMap<String, PathBuf>,
    float: Option<Float>,
) -> Result<BTreeMap<String, FileRef>, NodeError> {
    let mut files = BTreeMap::new();
    for (name, path) in base.iter().filter(|(name, _)| !are_weights(name) && *name != CONFIG) {
        files.insert(name.clone(), run.store.put_file(path)?);
    }
    let config = stored_as(&bytes_of(base, CONFIG)?, float);
    let config = config.map_err(|cause| ExportError::BadJson { file: CONFIG, cause })?;
    files.insert(CONFIG.to_owned(), run.store.put_file_bytes(config.as_bytes())?);
    Ok(files)
}

/// Stores what a GGUF says of its model, as transformers' files.
fn restored(run: &Run<'_>, path: &Path, float: Float) -> Result<BTreeMap<String, FileRef>, NodeError> {
    let restored = restored_files(path, float).map_err(of_convert)?;
    restored.into_iter().map(|(name, bytes)| Ok((name, run.store.put_file_bytes(&bytes)?))).collect()
}

fn of_convert(error: ConvertError) -> NodeError {
    match error {
        ConvertError::Interrupted => NodeError::cancelled(),
        other => other.into(),
    }
}

fn adapter_config(files: &BTreeMap<String, PathBuf>) -> Result<Map<String, Value>, ExportError> {
    let bytes = bytes_of(files, ADAPTER_CONFIG)?;
    serde_json::from_slice(&bytes).map_err(|cause| ExportError::BadJson { file: ADAPTER_CONFIG, cause })
}

fn bytes_of(files: &BTreeMap<String, PathBuf>, file: &'static str) -> Result<Vec<u8>, ExportError> {
    let path = files.get(file).ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, file))?;
    Ok(fs_err::read(path)?)
}
