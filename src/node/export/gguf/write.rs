//! The run of `export.gguf`: merge, quantise, write.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use regex::Regex;
use serde_json::json;

use super::earlier::Earlier;
use super::error::ExportError;
use super::{DEFAULT, IMATRIX_TOKENS, MAX_TOKENS, Settings, importance};
use crate::llama::{Importance, LlamaError, quantize, quantized_tensors};
use crate::model::convert::{
    Adapter, ConvertError, Merge, Merged, Sizing, Source, Target, merge, merge_quantised, open, types_for_size,
};
use crate::model::gguf::{FileType, GgufError, Header, TensorType};
use crate::node::tuned::Tuned;
use crate::node::{Count, JobInput, NodeError, Outcome, Run};
use crate::store::Artifact;

/// How often the quantiser is looked at.
const POLL: Duration = Duration::from_millis(200);

/// What is converted: a model, with an adapter or without.
struct Merging<'a, 'r> {
    run: &'a Run<'r>,
    source: &'a dyn Source,
    adapter: Option<&'a Adapter>,
    earlier: &'a Earlier<'a>,
}

/// How a file is stored.
struct Types {
    file: FileType,
    /// Types of single tensors.
    overrides: Vec<(Regex, TensorType)>,
    /// What is told of types that were chosen here.
    report: Vec<Count>,
}

/// Merges, quantises and writes, in one stream.
///
/// Weights are rounded to 16 bits (where bfloat16 or 32 bits are no target) before they are quantised: that is what the
/// reference tools do, and changes a weight by less than 1/2048 of itself. Only for an importance matrix there is a file
/// in 16 bits, since the merged model has to be run.
pub(super) fn export(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let (model, adapter) = match Tuned::one(run, |count| ExportError::OneAdapter { count })? {
        Tuned::Adapter(files) => (run.weight_files()?, Some(Adapter::read(&files).map_err(of_convert)?)),
        Tuned::Whole(files) => (files, None),
    };
    let rows = importance::rows(run, settings.imatrix.as_deref())?;
    let source = open(&model).map_err(of_convert)?;
    let earlier = Earlier::of(run)?;
    let merging = Merging { run, source: source.as_ref(), adapter: adapter.as_ref(), earlier: &earlier };
    let importance = rows.map(|rows| merging.importance(settings, rows)).transpose()?;
    let Types { file: target, overrides, report } = merging.types(settings, importance.as_ref())?;
    let written = run.scratch().join("model.gguf");
    let counts = if target.is_float() {
        merging.float(target, &written)?
    } else {
        let target = Target { file_type: target, overrides: &overrides, importance: importance.as_ref() };
        match merging.quantised(&written, &target)? {
            Some(counts) => counts,
            None => by_llama(&merging, &target, &written)?,
        }
    };
    run.note(match adapter {
        Some(_) => format!("merged the adapter into {} of {} tensors", counts.changed, counts.tensors),
        None => format!("converted {} tensors", counts.tensors),
    });
    if counts.taken > 0 {
        let (made, taken) = (counts.quantised - counts.taken, counts.taken);
        run.note(format!("quantised {made} tensors, took {taken} from files that were made before"));
    }
    let header = Header::read(&written)?;
    let file = run.store.adopt(&written)?;
    earlier.remember(&header, file)?;
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
        report,
    })
}

impl Merging<'_, '_> {
    /// Returns the file's type, types for single tensors, and what is told of them.
    fn types(&self, settings: &Settings, importance: Option<&Importance>) -> Result<Types, NodeError> {
        let overrides = settings.overrides().map_err(|problem| self.run.bad_job(problem.message))?;
        let Some(bits) = settings.bits_per_weight else {
            let name = settings.quantization.as_deref().unwrap_or(DEFAULT);
            let unknown = || self.run.bad_job(format!("its quantisation `{name}` is unknown"));
            let file = FileType::from_name(name).ok_or_else(unknown)?;
            return Ok(Types { file, overrides, report: Vec::new() });
        };
        let sizing = Sizing { bits, overrides: &overrides, importance };
        let chosen =
            self.with(FileType::F16, ("tensors", "choosing types"), |how| types_for_size(self.source, how, &sizing))?;
        let report = chosen
            .counts
            .iter()
            .map(|(kind, tensors)| Count { what: format!("tensors stored as {kind}"), count: *tensors as u64 });
        Ok(Types { file: chosen.file_type, overrides: chosen.overrides, report: report.collect() })
    }

    /// Returns how much each column matters, measured on the merged model in 16 bits.
    fn importance(&self, settings: &Settings, rows: &JobInput) -> Result<Importance, NodeError> {
        let run = self.run;
        let tokens = settings.imatrix_tokens.unwrap_or(IMATRIX_TOKENS);
        let bounds = (tokens, settings.max_tokens.unwrap_or(MAX_TOKENS));
        let memo = importance::Memo::of(run, rows, bounds)?;
        if let Some(known) = memo.get()? {
            run.note("the importance of columns is known from a run before");
            return Ok(known);
        }
        let between = run.scratch().join("merged.gguf");
        self.float(FileType::F16, &between)?;
        let measured = importance::measure(run, rows, &between, bounds)?;
        fs_err::remove_file(between).map_err(ExportError::Io)?;
        memo.put(&measured)?;
        Ok(measured)
    }

    fn float(&self, float: FileType, output: &Path) -> Result<Merged, NodeError> {
        self.with(float, ("parameters", "merging"), |how| merge(self.source, output, how))
    }

    fn quantised(&self, output: &Path, target: &Target<'_>) -> Result<Option<Merged>, NodeError> {
        let doing = ("parameters", "merging and quantising");
        self.with(FileType::F16, doing, |how| merge_quantised(self.source, output, how, target))
    }

    fn with<T>(
        &self,
        float: FileType,
        (unit, doing): (&str, &str),
        work: impl FnOnce(&mut Merge<'_>) -> Result<T, ConvertError>,
    ) -> Result<T, NodeError> {
        let run = self.run;
        let mut how = Merge {
            adapter: self.adapter,
            float,
            threads: run.grant().threads,
            earlier: Some(self.earlier),
            progress: &mut |done, total| {
                run.progress(done, Some(total), unit, doing);
                !run.cancel.is_cancelled()
            },
        };
        work(&mut how).map_err(of_convert)
    }
}

/// Has llama.cpp quantise a file in 16 bits, for models whose rules are llama.cpp's alone.
fn by_llama(merging: &Merging<'_, '_>, target: &Target<'_>, output: &Path) -> Result<Merged, NodeError> {
    let run = merging.run;
    let between = run.scratch().join("merged.gguf");
    let counts = merging.float(FileType::F16, &between)?;
    let (file_type, threads) = (target.file_type, run.grant().threads);
    std::thread::scope(|scope| {
        let work = scope.spawn(|| quantize(&between, output, file_type.id(), target.importance, threads));
        while !work.is_finished() {
            if let Some((done, total)) = quantized_tensors() {
                run.progress(done, Some(total), "tensors", &format!("quantising to {file_type}"));
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
