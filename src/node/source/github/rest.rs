//! Asking by REST: listings page by page, kept as they come, and single threads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cursor::{from_time, later, time};
use super::error::{GithubError, Result};
use super::fetch::Fetch;
use super::journal::{Journal, LastReply};
use super::subject::Subject;
use super::wire::{Listed, Posted, WireComment, WireIssue};
use crate::net::{NetError, Request, Response, Url};
use crate::node::source::access::{AN_HOUR, EXAMPLE};
use crate::record::Comment;

/// Entries that one page is asked for; GitHub gives no more.
pub(super) const PAGE: u64 = 100;

/// Fewer pages than this are no matter without a token.
const MANY_PAGES: u64 = 30;

/// One listing that is asked for what changed since a time.
pub(super) struct Question {
    /// What progress counts.
    pub(super) unit: &'static str,
    /// The listing's path below the repository.
    path: &'static str,
}

/// All threads: issues and pull requests.
pub(super) const THREADS: Question = Question { unit: "issues", path: "issues?state=all&" };
/// All comments of threads.
pub(super) const COMMENTS: Question = Question { unit: "comments", path: "issues/comments?" };
/// All comments of reviews.
pub(super) const REVIEWS: Question = Question { unit: "review comments", path: "pulls/comments?" };

/// An entry of a page.
pub(super) trait Entry: Serialize + DeserializeOwned {
    /// The form that GitHub sends.
    type Wire: DeserializeOwned;
    fn read(wire: Self::Wire, repo: &str, subject: Subject) -> Self;
    fn updated_at(&self) -> Option<&str>;
}

impl Entry for Listed {
    type Wire = WireIssue;

    fn read(wire: WireIssue, repo: &str, subject: Subject) -> Self {
        wire.listed(repo, subject)
    }

    fn updated_at(&self) -> Option<&str> {
        self.updated_at.as_deref()
    }
}

impl Entry for Posted {
    type Wire = WireComment;

    fn read(wire: WireComment, _repo: &str, _subject: Subject) -> Self {
        wire.posted()
    }

    fn updated_at(&self) -> Option<&str> {
        self.comment.updated_at.as_deref()
    }
}

/// A listing that was read to its end.
pub(super) struct Listing<E> {
    pub(super) entries: Vec<E>,
    /// The newest change in it.
    pub(super) newest: Option<String>,
    /// The server's time of day at the last page.
    pub(super) date: Option<SystemTime>,
}

impl Fetch<'_, '_> {
    /// Reads a listing to its end, from where an earlier try stopped.
    pub(super) fn listing<E: Entry>(&self, question: &Question, repo: &str, since: Option<&str>) -> Result<Listing<E>> {
        let mut journal = self.journal(repo, question.unit);
        let mut listing = Listing { entries: journal.entries()?, newest: None, date: None };
        if !listing.entries.is_empty() {
            self.run.note(format!(
                "{repo}: going on after {} {} of an earlier try",
                listing.entries.len(),
                question.unit
            ));
        }
        loop {
            let from = journal.last().or(since).map(str::to_owned);
            match self.walk(question, repo, from.as_deref(), &mut journal, &mut listing) {
                // Some servers list no deeper than so many pages: another question begins where this one ended.
                Err(error) if error.is_too_deep() && journal.last() > from.as_deref() => {}
                result => break result?,
            }
        }
        let newest = listing.entries.iter().filter_map(E::updated_at).filter_map(time).max();
        listing.newest = newest.map(from_time);
        Ok(listing)
    }

    fn walk<E: Entry>(
        &self,
        question: &Question,
        repo: &str,
        since: Option<&str>,
        journal: &mut Journal<'_>,
        listing: &mut Listing<E>,
    ) -> Result<()> {
        let since = since.map_or_else(String::new, |since| format!("&since={since}"));
        let ordered = format!("sort=updated&direction=asc&per_page={PAGE}{since}");
        let url = format!("{}/repos/{repo}/{}{ordered}", self.api, question.path);
        let last_reply = LastReply::of(self.run.store, &self.listing_name(repo, question.unit));
        let request = api_request(Url::parse(&url)?);
        let request = if since.is_empty() { request } else { request.conditional(&last_reply) };
        let before = listing.entries.len() as u64;
        let mut total = None;
        for response in self.client.pages(request, &self.watch) {
            let response = response?;
            let page: Vec<E> = self.read_page(&response, repo)?;
            let last = page.iter().filter_map(E::updated_at).filter_map(time).max().map(from_time);
            journal.push(&page, last, None)?;
            listing.entries.extend(page);
            listing.date = response.date.or(listing.date);
            if total.is_none()
                && let Some(pages) = response.last_page()
            {
                total = Some(before + pages * PAGE);
                self.say_what_a_token_changes(repo, question.unit, pages);
            }
            let done = listing.entries.len() as u64;
            self.watch.read(format!("{repo}: {}", question.unit), done, total);
        }
        let done = listing.entries.len() as u64;
        self.watch.read(format!("{repo}: {}", question.unit), done, Some(done));
        Ok(())
    }

    /// Says how long many pages take without a token, before the hours of waiting begin.
    fn say_what_a_token_changes(&self, repo: &str, unit: &str, pages: u64) {
        if !self.has_token && pages > MANY_PAGES {
            self.run.note(format!(
                "{repo}: {pages} requests for {unit}, about {} h without a token, at {AN_HOUR} an hour; a token \
                 (`token = \"{EXAMPLE}\"`) makes it minutes. What was read is kept when you stop",
                pages.div_ceil(AN_HOUR)
            ));
        }
    }

    /// Fetches one thread; nothing when it was deleted or moved to another repository meanwhile.
    pub(super) fn single(&self, repo: &str, number: u64) -> Result<Option<Listed>> {
        let url = Url::parse(&format!("{}/repos/{repo}/issues/{number}", self.api))?;
        match self.client.send(&api_request(url), &self.watch) {
            Ok(response) => {
                self.check_origin(&response)?;
                let listed = response.json::<WireIssue>()?.listed(repo, self.subject);
                Ok(Some(listed).filter(|listed| listed.number == number))
            }
            Err(NetError::Refused { status: 404 | 410, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Fetches all comments of one thread, or of its reviews; nothing when it was deleted meanwhile.
    pub(super) fn comments_of(&self, repo: &str, list: &str, number: u64) -> Result<Option<Vec<Comment>>> {
        let url = Url::parse(&format!("{}/repos/{repo}/{list}/{number}/comments?per_page={PAGE}", self.api))?;
        let mut comments = Vec::new();
        for page in self.client.pages(api_request(url), &self.watch) {
            match page {
                Ok(page) => {
                    let posted: Vec<Posted> = self.read_page(&page, repo)?;
                    comments.extend(posted.into_iter().map(|posted| posted.comment));
                }
                Err(NetError::Refused { status: 404 | 410, .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(comments))
    }

    /// Lists the ids of all comments of reviews that are there.
    pub(super) fn all_reviews(&self, repo: &str) -> Result<BTreeSet<u64>> {
        let order = format!("sort=created&direction=asc&per_page={PAGE}");
        let url = Url::parse(&format!("{}/repos/{repo}/pulls/comments?{order}", self.api))?;
        let mut there = BTreeSet::new();
        for page in self.client.pages(api_request(url), &self.watch) {
            there.extend(self.read_page::<Posted>(&page?, repo)?.into_iter().map(|posted| posted.id));
            self.watch.read(format!("{repo}: sweep of reviews"), there.len() as u64, None);
        }
        Ok(there)
    }

    /// Returns whether a comment of a review is still there.
    pub(super) fn is_review_there(&self, repo: &str, id: u64) -> Result<bool> {
        let url = Url::parse(&format!("{}/repos/{repo}/pulls/comments/{id}", self.api))?;
        match self.client.send(&api_request(url), &self.watch) {
            Ok(_) => Ok(true),
            Err(NetError::Refused { status: 404 | 410, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn read_page<E: Entry>(&self, page: &Response, repo: &str) -> Result<Vec<E>> {
        self.check_origin(page)?;
        Ok(page.json::<Vec<E::Wire>>()?.into_iter().map(|wire| E::read(wire, repo, self.subject)).collect())
    }

    /// Refuses an answer that a redirect to another host brought.
    fn check_origin(&self, response: &Response) -> Result<()> {
        let (asked, origin) = (Url::parse(&self.api)?.origin(), response.url.origin());
        if asked == origin { Ok(()) } else { Err(GithubError::Elsewhere { asked, origin }) }
    }

    /// Lists all threads that are there: numbers of the subject, each with its number of comments.
    pub(super) fn all_by_rest(&self, repo: &str) -> Result<BTreeMap<u64, u64>> {
        let order = format!("sort=created&direction=asc&per_page={PAGE}");
        let url = Url::parse(&format!("{}/repos/{repo}/issues?state=all&{order}", self.api))?;
        let mut seen = BTreeMap::new();
        for page in self.client.pages(api_request(url), &self.watch) {
            let listed: Vec<Listed> = self.read_page(&page?, repo)?;
            seen.extend(listed.iter().filter(|it| it.thread.is_some()).map(|it| (it.number, it.comments)));
            self.watch.read(format!("{repo}: sweep"), seen.len() as u64, None);
        }
        Ok(seen)
    }
}

impl<E> Listing<E> {
    /// Returns the newest change in this listing and in those before it.
    pub(super) fn up_to(&self, before: Option<&String>) -> Option<String> {
        later(before.cloned(), self.newest.clone())
    }
}

fn api_request<'a>(url: Url) -> Request<'a> {
    Request::get(url)
        .header("accept", "application/vnd.github+json")
        .header("x-github-api-version", "2022-11-28")
        .json()
}
