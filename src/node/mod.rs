//! Nodes: what a kind is, the job that runs one, and the kinds by family.
//!
//! A kind never sees the manifest, the graph or another kind: settings come in as canonical JSON, inputs as artifacts
//! in the store, and all that it says goes out as events. The engine hashes and publishes.

pub mod eval;
pub mod export;
pub mod filter;
pub mod model;
pub mod source;
pub mod train;

#[cfg(test)]
pub(crate) mod bench;
mod checkpoint;
#[cfg(any(feature = "llama", test))]
mod chrf;
mod command;
mod endpoint;
mod error;
mod forecast;
mod groups;
mod job;
mod kind;
mod ledger;
mod ollama_store;
pub(crate) mod process;
mod questions;
mod run;
pub mod settings;
mod table;
#[cfg(feature = "llama")]
mod tuned;
#[cfg(feature = "llama")]
mod voice;

pub use crate::model::Device;
pub use checkpoint::Checkpoint;
pub use error::{FailureClass, NodeError};
pub use forecast::{Cost, Forecast, Outlook, Selected};
pub use job::{Count, Event, Grant, InputRole, JOB_FORMAT, Job, JobFile, JobInput, Outcome, Progress};
pub use kind::{
    Content, Determinism, Family, FieldReference, FileInput, Globs, Kind, KindInfo, OutputInfo, Rehearsal,
    SettingProblem, Weight,
};
pub use ledger::{Entry, LedgerError, Outside, last_time};
pub use run::{BadJob, Cancel, Events, Run, Secrets};
pub use table::{find, kinds, names};
