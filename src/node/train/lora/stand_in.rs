//! The stand-in of a training's result, for a rehearsal of what follows: an adapter that changes nothing.

use std::collections::BTreeMap;

use serde_json::json;

use super::inputs::Reader;
use super::{INFO, adapter, events, session};
use crate::model::ModelError;
use crate::model::lora::{Adapter, Init, LoraConfig};
use crate::model::weights::Base;
use crate::node::{NodeError, Outcome, Run};
use crate::store::Artifact;

/// Makes the stand-in: files of the same shapes as the training's, and every field that it would have.
///
/// Its numbers are zeros, whatever the training would start from: what PiSSA and DoRA read of the weights takes long, and
/// what follows merges any adapter alike.
pub(super) fn stand_in(run: &Run<'_>) -> Result<Outcome, NodeError> {
    let settings = session::settings(run)?;
    let base = Base::open(&run.weight_files()?)?;
    Reader::new(&base, &settings)?;
    let config = LoraConfig { dora: false, init: Init::Kaiming, ..adapter::lora(&settings.adapter) };
    let adapter = Adapter::zero(base.config(), &config).map_err(ModelError::Lora)?;
    let mut files = BTreeMap::new();
    for (name, bytes) in adapter.to_peft(settings.adapter.dropout).map_err(ModelError::Lora)? {
        files.insert(name.to_owned(), run.store.put_file_bytes(&bytes)?);
    }
    let metrics = Artifact::File(run.store.put_file_bytes(b"")?);
    let board = [(events::FILE_NAME.to_owned(), run.store.put_file_bytes(&events::file(""))?)].into();
    let evaluates = settings.training.eval.is_some();
    let fields = INFO.fields.iter().filter(|field| evaluates || !field.starts_with("eval-"));
    Ok(Outcome {
        outputs: [
            ("adapter".to_owned(), Artifact::Folder { files }),
            ("metrics".to_owned(), metrics),
            ("tensorboard".to_owned(), Artifact::Folder { files: board }),
        ]
        .into(),
        fields: fields.map(|field| ((*field).to_owned(), json!(0))).collect(),
        report: Vec::new(),
    })
}
