//! The run of `export.gguf`: merge, write, quantise.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::error::ExportError;
use crate::llama::{LlamaError, quantize, quantized_tensors};
use crate::model::convert::{Adapter, ConvertError, FolderSource, GgufSource, Merge, Source, merge};
use crate::model::gguf::{FileType, GgufError, Header};
use crate::node::{NodeError, Outcome, Run};
use crate::store::Artifact;

/// How often the quantiser is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Merges, writes and quantises to `target`.
///
/// The weights are written once in 16 bits (in 32, or as bfloat16, where those are the target) and quantised from that
/// file: rounding to 16 bits first is what the reference tools do, and changes a weight by less than 1/2048 of itself.
pub(super) fn export(run: &Run<'_>, target: FileType) -> Result<Outcome, NodeError> {
    let inputs: Vec<_> = run.inputs().collect();
    let [input] = inputs[..] else { return Err(ExportError::OneAdapter { count: inputs.len() }.into()) };
    let Artifact::Folder { files } = &input.artifact else {
        return Err(run.bad_job("its adapter is no folder".into()));
    };
    let adapter = Adapter::read(&run.store.paths(files)?).map_err(of_convert)?;
    let mut source = source(run)?;
    let float = if target.is_float() { target } else { FileType::F16 };
    let merged = run.scratch().join("merged.gguf");
    let counts = merge(
        source.as_mut(),
        &merged,
        &mut Merge {
            adapter: Some(&adapter),
            float,
            threads: run.grant().threads,
            progress: &mut |done, total| {
                run.progress(done, Some(total), "parameters", "merging");
                !run.cancel.is_cancelled()
            },
        },
    )
    .map_err(of_convert)?;
    run.note(format!("merged the adapter into {} of {} tensors", counts.changed, counts.tensors));
    let written = if target.is_float() { merged } else { quantized(run, &merged, target)? };
    let header = Header::read(&written)?;
    let file = run.store.adopt(&written)?;
    let bits = file.size as f64 * 8.0 / counts.parameters.max(1) as f64;
    let fields = [
        ("size", json!(file.size)),
        ("tensors", json!(header.tensors.len())),
        ("parameters", json!(counts.parameters)),
        ("quantization", json!(target.name())),
        ("bits-per-weight", json!((bits * 1_000.0).round() / 1_000.0)),
    ];
    Ok(Outcome {
        outputs: BTreeMap::from([("gguf".to_owned(), Artifact::File(file))]),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        report: Vec::new(),
    })
}

fn source(run: &Run<'_>) -> Result<Box<dyn Source>, NodeError> {
    match &run.model()?.artifact {
        Artifact::File(file) => Ok(Box::new(GgufSource::open(&run.store.path(file)?).map_err(of_convert)?)),
        Artifact::Folder { files } => Ok(Box::new(FolderSource::open(&run.store.paths(files)?).map_err(of_convert)?)),
        Artifact::Records(_) => Err(run.bad_job("its model is a record set".into())),
    }
}

/// Quantises `merged` and drops it.
fn quantized(run: &Run<'_>, merged: &Path, target: FileType) -> Result<PathBuf, NodeError> {
    let output = run.scratch().join("quantized.gguf");
    let threads = run.grant().threads;
    std::thread::scope(|scope| {
        let work = scope.spawn(|| quantize(merged, &output, target.id(), threads));
        while !work.is_finished() {
            if let Some((done, total)) = quantized_tensors() {
                run.progress(done, Some(total), "tensors", &format!("quantising to {target}"));
            }
            std::thread::park_timeout(POLL);
        }
        // llama.cpp cannot be interrupted here; a cancelled run's worker is ended by the engine.
        work.join().unwrap_or(Err(LlamaError::Interrupted))
    })?;
    run.check_cancelled()?;
    fs_err::remove_file(merged).map_err(ExportError::Io)?;
    Ok(output)
}

fn of_convert(error: ConvertError) -> NodeError {
    match error {
        ConvertError::Interrupted => NodeError::cancelled(),
        ConvertError::Gguf(GgufError::Io(cause)) => ExportError::Io(cause).into(),
        other => other.into(),
    }
}
