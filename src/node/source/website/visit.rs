//! One page from its site: politely, only when it changed, and kept as soon as it came.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use url::Url;

use super::browser::Browser;
use super::error::WebsiteError;
use super::robots::Robots;
use crate::net::{self, Cached, Client, NetError, Replies, Request, rest};
use crate::node::Run;
use crate::node::source::kept::Kept;
use crate::store::{Digest, Store};

/// Bytes of one page; the largest of real documentation have three million.
const LARGEST: usize = 4 << 20;

/// What came of asking for a page.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Visit {
    /// Where it was found, after redirects.
    pub(super) url: String,
    /// What there was.
    pub(super) found: Found,
    /// The server's name for it and the key of the question, to ask later whether it changed.
    reply: Option<(String, String)>,
}

/// What there was at an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Found {
    /// A page: its bytes in the store, and the header `content-type`.
    Page(Digest, String),
    /// Nothing that is a page, and why.
    Nothing(String),
}

/// All that asking for pages needs.
pub(super) struct Visitor<'a, 'r> {
    pub(super) run: &'a Run<'r>,
    pub(super) client: &'a Client,
    pub(super) kept: &'a Kept<'a>,
    pub(super) browser: Option<Browser>,
    /// The least pause between two requests.
    pub(super) delay: Duration,
    /// When the last request ended.
    pub(super) last: Cell<Option<Instant>>,
    /// The rules of each site, by its origin.
    pub(super) robots: RefCell<BTreeMap<String, Robots>>,
    /// Requests that were sent, and answers that nothing changed.
    pub(super) requests: Cell<u64>,
    pub(super) unchanged: Cell<u64>,
}

impl Visitor<'_, '_> {
    /// Returns whether the site lets programs read an address. Where its rules cannot be had nothing may be read.
    pub(super) fn may_read(&self, url: &Url) -> Result<bool, WebsiteError> {
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(self.rules(url)?.allows(&path))
    }

    /// Returns what came of a page: in this round, or by asking now.
    pub(super) fn visit(&self, key: &str, url: &Url) -> Result<Visit, WebsiteError> {
        if let Some(visit) = self.kept.of_this_round::<Visit>(key)
            && self.is_whole(&visit)
        {
            return Ok(visit);
        }
        let visit = self.ask(key, url)?;
        self.kept.keep(key, &visit)?;
        Ok(visit)
    }

    /// Returns the bytes of a page.
    pub(super) fn body(&self, page: &Digest) -> Result<Vec<u8>, WebsiteError> {
        Ok(self.run.store.get(page)?)
    }

    /// Sends a request when the site's pause is over, and goes where redirects lead: each of them is a request of its
    /// own, which the pause and the site's rules hold for.
    pub(super) fn send(&self, request: &Request<'_>) -> Result<net::Response, WebsiteError> {
        self.send_past_redirects(request, |url| {
            let forbidden = || WebsiteError::Robots { site: origin(url), url: net::shown(url.as_str()) };
            if self.may_read(url)? { Ok(()) } else { Err(forbidden()) }
        })
    }

    fn send_past_redirects(
        &self,
        request: &Request<'_>,
        check: impl Fn(&Url) -> Result<(), WebsiteError>,
    ) -> Result<net::Response, WebsiteError> {
        let mut at = request.clone().halts();
        let limit = self.client.policy().max_redirects;
        for _ in 0..=limit {
            let response = self.send_once(&at, &parsed(at.url())?)?;
            match at.onwards(&response)? {
                None => return Ok(response),
                Some(next) => {
                    check(&parsed(next.url())?)?;
                    at = next;
                }
            }
        }
        Err(NetError::TooManyRedirects { url: net::shown(&request.url().to_string()), limit }.into())
    }

    fn send_once(&self, request: &Request<'_>, url: &Url) -> Result<net::Response, WebsiteError> {
        let asked_for = self.robots.borrow().get(&origin(url)).and_then(|robots| robots.delay).unwrap_or_default();
        if let Some(last) = self.last.get() {
            rest(self.delay.max(asked_for).saturating_sub(last.elapsed()), self.run)?;
        }
        self.requests.set(self.requests.get() + 1);
        let response = self.client.send(request, self.run);
        self.last.set(Some(Instant::now()));
        Ok(response?)
    }

    /// Returns the rules of an address's site.
    fn rules(&self, url: &Url) -> Result<Robots, WebsiteError> {
        let origin = origin(url);
        if let Some(robots) = self.robots.borrow().get(&origin) {
            return Ok(robots.clone());
        }
        let address = net::Url::parse(&format!("{origin}/robots.txt"))?;
        // RFC 9309: rules may lie behind redirects, for which there are no rules.
        let robots = match self.send_past_redirects(&Request::get(address), |_| Ok(())) {
            Ok(response) => Robots::parse(&response.body),
            // No rules allow everything; rules that cannot be had forbid everything, so that ends the run.
            Err(WebsiteError::Net(NetError::Refused { .. } | NetError::TooManyRedirects { .. })) => Robots::default(),
            Err(error) => return Err(error),
        };
        self.robots.borrow_mut().insert(origin, robots.clone());
        Ok(robots)
    }

    fn ask(&self, key: &str, url: &Url) -> Result<Visit, WebsiteError> {
        let nothing = |why: String| Visit { url: url.to_string(), found: Found::Nothing(why), reply: None };
        let Ok(address) = net::Url::parse(url.as_str()) else { return Ok(nothing("an address of no use".into())) };
        let last = LastVisit { store: self.run.store, visit: self.kept.last(key), reply: RefCell::default() };
        let request = Request::get(address).header("accept", "text/html,application/xhtml+xml;q=0.9").stays();
        // What a script makes of a page may change while the page does not.
        let request = if self.browser.is_some() { request } else { request.conditional(&last) };
        let response = match self.send(&request) {
            Ok(response) => response,
            Err(WebsiteError::Robots { .. }) => return Ok(nothing("leads to what robots.txt forbids".into())),
            Err(WebsiteError::Net(error)) => return problem_of(error).map(nothing).map_err(WebsiteError::Net),
            Err(error) => return Err(error),
        };
        self.unchanged.set(self.unchanged.get() + u64::from(response.unchanged));
        let kind = response.header("content-type").or_else(|| last.kind()).unwrap_or_default();
        let found_at = response.url.to_string();
        if !is_html(&kind, &response.body) {
            let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            return Ok(Visit { url: found_at, ..nothing(format!("no HTML but `{kind}`")) });
        }
        if response.body.len() > LARGEST {
            return Ok(Visit { url: found_at, ..nothing("too large".into()) });
        }
        let (body, kind) = match &self.browser {
            Some(browser) => (browser.render(self.run, &found_at)?, "text/html; charset=utf-8".to_owned()),
            None => (response.body, kind),
        };
        let reply = last.reply.into_inner().or_else(|| last.visit.and_then(|visit| visit.reply));
        Ok(Visit { url: found_at, found: Found::Page(self.run.store.put(&body)?, kind), reply })
    }

    fn is_whole(&self, visit: &Visit) -> bool {
        match &visit.found {
            Found::Page(body, _) => self.run.store.has(body).unwrap_or_default(),
            Found::Nothing(_) => true,
        }
    }
}

/// Returns why an address holds no page; an error where it may hold one later.
fn problem_of(error: NetError) -> Result<String, NetError> {
    match error {
        NetError::Refused { status, .. } => Ok(format!("answered {status}")),
        NetError::TooLarge { .. } => Ok("too large".into()),
        NetError::BadRedirect { .. } => Ok("leads to another host".into()),
        NetError::TooManyRedirects { .. } => Ok("redirects without end".into()),
        NetError::BadUrl { .. } => Ok("an address of no use".into()),
        error => Err(error),
    }
}

fn is_html(kind: &str, body: &[u8]) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "text/html" | "application/xhtml+xml" => true,
        "" => body.trim_ascii_start().starts_with(b"<"),
        _ => false,
    }
}

/// Returns an address in the form that rules are held against: without dots and other detours in its path.
fn parsed(address: &net::Url) -> Result<Url, NetError> {
    let url = address.to_string();
    Url::parse(&url).map_err(|_| NetError::BadUrl { url: net::shown(&url), why: "it has a host that can be none" })
}

/// Returns scheme, host and port.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The reply of the last visit, by its `ETag` or time, and the one that comes now.
struct LastVisit<'a> {
    store: &'a Store,
    visit: Option<Visit>,
    reply: RefCell<Option<(String, String)>>,
}

impl LastVisit<'_> {
    fn kind(&self) -> Option<String> {
        match &self.visit.as_ref()?.found {
            Found::Page(_, kind) => Some(kind.clone()),
            Found::Nothing(_) => None,
        }
    }
}

/// A reply that cannot be read is asked for again, so errors of the store are none here.
impl Replies for LastVisit<'_> {
    fn get(&self, key: &str) -> Option<Cached> {
        let visit = self.visit.as_ref()?;
        let (_, name) = visit.reply.as_ref().filter(|(asked, _)| asked == key)?;
        let Found::Page(body, _) = &visit.found else { return None };
        Some(Cached { etag: name.clone(), link: None, body: self.store.get(body).ok()? })
    }

    fn put(&self, key: &str, reply: &Cached) {
        self.reply.replace(Some((key.to_owned(), reply.etag.clone())));
    }
}
