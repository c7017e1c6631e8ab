//! How fast this machine trains: measured once for a base model, a kind of adapter and a number of threads, and kept
//! outside of all keys. Each training then corrects it by what it really took.

use serde::{Deserialize, Serialize};

use super::super::adapter;
use super::super::settings::Settings;
use crate::model::ModelError;
use crate::model::config::ModelConfig;
use crate::model::transformer::{Dropout, Speed};
use crate::model::weights::{Base, Storage};
use crate::node::{NodeError, Run};
use crate::store::Digest;

/// A training of fewer seconds says nothing about the speed.
const TELLING: f64 = 10.0;
/// A correction beyond this is of a machine that did something else meanwhile.
const CORRECTIONS: (f64, f64) = (0.5, 2.5);

/// What is known of the speed of this machine.
#[derive(Debug)]
pub(super) struct KnownSpeed {
    /// What it is kept as.
    name: String,
    state: State,
}

/// What is kept.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct State {
    speed: Speed,
    /// What trainings took over what was forecast.
    correction: f64,
}

impl KnownSpeed {
    /// Returns what is known, or measures it.
    pub(super) fn of(run: &Run<'_>, base: &Base, storage: Storage, settings: &Settings) -> Result<Self, NodeError> {
        let kind = settings.adapter.as_ref().map(|adapter| adapter::lora(adapter).everywhere(base.config()));
        let kind = kind.transpose().map_err(ModelError::from)?;
        let rate = settings.adapter.as_ref().map_or(0.0, |adapter| adapter.dropout) as f32;
        let dropout = (rate > 0.0).then_some(Dropout { rate, seed: 0 });
        let trained = format!("{kind:?} {}", dropout.is_some());
        let name = name(run, base.config(), storage, &trained);
        if let Some(state) = run.store.state(&name)? {
            return Ok(Self { name, state });
        }
        run.progress(0, None, "", "measuring how fast this machine trains");
        let speed = Speed::measure(base, storage, kind.as_ref().map(|kind| (kind, dropout)))?;
        let state = State { speed, correction: 1.0 };
        run.store.put_state(&name, &state)?;
        Ok(Self { name, state })
    }

    /// Returns what was measured.
    pub(super) fn measured(&self) -> &Speed {
        &self.state.speed
    }

    /// Returns what forecasts are multiplied with.
    pub(super) fn correction(&self) -> f64 {
        self.state.correction
    }

    /// Notes what a training took, beside what was forecast.
    pub(super) fn correct(&self, run: &Run<'_>, forecast: f64, took: f64) -> Result<(), NodeError> {
        if took > TELLING && forecast > 0.0 {
            let correction = (self.state.correction * took / forecast).clamp(CORRECTIONS.0, CORRECTIONS.1);
            run.store.put_state(&self.name, &State { correction, ..self.state })?;
        }
        Ok(())
    }
}

/// Names a speed: the processor, the threads, the model's shape, what is trained, and the program, whose kernels may be
/// others.
fn name(run: &Run<'_>, config: &ModelConfig, storage: Storage, trained: &str) -> String {
    let text = fs_err::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = text.lines().find(|line| line.starts_with("model name")).unwrap_or(std::env::consts::ARCH);
    let parts = format!(
        "{processor} {} {} {} {} {} {} {storage:?} {trained} {}",
        run.grant().threads,
        config.hidden,
        config.intermediate,
        config.vocabulary,
        config.heads,
        config.kv_heads,
        env!("CARGO_PKG_VERSION")
    );
    format!("{} speed {}", run.job.kind, Digest::of(parts.as_bytes()))
}
