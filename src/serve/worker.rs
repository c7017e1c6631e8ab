//! The one that asks the model: a request after the other.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::http;
use super::queue::{Gone, Job, Queue};
use super::reply::{ApiError, Event};
use super::{ChatModel, ServeError};
use crate::llama::{Context, ContextOptions, Generation, LlamaError};

/// What is served, and how.
#[derive(Clone, Debug)]
pub struct Service {
    /// The model's name, which requests must give.
    pub name: String,
    /// The system prompt of conversations that have none.
    pub system: String,
    /// Tokens of question and answer together.
    pub context: u32,
    /// Threads of the model.
    pub threads: usize,
    /// How answers are generated where a request does not say; each request without a seed gets the next one.
    pub usual: Generation,
    /// Requests that may wait while one is answered.
    pub room: usize,
    /// Seconds since 1970.
    pub clock: fn() -> u64,
}

/// Asked now and then whether to end.
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// Serves `model` at `listener` until `stop` says so; `ready` is called when requests can come.
///
/// The model is asked in the calling thread; connections have one of their own.
///
/// # Errors
/// No memory for the context; a system that gives no thread.
pub fn serve(
    listener: TcpListener,
    model: &ChatModel,
    service: Service,
    stop: &Stop,
    ready: impl FnOnce(),
) -> Result<(), ServeError> {
    let asked_by: Mutex<Gone> = Mutex::default();
    let interrupt = || stop() || asked_by.lock().unwrap_or_else(PoisonError::into_inner).is_gone();
    let options = ContextOptions { length: service.context, threads: service.threads, interrupt: &interrupt };
    let mut context = Context::new(model.model(), &options)?;
    let length = service.context as usize;
    let queue = Arc::new(Queue::new(service.room));
    let server = http::start(listener, service, Arc::clone(&queue), Arc::clone(stop))?;
    ready();
    while let Some(job) = queue.take() {
        *asked_by.lock().unwrap_or_else(PoisonError::into_inner) = job.gone.clone();
        answer(model, &mut context, length, &job, &queue.counts.answered);
    }
    server.join().map_err(|_| ServeError::Ended)?
}

/// Answers one request, and counts it where it was answered to its end. Whoever went away is told nothing.
fn answer(model: &ChatModel, context: &mut Context<'_>, length: usize, job: &Job, answered: &AtomicU64) {
    // A receiver that is gone says so by `job.gone`.
    let tell = |event: Event| job.events.send(event).ok();
    let prompt = match model.prompt(&job.messages, length) {
        Ok(prompt) => prompt,
        Err(error) => {
            tell(Event::Refused(ApiError::of_prompt(&error)));
            return;
        }
    };
    tell(Event::Began { prompt: prompt.len() });
    let how = Generation { tokens: job.how.tokens.min(length - prompt.len()), ..job.how.clone() };
    let answer = context.generate_in_pieces(&prompt, &how, |piece| {
        tell(Event::Piece(piece.to_owned()));
    });
    match &answer {
        Ok(answer) => {
            // Before the client knows: it may ask at once how many there were.
            answered.fetch_add(1, Ordering::SeqCst);
            tell(Event::Ended { tokens: answer.tokens, by_itself: answer.ended })
        }
        Err(LlamaError::Interrupted) => None,
        Err(error) => tell(Event::Refused(ApiError::failed(error))),
    };
}
