//! A training on rows, whatever it changes: an adapter beside the base model ([`Method::Lora`]), or all weights of it
//! ([`Method::Full`]).
//!
//! The same settings and inputs give the same bytes, whatever the number of threads, whether or not memory allows to
//! keep the activations, and whether the run went through or was resumed. On a GPU they are others than on the CPU, and
//! nothing of them is promised; a record says where it was trained.
//!
//! ```text
//! rows ─→ inputs ─→ plan: steps of micro-batches ─┐
//! base model ─→ learner: what is trained ─────────┴─→ training: loss, gradient, step ─→ result: output, metrics, fields
//!               forecast: how it fits                  checkpoint, evaluation, watch, clock
//! ```

mod adapter;
mod checkpoint;
mod clock;
mod error;
mod evaluation;
mod events;
mod forecast;
mod inputs;
mod learner;
mod output;
mod plan;
mod result;
mod samples;
mod settings;
mod stand_in;
mod training;
mod warm;
mod watch;

use serde_json::Value;

use crate::node::SettingProblem;
use settings::{LoopSettings, Settings};

pub(super) use forecast::cost;
pub(super) use stand_in::stand_in;
pub(super) use training::train;
#[cfg(test)]
pub(super) use training::train_with;

/// What a training changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// An adapter, beside a base model that is frozen.
    Lora,
    /// All weights of the base model.
    Full,
}

/// The settings that shape no byte.
pub(super) const OUTSIDE_KEY: &[&str] = LoopSettings::OUTSIDE_KEY;

/// Returns the schema of all settings as one object.
pub(super) fn schema(method: Method) -> Value {
    Settings::schema(method)
}

/// Returns settings as written in the manifest with every default filled in.
///
/// # Errors
/// Everything that is wrong with them.
pub(super) fn canonical(method: Method, written: &Value) -> Result<Value, Vec<SettingProblem>> {
    Settings::canonical(method, written)
}
