//! Asking by REST: listings page by page, kept as they come, and single threads.

use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cursor::{from_time, later, time};
use super::error::{GithubError, Result};
use super::fetch::Fetch;
use super::journal::{Journal, LastReply};
use super::subject::Subject;
use super::wire::{Listed, Posted, WireComment, WireIssue, WireRepository};
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
            self.watch.keep(listing.entries.len() as u64);
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
        listing.newest = newest(&listing.entries);
        Ok(listing)
    }

    /// Reads a whole list page by page, however deep the server lists, and keeps nothing. Returns whether that came to the
    /// list's end: it does not where more entries changed at one time than the server lists, and then it warns.
    pub(super) fn every<E: Entry>(
        &self,
        question: &Question,
        repo: &str,
        mut take: impl FnMut(Vec<E>),
    ) -> Result<bool> {
        let (mut since, mut last) = (None, None);
        loop {
            let read = self.ordered(question, repo, since.as_deref()).and_then(|request| {
                for page in self.client.pages(request, &self.watch) {
                    let page = self.read_page(&page?, repo)?;
                    last = later(last.take(), newest(&page));
                    take(page);
                }
                Ok(())
            });
            match (read, &last) {
                (Err(error), Some(at)) if error.is_too_deep() => {
                    if last == since {
                        self.run.warn(format!(
                            "{repo}: {} cannot be listed beyond {at}, when more of them changed than the server lists \
                             ({error}): what was deleted or moved upstream is not taken out",
                            question.unit
                        ));
                        return Ok(false);
                    }
                    since.clone_from(&last);
                }
                (read, _) => return read.map(|()| true),
            }
        }
    }

    /// Asks for what changed since a time, in order of the last change.
    fn ordered<'q>(&self, question: &Question, repo: &str, since: Option<&str>) -> Result<Request<'q>> {
        let since = since.map_or_else(String::new, |since| format!("&since={since}"));
        let ordered = format!("sort=updated&direction=asc&per_page={PAGE}{since}");
        Ok(api_request(Url::parse(&format!("{}/repos/{repo}/{}{ordered}", self.api, question.path))?))
    }

    fn walk<E: Entry>(
        &self,
        question: &Question,
        repo: &str,
        since: Option<&str>,
        journal: &mut Journal<'_>,
        listing: &mut Listing<E>,
    ) -> Result<()> {
        let last_reply = LastReply::of(self.run.store, &self.listing_name(repo, question.unit));
        let request = self.ordered(question, repo, since)?;
        let request = if since.is_none() { request } else { request.conditional(&last_reply) };
        let before = listing.entries.len() as u64;
        let mut total = None;
        for response in self.client.pages(request, &self.watch) {
            let response = response?;
            let page: Vec<E> = self.read_page(&response, repo)?;
            journal.push(&page, newest(&page), None)?;
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
                let issue = response.json::<WireIssue>()?;
                let is_here = issue.repository().map_or(Ok(true), |name| self.is_named(repo, name))?;
                let listed = issue.listed(repo, self.subject);
                Ok(Some(listed).filter(|listed| is_here && listed.number == number))
            }
            Err(NetError::Refused { status: 404 | 410, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns whether a repository goes by a name. One that was renamed goes by another than the one it is asked for by,
    /// and what was moved out of it is answered by another, too: only the repository itself tells them apart.
    fn is_named(&self, repo: &str, name: &str) -> Result<bool> {
        if name.eq_ignore_ascii_case(repo) {
            return Ok(true);
        }
        let url = Url::parse(&format!("{}/repos/{repo}", self.api))?;
        let response = self.client.send(&api_request(url), &self.watch)?;
        self.check_origin(&response)?;
        Ok(response.json::<WireRepository>()?.full_name.eq_ignore_ascii_case(name))
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
}

impl<E> Listing<E> {
    /// Returns the newest change in this listing and in those before it.
    pub(super) fn up_to(&self, before: Option<&String>) -> Option<String> {
        later(before.cloned(), self.newest.clone())
    }
}

/// Returns the newest change in entries.
fn newest<E: Entry>(entries: &[E]) -> Option<String> {
    entries.iter().filter_map(E::updated_at).filter_map(time).max().map(from_time)
}

fn api_request<'a>(url: Url) -> Request<'a> {
    Request::get(url)
        .header("accept", "application/vnd.github+json")
        .header("x-github-api-version", "2022-11-28")
        .json()
}
