//! What clients are told: answers, whole or as they come, and errors, in the form of OpenAI's API.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::{Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::ServeError;
use super::queue::Waiting;

/// When to come again, in seconds, where the queue is full.
const LATER: &str = "5";

/// What becomes of a request, in this order: it began, pieces, its end; or why there is none.
#[derive(Debug)]
pub(super) enum Event {
    Began { prompt: usize },
    Piece(String),
    Ended { tokens: usize, by_itself: bool },
    Refused(ApiError),
}

/// An error as OpenAI's API has it.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    /// What in the request is meant.
    param: Option<String>,
    message: String,
}

impl ApiError {
    fn new(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> Self {
        let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
        Self { status, kind, code, param: None, message: message.into() }
    }

    /// The request is wrong.
    pub(super) fn wrong(param: Option<&str>, message: impl Into<String>) -> Self {
        Self { param: param.map(str::to_owned), ..Self::new(StatusCode::BAD_REQUEST, None, message) }
    }

    pub(super) fn unsupported(param: &str) -> Self {
        let message = format!("`{param}` asks for what this server does not do: leave it out");
        Self { code: Some("unsupported_parameter"), ..Self::wrong(Some(param), message) }
    }

    pub(super) fn unknown_model(asked: &str, name: &str) -> Self {
        let asked: String = asked.chars().take(80).collect();
        let message = format!("the model {asked:?} does not exist: this server has `{name}`");
        Self { code: Some("model_not_found"), ..Self::wrong(Some("model"), message) }
    }

    /// The conversation cannot be asked.
    pub(super) fn of_prompt(error: &ServeError) -> Self {
        match error {
            ServeError::TooLong { .. } => {
                Self { code: Some("context_length_exceeded"), ..Self::wrong(Some("messages"), error.to_string()) }
            }
            ServeError::Refused { .. } | ServeError::Marker { .. } => Self::wrong(Some("messages"), error.to_string()),
            error => Self::failed(error),
        }
    }

    /// The model failed.
    pub(super) fn failed(error: &dyn std::error::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, None, error.to_string())
    }

    pub(super) fn status(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, None, message)
    }

    pub(super) fn full() -> Self {
        let message = "too many requests wait for the model: come again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Some("queue_full"), message)
    }

    pub(super) fn ending() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, None, "the server is ending")
    }

    fn object(&self) -> Value {
        let Self { kind, code, param, message, .. } = self;
        json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
    }

    pub(super) fn response(&self) -> Response<Reply> {
        let mut response = object(self.status, &self.object());
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(LATER));
        }
        response
    }
}

/// The body of a response.
#[derive(Debug)]
pub(super) enum Reply {
    Whole(Full<Bytes>),
    Stream(Box<Stream>),
}

/// Makes a response of one JSON object.
pub(super) fn object(status: StatusCode, object: &Value) -> Response<Reply> {
    let mut response = Response::new(Reply::Whole(Full::new(Bytes::from(object.to_string()))));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// What all objects of one answer have.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) id: String,
    /// Seconds since 1970.
    pub(super) created: u64,
    pub(super) model: String,
}

/// Why an answer ended, in OpenAI's words.
fn finish_reason(by_itself: bool) -> &'static str {
    if by_itself { "stop" } else { "length" }
}

fn usage(prompt: usize, tokens: usize) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens})
}

impl Answer {
    /// Collects a whole answer.
    pub(super) async fn whole(
        &self,
        prompt: usize,
        mut events: UnboundedReceiver<Event>,
    ) -> Result<Response<Reply>, ApiError> {
        let mut content = String::new();
        while let Some(event) = events.recv().await {
            match event {
                Event::Began { .. } => {}
                Event::Piece(piece) => content.push_str(&piece),
                Event::Refused(error) => return Err(error),
                Event::Ended { tokens, by_itself } => {
                    let message = json!({"role": "assistant", "content": content, "refusal": null});
                    let choice = json!({
                        "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(by_itself),
                    });
                    let mut whole = self.object("chat.completion", &json!([choice]));
                    whole["usage"] = usage(prompt, tokens);
                    return Ok(object(StatusCode::OK, &whole));
                }
            }
        }
        Err(ApiError::ending())
    }

    fn object(&self, object: &str, choices: &Value) -> Value {
        let Self { id, created, model } = self;
        json!({"id": id, "object": object, "created": created, "model": model, "choices": choices})
    }

    fn chunk(&self, delta: &Value, reason: Option<&str>) -> Value {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason});
        self.object("chat.completion.chunk", &json!([choice]))
    }
}

/// An answer that is sent as it comes, as server-sent events.
#[derive(Debug)]
pub(super) struct Stream {
    answer: Answer,
    prompt: usize,
    /// Whether the counts of tokens are sent at the end.
    counts: bool,
    events: UnboundedReceiver<Event>,
    state: State,
    /// Dropped with the stream: nobody waits for the answer then.
    _waiting: Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Beginning,
    Going,
    Over,
}

impl Stream {
    pub(super) fn new(
        answer: Answer,
        prompt: usize,
        counts: bool,
        events: UnboundedReceiver<Event>,
        waiting: Waiting,
    ) -> Self {
        Self { answer, prompt, counts, events, state: State::Beginning, _waiting: waiting }
    }

    pub(super) fn response(self) -> Response<Reply> {
        let mut response = Response::new(Reply::Stream(Box::new(self)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
        response
    }

    /// Returns what is sent of an event; of none, that there will be no more.
    fn sent(&mut self, event: Option<Event>) -> String {
        match event {
            Some(Event::Began { .. }) => String::new(),
            Some(Event::Piece(piece)) => data(&self.answer.chunk(&json!({"content": piece}), None)),
            Some(Event::Ended { tokens, by_itself }) => {
                self.state = State::Over;
                let mut text = data(&self.answer.chunk(&json!({}), Some(finish_reason(by_itself))));
                if self.counts {
                    let mut counts = self.answer.object("chat.completion.chunk", &json!([]));
                    counts["usage"] = usage(self.prompt, tokens);
                    text.push_str(&data(&counts));
                }
                text + "data: [DONE]\n\n"
            }
            Some(Event::Refused(error)) => {
                self.state = State::Over;
                data(&error.object())
            }
            None => {
                self.state = State::Over;
                data(&ApiError::ending().object())
            }
        }
    }
}

fn data(object: &Value) -> String {
    format!("data: {object}\n\n")
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let text = match self.state {
            State::Over => return Poll::Ready(None),
            State::Beginning => {
                self.state = State::Going;
                data(&self.answer.chunk(&json!({"role": "assistant", "content": ""}), None))
            }
            State::Going => match self.events.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(event) => self.sent(event),
            },
        };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(text)))))
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Over
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Stream(stream) => Pin::new(stream.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
