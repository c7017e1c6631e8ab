//! Sending a request until there is an answer: tries, waits, redirects, conditional requests.

use std::time::{Duration, SystemTime};

use serde::de::{DeserializeOwned, IgnoredAny};
use ureq::http::HeaderMap;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, http};

use super::exchange::{Body, Reply, exchange};
use super::forward::Forward;
use super::policy::{Verdict, date, judge};
use super::secret::Credential;
use super::shown::short;
use super::tries::{Tries, broken_off, clock};
use super::{Cached, NetError, Network, Pages, Policy, Request, Result, Secret, Url, cached, graphql};

/// What a caller is asked and told while a request goes on.
pub trait Watch {
    /// Returns whether the request should stop.
    fn is_cancelled(&self) -> bool;
    /// Takes that the request pauses, and why: one phrase that names the host.
    fn waits(&self, wait: Duration, why: &str);
    /// Takes that something is sent; each try and each redirect counts.
    fn asks(&self) {}
    /// Takes how many bytes of a file are sent; a new try begins anew.
    fn sends(&self, bytes: u64) {
        let _ = bytes;
    }
}

/// A whole answer: with a status of 200 to 299, or with one that the request takes.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Where it came from, after redirects.
    pub url: Url,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the server said that it is what the caller kept.
    pub unchanged: bool,
    /// The server's time of day.
    pub date: Option<SystemTime>,
    pub(super) link: Option<String>,
    headers: HeaderMap,
    /// What no message about this may hold.
    credential: Option<Credential>,
}

/// Sends requests, with one token for one origin.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    policy: Policy,
    network: Network,
    token: Option<(String, Credential)>,
}

impl Response {
    /// Returns a header of the reply; several of one name as one list. An unchanged reply has those of the answer that
    /// said so.
    pub fn header(&self, name: &str) -> Option<String> {
        joined(&self.headers, name)
    }

    /// Returns an error about this as it may be told.
    pub(super) fn told(&self, error: NetError) -> NetError {
        error.told(|text| masked(self.credential.as_ref(), text))
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// [`NetError::NotJson`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let mask = |text: &str| masked(self.credential.as_ref(), text);
        serde_json::from_slice(&self.body).map_err(|cause| {
            let (url, excerpt) = (self.url.to_string(), excerpt(&self.body, mask));
            NetError::NotJson { url, excerpt, cause }.told(mask)
        })
    }
}

/// What became of a request at one address.
enum Step {
    Answer(Box<Response>),
    Redirect(u16, String),
}

impl Client {
    /// Makes a client without a token, on this process' way to the network.
    pub fn new(policy: Policy) -> Self {
        Self::on(Network::of_process(), policy)
    }

    /// Makes a client without a token.
    pub fn on(network: Network, policy: Policy) -> Self {
        // Who allows one try more than all of them means the one.
        let policy = Policy { total: policy.total.max(policy.deadline), ..policy };
        let config = Agent::config_builder()
            .user_agent(concat!("tunesmith/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(policy.deadline))
            .timeout_connect(Some(policy.connect))
            .proxy(None)
            .tls_config(network.tls())
            .build();
        let agent = Agent::with_parts(config.clone(), Forward::new(config), DefaultResolver::default());
        Self { agent, policy, network, token: None }
    }

    /// Sends `token` with every request to the origin of `base`, and to no other.
    pub fn with_token(mut self, base: &Url, token: Secret) -> Self {
        self.token = Some((base.origin(), Credential::bearer(token)));
        self
    }

    /// Sends a name and its password with every request to the origin of `base`, and to no other.
    pub fn with_login(mut self, base: &Url, name: &str, password: Secret) -> Self {
        self.token = Some((base.origin(), Credential::basic(name, password)));
        self
    }

    /// Returns the bounds that requests keep.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Sends a request until there is an answer.
    ///
    /// # Errors
    /// A refusal, a failure that lasts, a limit that lasts too long, an answer that is too large or, where that was
    /// asked for, no JSON; [`NetError::Cancelled`].
    pub fn send(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Response> {
        self.send_to_the_end(request, watch).map_err(|error| self.told(error))
    }

    fn send_to_the_end(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Response> {
        let mut at = request.clone();
        let mut tries = Tries::new();
        for _ in 0..=self.policy.max_redirects {
            match self.send_once(&at, &mut tries, watch)? {
                Step::Answer(response) => return Ok(*response),
                Step::Redirect(status, location) => at = follow(&at, status, &location)?,
            }
        }
        Err(NetError::TooManyRedirects { url: request.url.to_string(), limit: self.policy.max_redirects })
    }

    /// Walks a listing from its first page by `Link: rel="next"` alone.
    pub fn pages<'a>(&'a self, request: Request<'a>, watch: &'a dyn Watch) -> Pages<'a> {
        Pages::new(self, request, watch)
    }

    /// Sends a request to one address, with all its tries and waits.
    fn send_once(&self, request: &Request<'_>, tries: &mut Tries, watch: &dyn Watch) -> Result<Step> {
        let credential = self.token_for(&request.url);
        let token = credential.map(Credential::secret);
        let key = cached::key(&request.url, token);
        let kept = request.replies.and_then(|replies| replies.get(&key));
        loop {
            let policy = self.policy_of(request, tries);
            let message = self.message(request, &policy, credential, kept.as_ref())?;
            watch.asks();
            let reply = match exchange(&self.agent, message, &policy, watch) {
                Ok(reply) => reply,
                Err(broken) => {
                    let error = |attempts| broken_off(request, &policy, attempts, broken);
                    tries.again(&policy, request, None, watch, error)?;
                    continue;
                }
            };
            let excerpt = excerpt(&reply.body, |text| self.masked(text));
            let url = request.url.to_string();
            let verdict = match judge(reply.status, &reply.headers, &reply.body, clock()) {
                _ if request.takes.contains(&reply.status) => Verdict::Accept,
                Verdict::Accept if request.is_graphql => graphql::judge(&reply.headers, &reply.body, clock()),
                verdict => verdict,
            };
            match verdict {
                Verdict::Accept => match unreadable(request, &reply) {
                    None => return Ok(Step::Answer(Box::new(self.answer(request, &key, reply)))),
                    Some(cause) => {
                        tries.again(&policy, request, None, watch, |_| NetError::NotJson { url, excerpt, cause })?;
                    }
                },
                Verdict::NotModified => {
                    let kept = kept.ok_or(NetError::UnaskedNotModified { url })?;
                    let (url, date, headers) = (request.url.clone(), date(&reply.headers, "date"), reply.headers);
                    let (body, link) = (kept.body, kept.link);
                    return Ok(Step::Answer(Box::new(Response {
                        status: 304,
                        url,
                        body,
                        unchanged: true,
                        date,
                        link,
                        headers,
                        credential: self.credential().cloned(),
                    })));
                }
                Verdict::Redirect => {
                    let location = joined(&reply.headers, "location").unwrap_or_default();
                    return Ok(Step::Redirect(reply.status, location));
                }
                Verdict::Failed(pause) => {
                    let status = reply.status;
                    let error = |attempts| NetError::Server { url, status, attempts, excerpt };
                    tries.again(&policy, request, pause, watch, error)?;
                }
                Verdict::Limited(wait) => tries.wait_for_limit(&self.policy, request, wait, watch)?,
                Verdict::Refuse => return Err(NetError::Refused { url, status: reply.status, excerpt }),
            }
        }
    }

    pub(super) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Makes the message of a download, which may take as long as bytes keep coming.
    pub(super) fn download_message(&self, request: &Request<'_>) -> Result<http::Request<Body>> {
        let message = plain_message(request, self.token_for(&request.url), None)?;
        let proxy = self.network.proxy(&request.url)?;
        let message = self.agent.configure_request(message).proxy(proxy).timeout_global(None);
        let message = message.timeout_recv_response(Some(self.policy.deadline)).build();
        Ok(message.map(|()| request.body.clone()))
    }

    /// Returns an error as it may be told: with this client's token at no place, whoever said it.
    pub(super) fn told(&self, error: NetError) -> NetError {
        error.told(|text| self.masked(text))
    }

    /// Masks this client's token, which a server may say back in any form and another one may hear of.
    pub(super) fn masked(&self, text: &str) -> String {
        masked(self.credential(), text)
    }

    fn credential(&self) -> Option<&Credential> {
        self.token.as_ref().map(|(_, credential)| credential)
    }

    /// Makes the answer of a reply, and keeps it where the server gave it a name.
    fn answer(&self, request: &Request<'_>, key: &str, reply: Reply) -> Response {
        let link = joined(&reply.headers, "link");
        let name = joined(&reply.headers, "etag").or_else(|| joined(&reply.headers, "last-modified"));
        // A token that a server says back in a link would lie on the disk.
        let may_be_kept = link.as_deref().is_none_or(|link| self.masked(link) == link);
        if let (Some(replies), Some(etag), 200, true) = (request.replies, name, reply.status, may_be_kept) {
            replies.put(key, &Cached { etag, link: link.clone(), body: reply.body.clone() });
        }
        Response {
            status: reply.status,
            url: request.url.clone(),
            date: date(&reply.headers, "date"),
            body: reply.body,
            unchanged: false,
            link,
            headers: reply.headers,
            credential: self.credential().cloned(),
        }
    }

    fn token_for(&self, url: &Url) -> Option<&Credential> {
        self.token.as_ref().filter(|(origin, _)| *origin == url.origin()).map(|(_, token)| token)
    }

    /// Makes the HTTP message of a try.
    fn message(
        &self,
        request: &Request<'_>,
        policy: &Policy,
        token: Option<&Credential>,
        kept: Option<&Cached>,
    ) -> Result<http::Request<Body>> {
        let message = plain_message(request, token, kept)?;
        let proxy = self.network.proxy(&request.url)?;
        // A file takes as long as it takes while its bytes move: `exchange` looks at that.
        let limit = Some(policy.deadline).filter(|_| !matches!(request.body, Body::File(_)));
        let message = self.agent.configure_request(message).proxy(proxy).timeout_global(limit).build();
        Ok(message.map(|()| request.body.clone()))
    }

    /// Returns the bounds of a request's next try: its own ones, and no more time than is left to it.
    fn policy_of(&self, request: &Request<'_>, tries: &Tries) -> Policy {
        let mut policy = self.policy.clone();
        if let Some((max_bytes, deadline)) = request.bounds {
            policy = Policy { max_bytes, deadline, total: policy.total.max(deadline), ..policy };
        }
        policy.attempts = request.attempts.unwrap_or(policy.attempts);
        let left = policy.total.saturating_sub(tries.spent());
        Policy { deadline: policy.deadline.min(left), ..policy }
    }
}

/// Returns the request for the address that a redirect names.
pub(super) fn follow<'a>(request: &Request<'a>, status: u16, location: &str) -> Result<Request<'a>> {
    let bad = |why| NetError::BadRedirect { from: request.url.to_string(), to: location.to_owned(), why };
    if location.is_empty() {
        return Err(bad("it names no address"));
    }
    let url = request.url.join(location).map_err(|_| bad("that is no address"))?;
    if url.is_plain() && !request.url.is_plain() {
        return Err(bad("it leaves encryption"));
    }
    if request.stays && url.origin() != request.url.origin() {
        return Err(bad("that is another host"));
    }
    if !matches!(request.body, Body::None) && (url.origin() != request.url.origin() || !matches!(status, 307 | 308)) {
        return Err(bad("what was sent would go elsewhere"));
    }
    Ok(request.at(url))
}

/// Returns why the body is not the JSON that was asked for.
fn unreadable(request: &Request<'_>, reply: &Reply) -> Option<serde_json::Error> {
    let is_answer = (200..300).contains(&reply.status);
    if request.wants_json && is_answer { serde_json::from_slice::<IgnoredAny>(&reply.body).err() } else { None }
}

/// Returns all values of a header as one list.
pub(super) fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    if values.is_empty() { None } else { Some(values.join(", ")) }
}

/// Makes the HTTP message without bounds and without its body.
fn plain_message(
    request: &Request<'_>,
    token: Option<&Credential>,
    kept: Option<&Cached>,
) -> Result<http::Request<()>> {
    let mut message = http::Request::builder().method(request.method.clone()).uri(request.url.to_string());
    for (name, value) in &request.headers {
        message = message.header(*name, value);
    }
    if let Some(token) = token {
        message = message.header("authorization", token.header());
    }
    if let Some(kept) = kept {
        message = message.header(cached::condition(&kept.etag), &kept.etag);
    }
    message.body(()).map_err(|_| NetError::BadUrl { url: request.url.to_string(), why: "a header does not fit" })
}

fn masked(credential: Option<&Credential>, text: &str) -> String {
    credential.map_or_else(|| text.to_owned(), |credential| credential.masked(text))
}

/// Returns how a body begins, in one quoted line and through `mask`; GitHub's own message where there is one.
pub(super) fn excerpt(body: &[u8], mask: impl Fn(&str) -> String) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        #[serde(alias = "error")]
        message: String,
    }
    let text = match serde_json::from_slice::<Message>(body) {
        Ok(told) => told.message,
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(4096)]).into_owned(),
    };
    format!("{:?}", short(&mask(&text).split_whitespace().collect::<Vec<_>>().join(" ")))
}
