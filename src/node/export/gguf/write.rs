//! The run of `export.gguf`: merge, quantise, write.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use regex::Regex;
use serde_json::json;

use super::error::ExportError;
use crate::llama::{LlamaError, quantize, quantized_tensors};
use crate::model::convert::{Adapter, ConvertError, Merge, Merged, Target, merge, merge_quantised, open};
use crate::model::gguf::{FileType, GgufError, Header, TensorType};
use crate::node::{NodeError, Outcome, Run};
use crate::store::Artifact;

/// How often the quantiser is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Merges, quantises to `target` and writes, in one stream.
///
/// Weights are rounded to 16 bits (where bfloat16 or 32 bits are no target) before they are quantised: that is what the
/// reference tools do, and changes a weight by less than 1/2048 of itself.
pub(super) fn export(run: &Run<'_>, target: FileType, overrides: &[(Regex, TensorType)]) -> Result<Outcome, NodeError> {
    let inputs: Vec<_> = run.inputs().collect();
    let [input] = inputs[..] else { return Err(ExportError::OneAdapter { count: inputs.len() }.into()) };
    let Artifact::Folder { files } = &input.artifact else {
        return Err(run.bad_job("its adapter is no folder".into()));
    };
    let adapter = Adapter::read(&run.store.paths(files)?).map_err(of_convert)?;
    let source = open(&run.weight_files()?).map_err(of_convert)?;
    let written = run.scratch().join("model.gguf");
    let merged = |float: FileType, output: &Path, quantised: Option<&Target<'_>>| {
        let doing = if quantised.is_some() { "merging and quantising" } else { "merging" };
        let how = &mut Merge {
            adapter: Some(&adapter),
            float,
            threads: run.grant().threads,
            progress: &mut |done, total| {
                run.progress(done, Some(total), "parameters", doing);
                !run.cancel.is_cancelled()
            },
        };
        match quantised {
            Some(target) => merge_quantised(source.as_ref(), output, how, target),
            None => merge(source.as_ref(), output, how).map(Some),
        }
        .map_err(of_convert)
    };
    let direct = if target.is_float() {
        merged(target, &written, None)?
    } else {
        merged(FileType::F16, &written, Some(&Target { file_type: target, overrides }))?
    };
    let counts = match direct {
        Some(counts) => counts,
        None => by_llama(run, target, &written, |between| merged(FileType::F16, between, None))?,
    };
    run.note(format!("merged the adapter into {} of {} tensors", counts.changed, counts.tensors));
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

/// Has llama.cpp quantise a file in 16 bits, for models whose rules are llama.cpp's alone.
fn by_llama(
    run: &Run<'_>,
    target: FileType,
    output: &Path,
    merged: impl Fn(&Path) -> Result<Option<Merged>, NodeError>,
) -> Result<Merged, NodeError> {
    let between = run.scratch().join("merged.gguf");
    let counts = merged(&between)?.ok_or_else(|| run.bad_job("nothing was merged".into()))?;
    let threads = run.grant().threads;
    std::thread::scope(|scope| {
        let work = scope.spawn(|| quantize(&between, output, target.id(), threads));
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
    fs_err::remove_file(between).map_err(ExportError::Io)?;
    Ok(counts)
}

fn of_convert(error: ConvertError) -> NodeError {
    match error {
        ConvertError::Interrupted => NodeError::cancelled(),
        ConvertError::Gguf(GgufError::Io(cause)) => ExportError::Io(cause).into(),
        other => other.into(),
    }
}
