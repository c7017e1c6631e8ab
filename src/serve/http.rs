//! Connections: what they may ask for, within which bounds, and how they end.

use std::convert::Infallible;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::{sleep, timeout};

use super::queue::{Job, Queue, Waiting};
use super::reply::{Answer, ApiError, Event, Reply, Stream, object};
use super::request::{self, Asked};
use super::{ServeError, Service, Stop};
use crate::llama::Generation;

/// Bytes of a request's body.
const MOST_BYTES: usize = 4 << 20;
/// Connections at a time; more wait to be taken.
const MOST_CONNECTIONS: usize = 256;
/// In this time a client has sent its request's head, and in this time more the body.
const SENDING: Duration = Duration::from_secs(30);
/// How often it is looked whether to end.
const TICK: Duration = Duration::from_millis(50);
/// How long answers may take to end when the server does.
const ENDING: Duration = Duration::from_secs(2);

/// What connections share.
struct Shared {
    service: Service,
    queue: Arc<Queue>,
    /// Whether only this machine is listened to.
    is_private: bool,
    /// Requests so far, for ids and seeds.
    count: AtomicU64,
}

/// Closes the queue when the server ends, however that is.
struct Closing(Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Starts to take connections, in a thread of its own, until `stop` says so.
pub(super) fn start(
    listener: TcpListener,
    service: Service,
    queue: Arc<Queue>,
    stop: Stop,
) -> Result<JoinHandle<Result<(), ServeError>>, ServeError> {
    listener.set_nonblocking(true)?;
    let is_private = listener.local_addr()?.ip().is_loopback();
    let closing = Closing(Arc::clone(&queue));
    let count = AtomicU64::new(0);
    let shared = Arc::new(Shared { service, queue, is_private, count });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let thread = std::thread::Builder::new().name("http".into());
    Ok(thread.spawn(move || {
        let closing = closing;
        runtime.block_on(async {
            take(listener, &shared, &stop).await?;
            drop(closing);
            end(&shared).await;
            Ok(())
        })
    })?)
}

/// Takes connections until `stop` says so.
async fn take(listener: TcpListener, shared: &Arc<Shared>, stop: &Stop) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut place = None;
    while !stop() {
        if place.is_none() {
            place = timeout(TICK, Arc::clone(&places).acquire_owned()).await.ok().and_then(Result::ok);
            continue;
        }
        match timeout(TICK, listener.accept()).await {
            Ok(Ok((stream, _))) => {
                let (taken, shared) = (place.take(), Arc::clone(shared));
                tokio::spawn(async move {
                    // A connection that breaks is the client's matter.
                    connection(stream, shared).await.ok();
                    drop(taken);
                });
            }
            // Such as too many open files: what is open may end.
            Ok(Err(_)) => sleep(TICK).await,
            Err(_) => {}
        }
    }
    Ok(())
}

/// Lets answers end, for a while.
async fn end(shared: &Shared) {
    let all_answered = async {
        while shared.queue.counts.waiting.load(Ordering::SeqCst) > 0 {
            sleep(TICK).await;
        }
        // The last bytes are handed to the system.
        sleep(TICK).await;
    };
    timeout(ENDING, all_answered).await.ok();
}

async fn connection(stream: tokio::net::TcpStream, shared: Arc<Shared>) -> hyper::Result<()> {
    // A piece of an answer goes out at once.
    stream.set_nodelay(true).ok();
    let service = hyper::service::service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move {
            let answered = respond(request, &shared).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|error| error.response()))
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SENDING);
    http.serve_connection(TokioIo::new(stream), service).await
}

async fn respond(request: Request<Incoming>, shared: &Arc<Shared>) -> Result<Response<Reply>, ApiError> {
    if shared.is_private && is_from_elsewhere(&request) {
        let message = "a page of another site asks, and this server is for this machine only";
        return Err(ApiError::status(StatusCode::FORBIDDEN, message));
    }
    let service = &shared.service;
    let path = request.uri().path();
    let allowed = match path {
        "/v1/chat/completions" => Method::POST,
        "/health" | "/v1/models" => Method::GET,
        path if path.strip_prefix("/v1/models/").is_some_and(|name| !name.is_empty()) => Method::GET,
        _ => return Err(ApiError::status(StatusCode::NOT_FOUND, format!("there is no `{}` here", short(path)))),
    };
    if *request.method() != allowed {
        let message = format!("`{}` is asked by {allowed}", short(path));
        let mut refused = ApiError::status(StatusCode::METHOD_NOT_ALLOWED, message).response();
        let allowed = HeaderValue::from_static(if allowed == Method::POST { "POST" } else { "GET" });
        refused.headers_mut().insert(header::ALLOW, allowed);
        return Ok(refused);
    }
    match path {
        "/v1/chat/completions" => chat(request, shared).await,
        "/health" => Ok(object(StatusCode::OK, &health(shared))),
        "/v1/models" => Ok(object(StatusCode::OK, &json!({"object": "list", "data": [model(service)]}))),
        other => {
            let name = other.trim_start_matches("/v1/models/");
            let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
            if name == service.name {
                return Ok(object(StatusCode::OK, &model(service)));
            }
            let message = format!("there is no model {:?}: this server has `{}`", short(&name), service.name);
            Err(ApiError::status(StatusCode::NOT_FOUND, message))
        }
    }
}

fn health(shared: &Shared) -> serde_json::Value {
    let counts = &shared.queue.counts;
    let (waiting, answered) = (counts.waiting.load(Ordering::SeqCst), counts.answered.load(Ordering::SeqCst));
    json!({"status": "ok", "waiting": waiting, "answered": answered})
}

fn model(service: &Service) -> serde_json::Value {
    json!({"id": service.name, "object": "model", "created": (service.clock)(), "owned_by": "tunesmith"})
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Returns whether a browser sends this for a page that is not of this machine: it must not use what only this machine's
/// users may.
fn is_from_elsewhere(request: &Request<Incoming>) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return false };
    let host = origin.to_str().ok().and_then(|origin| url::Url::parse(origin).ok());
    !host.is_some_and(|url| match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    })
}

async fn chat(request: Request<Incoming>, shared: &Arc<Shared>) -> Result<Response<Reply>, ApiError> {
    let body = body(request).await?;
    let number = shared.count.fetch_add(1, Ordering::SeqCst);
    let service = &shared.service;
    let usual = Generation { seed: service.usual.seed.wrapping_add(number), ..service.usual.clone() };
    let Asked { messages, how, streams, counts } = request::read(&body, &service.name, usual)?;
    let messages = super::with_system(&service.system, messages);
    let (events, mut told) = mpsc::unbounded_channel();
    let waiting = Waiting::new(&shared.queue.counts);
    let job = Job { messages, how, gone: waiting.gone(), events };
    shared.queue.push(job).map_err(|_| ApiError::full())?;
    let prompt = began(&mut told).await?;
    let created = (service.clock)();
    let answer = Answer { id: format!("chatcmpl-{created:x}-{number}"), created, model: service.name.clone() };
    if streams {
        return Ok(Stream::new(answer, prompt, counts, told, waiting).response());
    }
    let whole = answer.whole(prompt, told).await;
    drop(waiting);
    whole
}

/// Waits until the model has begun; returns the tokens of the question.
async fn began(told: &mut UnboundedReceiver<Event>) -> Result<usize, ApiError> {
    match told.recv().await {
        Some(Event::Began { prompt }) => Ok(prompt),
        Some(Event::Refused(error)) => Err(error),
        _ => Err(ApiError::ending()),
    }
}

/// Reads the body of a question.
async fn body(request: Request<Incoming>) -> Result<Vec<u8>, ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // Browsers send JSON to other sites only when these allow it; other types they send unasked.
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let message = "the body is JSON: say so by `content-type: application/json`";
        return Err(ApiError::status(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let body = timeout(SENDING, Limited::new(request.into_body(), MOST_BYTES).collect()).await;
    match body {
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body has more than {MOST_BYTES} bytes");
            Err(ApiError::status(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Ok(Err(error)) => Err(ApiError::wrong(None, format!("the body broke off: {error}"))),
        Err(_) => Err(ApiError::status(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}
