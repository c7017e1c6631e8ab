//! What is asked for: method, address, body, and how its answer is taken.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use ureq::http;

use super::client::follow;
use super::exchange::{Body, FilePart};
use super::{Replies, Response, Result, Url};

/// The statuses that name another address.
pub(super) const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// A request. Asking twice must do no harm: what fails is sent again.
#[derive(Clone)]
pub struct Request<'a> {
    pub(super) method: http::Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
    pub(super) replies: Option<&'a dyn Replies>,
    pub(super) wants_json: bool,
    pub(super) is_graphql: bool,
    pub(super) stays: bool,
    pub(super) takes: &'static [u16],
    /// Tries, in place of what the client's policy allows.
    pub(super) attempts: Option<u32>,
    pub(super) bounds: Option<(u64, Duration)>,
}

impl<'a> Request<'a> {
    /// Asks for a page.
    pub fn get(url: Url) -> Self {
        let (headers, body, replies) = (Vec::new(), Body::None, None);
        let method = http::Method::GET;
        Self {
            method,
            url,
            headers,
            body,
            replies,
            wants_json: false,
            is_graphql: false,
            stays: false,
            takes: &[],
            attempts: None,
            bounds: None,
        }
    }

    /// Sends what follows by `with_bytes` or `with_file`; without either, nothing.
    pub fn post(url: Url) -> Self {
        Self { method: http::Method::POST, body: Body::Bytes(Vec::new()), ..Self::get(url) }
    }

    /// As [`Self::post`], to a place that the address names.
    pub fn put(url: Url) -> Self {
        Self { method: http::Method::PUT, ..Self::post(url) }
    }

    /// As [`Self::post`], to go on with what was sent before.
    pub fn patch(url: Url) -> Self {
        Self { method: http::Method::PATCH, ..Self::post(url) }
    }

    /// Asks for something to be ended, such as a session.
    pub fn delete(url: Url) -> Self {
        Self { method: http::Method::DELETE, ..Self::get(url) }
    }

    /// Asks whether something is there, without its bytes.
    pub fn head(url: Url) -> Self {
        Self { method: http::Method::HEAD, ..Self::get(url) }
    }

    /// Sends a question as JSON.
    pub fn post_json(url: Url, body: &serde_json::Value) -> Self {
        Self { method: http::Method::POST, ..Self::get(url) }.with_json(body)
    }

    /// Sends a file as it is.
    pub fn post_file(url: Url, path: &Path) -> Self {
        Self::post(url).with_file(path, None).header("content-type", "application/octet-stream")
    }

    /// Adds a file as the body, or these of its bytes.
    pub fn with_file(mut self, path: &Path, range: Option<Range<u64>>) -> Self {
        self.body = Body::File(FilePart { path: path.to_owned(), range });
        self
    }

    /// Adds bytes as the body, and says what they are.
    pub fn with_bytes(mut self, bytes: Vec<u8>, content_type: &str) -> Self {
        self.body = Body::Bytes(bytes);
        self.header("content-type", content_type)
    }

    /// Has an answer with one of these statuses given back, where it would be a refusal or a failure.
    pub fn takes(mut self, statuses: &'static [u16]) -> Self {
        self.takes = statuses;
        self
    }

    /// Adds a body of JSON, whatever the method.
    pub fn with_json(mut self, body: &serde_json::Value) -> Self {
        self.body = Body::Bytes(body.to_string().into_bytes());
        self.header("content-type", "application/json")
    }

    /// Adds a header, which other origins see too when the server redirects there: no place for a token.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Has an answer that is no JSON taken for a failure, and asked again.
    pub fn json(mut self) -> Self {
        self.wants_json = true;
        self
    }

    /// Has a redirect to another origin refused, whatever is asked.
    pub fn stays(mut self) -> Self {
        self.stays = true;
        self
    }

    /// Has a redirect given back as the answer: the caller decides whether it goes [`Self::onwards`].
    pub fn halts(self) -> Self {
        self.takes(&REDIRECTS)
    }

    /// Returns the request that an answer's redirect leads to; nothing for an answer that is none.
    ///
    /// # Errors
    /// [`BadRedirect`](super::NetError::BadRedirect) for one that is not to be followed.
    pub fn onwards(&self, answer: &Response) -> Result<Option<Self>> {
        if !REDIRECTS.contains(&answer.status) {
            return Ok(None);
        }
        let location = answer.header("location").unwrap_or_default();
        follow(self, answer.status, &location).map(Some).map_err(|error| answer.told(error))
    }

    /// Has it sent once: what comes of a second time, the caller knows.
    pub fn once(mut self) -> Self {
        self.attempts = Some(1);
        self
    }

    /// Allows an answer of so many bytes, and a try so much time, in place of what the client's policy allows.
    pub fn bounded(mut self, max_bytes: u64, deadline: Duration) -> Self {
        self.bounds = Some((max_bytes, deadline));
        self
    }

    /// Asks only for what changed since the reply kept in `replies`, and keeps the new one there.
    pub fn conditional(mut self, replies: &'a dyn Replies) -> Self {
        self.replies = Some(replies);
        self
    }

    /// Returns the same request for another address.
    pub(super) fn at(&self, url: Url) -> Self {
        Self { url, ..self.clone() }
    }

    /// Returns what is asked for.
    pub fn url(&self) -> &Url {
        &self.url
    }
}
