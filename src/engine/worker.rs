//! The worker's side of a job: `tunesmith worker JOB`.
//!
//! It reads the job, runs the kind, and writes events as JSON lines. A line `cancel` on its standard input asks it to
//! stop; the end of standard input means that the driver is gone.

use std::path::Path;

use super::EngineError;
use crate::node::{Cancel, Event, Events, JOB_FORMAT, Job, Kind, NodeError, Run, Secrets};
use crate::store::Store;

/// Reads the job at `path` and runs it; the last event is `done` or `failed`.
///
/// # Errors
/// [`EngineError::BadJob`] when it is no job of this version; a run's own failure is an event, not an error.
pub fn work(path: &Path, events: &dyn Events, cancel: &Cancel, secrets: &dyn Secrets) -> Result<bool, EngineError> {
    let bad = |what: String| EngineError::BadJob { path: path.to_owned(), what };
    let text = fs_err::read_to_string(path)?;
    let job: Job = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    if job.format != JOB_FORMAT {
        return Err(bad(format!("its format is {}, this worker reads {JOB_FORMAT}", job.format)));
    }
    let store = match &job.rehearsal {
        None => Store::open(&job.store, job.remote.as_deref())?,
        Some(lender) => Store::open(&job.store, None)?.borrowing(Store::open(lender, job.remote.as_deref())?),
    };
    let kind = crate::node::kinds()
        .into_iter()
        .find(|kind| kind.info().full_name() == job.kind)
        .ok_or_else(|| bad(format!("this tunesmith has no kind `{}`", job.kind)))?;
    let result = run(kind, &job, &store, events, cancel, secrets);
    store.flush()?;
    let good = result.is_ok();
    events.event(match result {
        Ok(outcome) => Event::Done { outcome },
        Err(error) => Event::Failed { error },
    });
    Ok(good)
}

/// Runs a job in this process.
pub(super) fn run(
    kind: &dyn Kind,
    job: &Job,
    store: &Store,
    events: &dyn Events,
    cancel: &Cancel,
    secrets: &dyn Secrets,
) -> Result<crate::node::Outcome, NodeError> {
    let run = Run { job, store, events, cancel, secrets };
    if kind.info().version != job.kind_version {
        let ours = kind.info().version;
        return Err(run.bad_job(format!("it is for version {} of the kind, this is {ours}", job.kind_version)));
    }
    // A panic in a kind is a bug of ours, but must not take a whole build with it.
    let go = || if job.rehearsal.is_some() { kind.rehearse(&run) } else { kind.run(&run) };
    guarded(go).unwrap_or_else(|what| Err(run.bad_job(what)))
}

/// Runs what must not take a whole build with it; returns what it said when it panicked.
pub(super) fn guarded<T>(go: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(go)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        format!("its run panicked: {}", text.unwrap_or("no message"))
    })
}
