//! What waits for the model: so many requests and no more, those first that came first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use super::reply::Event;
use crate::llama::Generation;
use crate::model::template::Message;

/// One who waits for an answer; nobody does any more when it is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    gone: Gone,
    counts: Arc<Counts>,
}

/// What the server has to do, and has done.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Those who wait for an answer, that which is being given among them.
    pub(super) waiting: AtomicUsize,
    /// Answers that were given to their end.
    pub(super) answered: AtomicU64,
}

/// Whether nobody waits for an answer any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone(Arc<AtomicBool>);

impl Waiting {
    /// Counts one more.
    pub(super) fn new(counts: &Arc<Counts>) -> Self {
        counts.waiting.fetch_add(1, Ordering::SeqCst);
        Self { gone: Gone::default(), counts: Arc::clone(counts) }
    }

    pub(super) fn gone(&self) -> Gone {
        self.gone.clone()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gone.0.store(true, Ordering::SeqCst);
        self.counts.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gone {
    pub(super) fn is_gone(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A request for an answer.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) messages: Vec<Message>,
    pub(super) how: Generation,
    pub(super) gone: Gone,
    /// Takes the answer as it comes; its length is bounded by the context.
    pub(super) events: UnboundedSender<Event>,
}

/// The requests that wait.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    room: usize,
    pub(super) counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    is_closed: bool,
}

impl Queue {
    /// Makes an empty queue for so many requests beside the one that is answered.
    pub(super) fn new(room: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), room, counts: Arc::default() }
    }

    /// Takes a request, unless there is no room. Those whose clients went away take none.
    pub(super) fn push(&self, job: Job) -> Result<(), Job> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.jobs.retain(|waiting| !waiting.gone.is_gone());
        if state.is_closed || state.jobs.len() >= self.room {
            return Err(job);
        }
        state.jobs.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next request that somebody waits for; none comes when the queue is closed.
    pub(super) fn take(&self) -> Option<Job> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.is_closed {
                return None;
            }
            match state.jobs.pop_front() {
                Some(job) if job.gone.is_gone() => {}
                Some(job) => return Some(job),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Drops all that waits, and takes nothing more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_closed = true;
        state.jobs.clear();
        self.changed.notify_all();
    }
}
