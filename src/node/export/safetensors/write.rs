//! The run of `export.safetensors`: merge, configuration, card.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::error::ExportError;
use super::{Dtype, Settings};
use crate::model::convert::{ConvertError, MergeFolder, Merged, merge_folder, restored_files, usual_float};
use crate::model::gguf::TensorType;
use crate::model::lora::PeftAdapter;
use crate::model::weights::{Float, WeightFiles, are_weights, stored_as};
use crate::node::export::card::{self, CardSettings, Facts, README};
use crate::node::groups;
use crate::node::tuned::Tuned;
use crate::node::{NodeError, Outcome, Run};
use crate::store::{Artifact, FileRef};

/// How the folder is loaded.
const USAGE: &str = "```python\n\
from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
tokenizer = AutoTokenizer.from_pretrained(\"PATH\")\n\
model = AutoModelForCausalLM.from_pretrained(\"PATH\")\n```\n";

/// What names the configuration.
const CONFIG: &str = "config.json";

/// Merges and writes a tensor's rows at a time.
pub(super) fn export(run: &Run<'_>) -> Result<Outcome, NodeError> {
    let bad = |error: serde_json::Error| run.bad_job(error.to_string());
    let settings: Settings = groups::read(&run.job.settings).map_err(bad)?;
    let of_card: CardSettings = groups::read(&run.job.settings).map_err(bad)?;
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
    let lora = adapter_files.as_ref().map(card::adapter_config).transpose()?;
    let made = Made { merged, dtype: float.map(Float::name), decoded };
    let card = card::card(&of_card, made.facts(&of_card, lora.as_ref()));
    files.insert(README.to_owned(), run.store.put_file_bytes(card.as_bytes())?);
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

/// What a card says of the folder.
struct Made {
    merged: Merged,
    /// How all weights are stored, where that was asked for.
    dtype: Option<&'static str>,
    /// The type of blocks that most of the base's weights were decoded from.
    decoded: Option<&'static str>,
}

impl Made {
    /// `lora` has the adapter's settings in PEFT's form; nothing where all weights were trained.
    fn facts(&self, settings: &CardSettings, lora: Option<&Map<String, Value>>) -> Facts {
        let base = card::base(settings);
        let made = match lora {
            Some(_) => format!(
                "A LoRA adapter was trained beside {base} and then merged into it: {} of {} tensors changed.",
                self.merged.changed, self.merged.tensors
            ),
            None => format!("All weights of {base} were trained."),
        };
        let mut rows = vec![("Parameters".to_owned(), self.merged.parameters.to_string())];
        rows.extend(self.dtype.map(|dtype| ("Stored as".to_owned(), dtype.to_owned())));
        rows.extend(self.decoded.map(|blocks| ("The base's weights".to_owned(), format!("decoded from {blocks}"))));
        rows.extend(lora.into_iter().flat_map(card::lora));
        Facts {
            made,
            library: Some("transformers"),
            tags: lora.map(|_| "lora").into_iter().collect(),
            license: None,
            rows,
            more: String::new(),
            usage: USAGE.to_owned(),
        }
    }
}

fn bytes_of(files: &BTreeMap<String, PathBuf>, file: &'static str) -> Result<Vec<u8>, ExportError> {
    let path = files.get(file).ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, file))?;
    Ok(fs_err::read(path)?)
}
