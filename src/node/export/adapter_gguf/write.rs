//! The run of `export.adapter-gguf`.

use std::collections::BTreeMap;

use miette::Diagnostic;
use serde_json::json;

use super::{Dtype, Settings};
use crate::model::convert::{self, Adapter, write_adapter_gguf};
use crate::model::gguf::TensorType;
use crate::node::tuned::Tuned;
use crate::node::{NodeError, Outcome, Run};
use crate::store::Artifact;

/// Not exactly one adapter.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("an adapter's GGUF is made from one adapter, `from` names {count}")]
#[diagnostic(code(export::one_adapter), help("name one node of the type `lora`: `from = [\"NAME\"]`"))]
struct OneAdapter {
    count: usize,
}

/// Writes the adapter.
pub(super) fn export(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let Tuned::Adapter(files) = Tuned::one(run, |count| OneAdapter { count })? else {
        return Err(OneAdapter { count: 0 }.into());
    };
    let adapter = Adapter::read(&files)?;
    let source = convert::open(&run.weight_files()?)?;
    let kind = match settings.dtype {
        Dtype::F32 => TensorType::F32,
        Dtype::F16 => TensorType::F16,
        Dtype::Bf16 => TensorType::BF16,
    };
    let path = run.scratch().join("adapter.gguf");
    let written = write_adapter_gguf(source.as_ref(), &adapter, kind, &path)?;
    let file = run.store.adopt(&path)?;
    let fields =
        [("size", json!(file.size)), ("tensors", json!(written.tensors)), ("parameters", json!(written.parameters))];
    Ok(Outcome {
        outputs: BTreeMap::from([("gguf".to_owned(), Artifact::File(file))]),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        report: Vec::new(),
    })
}
