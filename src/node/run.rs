//! What a kind sees while it runs: its job, the store, and ways to speak.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Event, Grant, InputRole, Job, JobFile, JobInput, NodeError, Progress};
use crate::net::Watch;
use crate::store::Store;

/// A flag that asks a run to stop soon and cleanly.
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// Returns a flag that several threads hold.
    pub fn shared() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Asks for the stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Returns whether the stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Takes what a run says.
pub trait Events: Sync {
    /// Takes one event; cheap, may be called from any thread of the run.
    fn event(&self, event: Event);
}

/// Gives values of secrets that settings name by reference (`env:NAME`).
pub trait Secrets: Sync {
    /// Returns the value of environment variable `name`, if it is set and not empty.
    fn environment(&self, name: &str) -> Option<String>;
}

/// One run of one node.
pub struct Run<'a> {
    /// The job.
    pub job: &'a Job,
    /// The store: inputs are read from it, outputs are put into it.
    pub store: &'a Store,
    /// Takes what the run says.
    pub events: &'a dyn Events,
    /// Asks the run to stop.
    pub cancel: &'a Cancel,
    /// Gives secrets by name.
    pub secrets: &'a dyn Secrets,
}

/// A broken agreement between the engine and a kind.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("job of node `{node}` does not fit its kind `{kind}`: {what}")]
#[diagnostic(
    code(node::bad_job),
    help("this is a bug of tunesmith, or a job file made by another version: please report it")
)]
pub struct BadJob {
    /// The node.
    pub node: String,
    /// Its kind.
    pub kind: String,
    /// What does not fit.
    pub what: String,
}

/// Passes the cancel flag on to requests, and tells the user about their pauses.
impl Watch for Run<'_> {
    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn waits(&self, wait: Duration, why: &str) {
        let wait = Duration::from_secs(wait.as_secs().max(1));
        self.note(format!("{why}: waiting {}", humantime::format_duration(wait)));
    }
}

impl Run<'_> {
    /// Returns the canonical settings as the kind's own type.
    ///
    /// # Errors
    /// [`BadJob`] when they are not of that type.
    pub fn settings<S: DeserializeOwned>(&self) -> Result<S, NodeError> {
        S::deserialize(&self.job.settings).map_err(|error| self.bad_job(error.to_string()))
    }

    /// Returns the inputs named by `from`, in the manifest's order.
    pub fn inputs(&self) -> impl Iterator<Item = &JobInput> {
        self.job.inputs.iter().filter(|input| input.role == InputRole::From)
    }

    /// Returns the base model's weights.
    ///
    /// # Errors
    /// [`BadJob`] when the job has none.
    pub fn model(&self) -> Result<&JobInput, NodeError> {
        self.job
            .inputs
            .iter()
            .find(|input| input.role == InputRole::Model)
            .ok_or_else(|| self.bad_job("it has no base model".into()))
    }

    /// Returns where the base model's files are.
    ///
    /// # Errors
    /// [`BadJob`] when the job has no base model; errors of the store.
    #[cfg(feature = "train")]
    pub fn weight_files(&self) -> Result<crate::model::weights::WeightFiles, NodeError> {
        let files = crate::model::weights::WeightFiles::of(self.store, &self.model()?.artifact)?;
        files.ok_or_else(|| self.bad_job("the base model is no file".into()))
    }

    /// Returns the local files that `setting` names, sorted by name.
    pub fn files(&self, setting: &str) -> impl Iterator<Item = &JobFile> {
        self.job.files.iter().filter(move |file| file.setting == setting)
    }

    /// Returns what an effect needs to know of the project around it.
    ///
    /// # Errors
    /// [`BadJob`] when the job is of no effect.
    pub fn outside(&self) -> Result<&super::Outside, NodeError> {
        self.job
            .outside
            .as_ref()
            .ok_or_else(|| self.bad_job("it says nothing of what is outside of the project".into()))
    }

    /// Returns the folder that the run may write in.
    pub fn scratch(&self) -> &Path {
        &self.job.scratch
    }

    /// Returns what the run may use of the machine.
    pub fn grant(&self) -> Grant {
        self.job.grant
    }

    /// Says how far the run has come; throttled by the receiver, so call it freely.
    pub fn progress(&self, done: u64, total: Option<u64>, unit: &str, detail: &str) {
        self.say(Progress { done, total, unit: unit.into(), detail: detail.into(), ..Progress::default() });
    }

    /// Says how far the run has come, and how long it still takes; as [`Self::progress`].
    pub fn say(&self, progress: Progress) {
        self.events.event(Event::Progress(progress));
    }

    /// Says a line for people.
    pub fn note(&self, text: impl Into<String>) {
        self.events.event(Event::Note { text: text.into() });
    }

    /// Says a line about something that is wrong but does not end the run.
    pub fn warn(&self, text: impl Into<String>) {
        self.events.event(Event::Warning { text: text.into() });
    }

    /// Ends the run when the stop was asked for; call it between pieces of work of under a second.
    ///
    /// # Errors
    /// [`NodeError::cancelled`].
    pub fn check_cancelled(&self) -> Result<(), NodeError> {
        if self.cancel.is_cancelled() { Err(NodeError::cancelled()) } else { Ok(()) }
    }

    /// Makes the error for a job that does not fit.
    pub fn bad_job(&self, what: String) -> NodeError {
        let error = BadJob { node: self.job.node.clone(), kind: self.job.kind.clone(), what };
        NodeError::new(super::FailureClass::Bug, &error)
    }
}
