//! The models of a ladder, each made to predict the same rows.

use std::path::{Path, PathBuf};

use super::super::candidate::of_llama;
use super::measure::{Measure, Meter};
use crate::llama::{Context, ContextOptions, Model, Token};
use crate::model::ModelError;
use crate::model::convert::{self, ConvertError, Merge, merge};
use crate::model::gguf::FileType;
use crate::model::lora::Adapter;
use crate::model::rows::TokenRow;
use crate::model::transformer::{Batch, Transformer};
use crate::model::weights::{Base, Storage, WeightFiles};
use crate::node::{NodeError, Run};

/// Measures models on the same rows.
pub(super) struct Climb<'a, 'r> {
    pub(super) run: &'a Run<'r>,
    pub(super) rows: &'a [TokenRow],
    /// Tokens of the base's vocabulary.
    pub(super) vocabulary: usize,
    /// Rows that all models have been given, and those that they will have been.
    pub(super) done: u64,
    pub(super) total: u64,
}

impl Climb<'_, '_> {
    /// Measures the adapter, then the base without it, by training's own forward pass.
    pub(super) fn base(
        &mut self,
        files: &WeightFiles,
        adapter: impl FnOnce(&Base) -> Result<Adapter, NodeError>,
    ) -> Result<[Measure; 2], NodeError> {
        let base = Base::open(files)?;
        let adapter = adapter(&base)?;
        let model = self.read(&base)?;
        let meter = Meter::of_adapter(&self.reference(), "adapter", self.vocabulary)?;
        let adapted = self.ours(&model, Some(&adapter), "adapter", meter)?;
        let meter = Meter::against(&self.reference(), "base", self.vocabulary)?;
        let plain = self.ours(&model, None, "base", meter)?;
        Ok([plain, adapted])
    }

    /// Measures a model that was trained as a whole, then its base, by training's own forward pass.
    pub(super) fn whole(&mut self, base: &WeightFiles, model: &WeightFiles) -> Result<[Measure; 2], NodeError> {
        let trained = self.read(&Base::open(model)?)?;
        let meter = Meter::of_adapter(&self.reference(), "full", self.vocabulary)?;
        let adapted = self.ours(&trained, None, "full", meter)?;
        drop(trained);
        let plain = self.read(&Base::open(base)?)?;
        let meter = Meter::against(&self.reference(), "base", self.vocabulary)?;
        Ok([self.ours(&plain, None, "base", meter)?, adapted])
    }

    /// Measures a file by training's own forward pass.
    pub(super) fn merged(&mut self, path: &Path) -> Result<Measure, NodeError> {
        let model = self.read(&Base::open(&WeightFiles::Gguf(path.to_owned()))?)?;
        let meter = Meter::against(&self.reference(), "merged", self.vocabulary)?;
        self.ours(&model, None, "merged", meter)
    }

    /// Measures a file by llama.cpp.
    pub(super) fn gguf(&mut self, rung: &str, path: &Path) -> Result<Measure, NodeError> {
        let run = self.run;
        let model = Model::load(path)?;
        let interrupt = || run.cancel.is_cancelled();
        let longest = self.rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let length = u32::try_from(longest).unwrap_or(u32::MAX);
        let options = ContextOptions { length, threads: run.grant().threads, interrupt: &interrupt };
        let mut context = Context::new(&model, &options).map_err(of_llama)?;
        let mut meter = Meter::against(&self.reference(), rung, self.vocabulary)?;
        for row in self.rows {
            let tokens: Vec<Token> = row.ids.iter().map(|id| *id as Token).collect();
            context
                .predictions(&tokens, &row.trained, |token, logits| {
                    meter.take(token as usize, logits).map_err(NodeError::from)
                })
                .map_err(|error| if run.cancel.is_cancelled() { NodeError::cancelled() } else { error })?;
            self.step(rung);
        }
        Ok(meter.finish()?)
    }

    fn read(&self, base: &Base) -> Result<Transformer, NodeError> {
        let layers = base.config().layers as u64;
        let run = self.run;
        Ok(Transformer::load(base, Storage::AsStored, |blocks| {
            run.progress(blocks as u64, Some(layers), "blocks", "reading weights");
        })?)
    }

    fn ours(
        &mut self,
        model: &Transformer,
        adapter: Option<&Adapter>,
        rung: &str,
        mut meter: Meter<'_>,
    ) -> Result<Measure, NodeError> {
        for row in self.rows {
            self.run.check_cancelled()?;
            let batch = Batch::new([(0, row)]);
            model.predictions(adapter, &batch, |token, logits| {
                meter.take(token as usize, logits).map_err(NodeError::from)
            })?;
            self.step(rung);
        }
        Ok(meter.finish()?)
    }

    fn step(&mut self, rung: &str) {
        self.done += 1;
        self.run.progress(self.done, Some(self.total), "rows", rung);
    }

    /// Where the adapter's predictions are kept.
    fn reference(&self) -> PathBuf {
        self.run.scratch().join("adapter.logits")
    }
}

/// Writes a model, with an adapter merged into it, as one GGUF in 16 bits: what is quantised, and what llama.cpp runs.
pub(super) fn in_16_bits(
    run: &Run<'_>,
    files: &WeightFiles,
    adapter: Option<&convert::Adapter>,
) -> Result<PathBuf, NodeError> {
    let path = run.scratch().join("merged.gguf");
    let mut how = Merge {
        adapter,
        float: FileType::F16,
        threads: run.grant().threads,
        earlier: None,
        progress: &mut |done, total| {
            run.progress(done, Some(total), "parameters", "merging");
            !run.cancel.is_cancelled()
        },
    };
    merge(convert::open(files)?.as_ref(), &path, &mut how).map_err(|error| match error {
        ConvertError::Interrupted => NodeError::cancelled(),
        other => other.into(),
    })?;
    Ok(path)
}

/// Runs `work` with as many threads as the run may use.
pub(super) fn with_threads<T: Send>(
    run: &Run<'_>,
    work: impl FnOnce() -> Result<T, NodeError> + Send,
) -> Result<T, NodeError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(run.grant().threads.max(1)).build();
    pool.map_err(ModelError::Threads)?.install(work)
}
