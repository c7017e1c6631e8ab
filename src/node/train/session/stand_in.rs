//! The stand-in of a training's result, for a rehearsal of what follows: an adapter that changes nothing, or the base model
//! as it is.

use std::collections::BTreeMap;

use serde_json::json;

use super::inputs::Reader;
use super::settings::AdapterSettings;
use super::{Method, adapter, events, training};
use crate::model::ModelError;
use crate::model::config::ModelConfig;
use crate::model::lora::{Adapter, Init, LoraConfig};
use crate::model::weights::Base;
use crate::node::{NodeError, Outcome, Run};
use crate::store::{Artifact, FileRef};

/// Makes the stand-in: files of the same shapes as the training's, and every one of `fields` that it would have.
pub(in super::super) fn stand_in(run: &Run<'_>, method: Method, fields: &[&str]) -> Result<Outcome, NodeError> {
    let settings = training::settings(run, method)?;
    let base = Base::open(&run.weight_files()?)?;
    Reader::new(&base, &settings)?;
    let (name, output) = match &settings.adapter {
        Some(settings) => ("adapter", Artifact::Folder { files: zeros(run, base.config(), settings)? }),
        None => ("weights", run.model()?.artifact.clone()),
    };
    let metrics = Artifact::File(run.store.put_file_bytes(b"")?);
    let board = [(events::FILE_NAME.to_owned(), run.store.put_file_bytes(&events::file(""))?)].into();
    let evaluates = settings.training.eval.is_some();
    let fields = fields.iter().filter(|field| evaluates || !field.starts_with("eval-"));
    Ok(Outcome {
        outputs: [
            (name.to_owned(), output),
            ("metrics".to_owned(), metrics),
            ("tensorboard".to_owned(), Artifact::Folder { files: board }),
        ]
        .into(),
        fields: fields.map(|field| ((*field).to_owned(), json!(0))).collect(),
        report: Vec::new(),
    })
}

/// Stores an adapter of zeros, whatever the training would start from: what PiSSA and DoRA read of the weights takes long,
/// and what follows merges any adapter alike.
fn zeros(
    run: &Run<'_>,
    config: &ModelConfig,
    settings: &AdapterSettings,
) -> Result<BTreeMap<String, FileRef>, NodeError> {
    let lora = LoraConfig { dora: false, init: Init::Kaiming, ..adapter::lora(settings) };
    let adapter = Adapter::zero(config, &lora).map_err(ModelError::Lora)?;
    let files = adapter.to_peft(settings.dropout).map_err(ModelError::Lora)?;
    files.into_iter().map(|(name, bytes)| Ok((name.to_owned(), run.store.put_file_bytes(&bytes)?))).collect()
}
