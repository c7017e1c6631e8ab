//! The way from a repository's name to its changed issues.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::GithubIssuesError;
use super::journal::{Journal, LastReply};
use super::wire::{Listed, Posted, WireComment, WireIssue, thread_id};
use crate::net::{Client, NetError, Request, Response, Url, Watch};
use crate::node::Run;
use crate::record::{Comment, Record, RecordSet, Thread};
use crate::store::Digest;

/// How far a question reaches back before the newest known change: GitHub's lists may lag behind its pages.
const OVERLAP: Duration = Duration::from_mins(1);

type Result<T> = std::result::Result<T, GithubIssuesError>;

/// What a fetch brought, over all repositories.
#[derive(Default)]
pub(super) struct Changes {
    /// New and changed issues, whole, by id.
    pub(super) threads: BTreeMap<String, Thread>,
    /// Comments on issues that were read, known ones among them.
    pub(super) comments: u64,
    /// Pull requests in the lists.
    pub(super) pulls: u64,
}

/// All that fetching needs.
pub(super) struct Fetch<'a, 'r> {
    pub(super) run: &'a Run<'r>,
    pub(super) client: &'a Client,
    pub(super) watch: &'a dyn Watch,
    /// Base address, without a slash at its end.
    pub(super) api: &'a str,
    /// The last snapshot, with its digest.
    pub(super) previous: Option<(Digest, RecordSet<'a>)>,
}

/// One listing: an entry of a page, and when it changed.
trait Entry: Serialize + DeserializeOwned {
    /// The form that GitHub sends.
    type Wire: DeserializeOwned;
    /// What progress counts.
    const UNIT: &'static str;
    /// The listing's path below the repository.
    const PATH: &'static str;
    fn read(wire: Self::Wire, repo: &str) -> Self;
    fn updated_at(&self) -> Option<&str>;
}

impl Entry for Listed {
    type Wire = WireIssue;
    const UNIT: &'static str = "issues";
    const PATH: &'static str = "issues?state=all&";

    fn read(wire: WireIssue, repo: &str) -> Self {
        wire.listed(repo)
    }

    fn updated_at(&self) -> Option<&str> {
        self.updated_at.as_deref()
    }
}

impl Entry for Posted {
    type Wire = WireComment;
    const UNIT: &'static str = "comments";
    const PATH: &'static str = "issues/comments?";

    fn read(wire: WireComment, _repo: &str) -> Self {
        wire.posted()
    }

    fn updated_at(&self) -> Option<&str> {
        self.comment.updated_at.as_deref()
    }
}

impl Fetch<'_, '_> {
    /// Fetches what is new in a repository.
    ///
    /// Both lists are asked for what changed since the newest *issue* of the last snapshot: its comments were listed
    /// after its issues, so it lacks none that was there by then. A comment's own time would skip those of an issue
    /// that was opened between the two lists.
    pub(super) fn repository(&self, repo: &str, changes: &mut Changes) -> Result<()> {
        let since = self.newest(repo)?;
        let listed: Vec<Listed> = self.listing(repo, since.as_deref())?;
        let posted: Vec<Posted> = self.listing(repo, since.as_deref())?;
        changes.comments += posted.iter().filter(|posted| !posted.on_pull).count() as u64;
        let mut join =
            Join { fetch: self, repo, threads: BTreeMap::new(), pulls: BTreeSet::new(), counts: BTreeMap::new() };
        for entry in listed {
            join.add_issue(entry)?;
        }
        changes.pulls += join.pulls.len() as u64;
        for comment in posted {
            join.add_comment(comment)?;
        }
        join.complete_comments()?;
        for thread in join.threads.into_values() {
            if self.known(repo, thread.number)?.as_ref() != Some(&thread) {
                changes.threads.insert(thread.id.clone(), thread);
            }
        }
        Ok(())
    }

    /// Forgets the pages of a fetch that came to its end.
    pub(super) fn forget_progress(&self, repos: &[String]) -> Result<()> {
        for repo in repos {
            self.journal::<Listed>(repo).forget()?;
            self.journal::<Posted>(repo).forget()?;
        }
        Ok(())
    }

    /// Returns from when on to ask a repository; nothing when all of it is new.
    fn newest(&self, repo: &str) -> Result<Option<String>> {
        let Some((_, previous)) = &self.previous else { return Ok(None) };
        let mut newest = None;
        for record in previous.records() {
            if let Record::Issue(thread) = record?
                && thread.repo == repo
            {
                newest = newest.max(thread.updated_at.as_deref().and_then(time));
            }
        }
        Ok(newest.and_then(|newest| newest.checked_sub(OVERLAP)).map(from_time))
    }

    /// Reads a listing to its end, from where an earlier try stopped.
    fn listing<E: Entry>(&self, repo: &str, since: Option<&str>) -> Result<Vec<E>> {
        let mut journal = self.journal::<E>(repo);
        let mut entries: Vec<E> = journal.entries()?;
        if !entries.is_empty() {
            self.run.note(format!("{repo}: going on after {} {} of an earlier try", entries.len(), E::UNIT));
        }
        let since = journal.last().or(since).map(str::to_owned);
        let since = since.map_or_else(String::new, |since| format!("&since={since}"));
        let url = format!("{}/repos/{repo}/{}sort=updated&direction=asc&per_page=100{since}", self.api, E::PATH);
        let last_reply = LastReply::of(self.run.store, &self.listing_name::<E>(repo));
        let request = api_request(Url::parse(&url)?);
        let request = if since.is_empty() { request } else { request.conditional(&last_reply) };
        for page in self.client.pages(request, self.watch) {
            let page: Vec<E> = read_page(repo, &page?)?;
            let last = page.iter().filter_map(|entry| entry.updated_at()).filter_map(time).max().map(from_time);
            journal.push(&page, last)?;
            entries.extend(page);
            self.run.progress(entries.len() as u64, None, E::UNIT, repo);
        }
        Ok(entries)
    }

    fn journal<E: Entry>(&self, repo: &str) -> Journal<'_> {
        let base = self.previous.as_ref().map(|(root, _)| *root);
        Journal::open(self.run.store, &self.listing_name::<E>(repo), base)
    }

    /// Returns a name for what is kept of a listing: another node, or another server, keeps its own.
    fn listing_name<E: Entry>(&self, repo: &str) -> String {
        let parts = [self.run.job.node.as_str(), self.api, repo, E::UNIT].join("\n");
        Digest::of(parts.as_bytes()).to_string()
    }

    /// Returns an issue of the last snapshot.
    fn known(&self, repo: &str, number: u64) -> Result<Option<Thread>> {
        let Some((_, previous)) = &self.previous else { return Ok(None) };
        Ok(match previous.get(&thread_id(repo, number))? {
            Some(Record::Issue(thread)) => Some(thread),
            _ => None,
        })
    }

    /// Fetches one issue; nothing when it was deleted or moved to another repository meanwhile.
    fn issue(&self, repo: &str, number: u64) -> Result<Option<Listed>> {
        let url = Url::parse(&format!("{}/repos/{repo}/issues/{number}", self.api))?;
        match self.client.send(&api_request(url), self.watch) {
            Ok(response) => {
                Ok(Some(response.json::<WireIssue>()?.listed(repo)).filter(|listed| listed.number == number))
            }
            Err(NetError::Refused { status: 404 | 410, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Fetches all comments of one issue; nothing when it was deleted meanwhile.
    fn comments(&self, repo: &str, number: u64) -> Result<Option<Vec<Comment>>> {
        let url = Url::parse(&format!("{}/repos/{repo}/issues/{number}/comments?per_page=100", self.api))?;
        let mut comments = Vec::new();
        for page in self.client.pages(api_request(url), self.watch) {
            match page {
                Ok(page) => comments.extend(read_page::<Posted>(repo, &page)?.into_iter().map(|posted| posted.comment)),
                Err(NetError::Refused { status: 404 | 410, .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(comments))
    }
}

/// Issues and comments of one repository on their way to each other.
struct Join<'a, 'f, 'r> {
    fetch: &'a Fetch<'f, 'r>,
    repo: &'a str,
    threads: BTreeMap<u64, Thread>,
    pulls: BTreeSet<u64>,
    /// How many comments GitHub counts, for the issues of this fetch.
    counts: BTreeMap<u64, u64>,
}

impl Join<'_, '_, '_> {
    /// Takes a listed issue, with the comments that are known already.
    fn add_issue(&mut self, listed: Listed) -> Result<()> {
        let Some(mut thread) = listed.thread else {
            self.pulls.insert(listed.number);
            return Ok(());
        };
        let earlier = match self.threads.remove(&listed.number) {
            Some(earlier) => Some(earlier),
            None => self.fetch.known(self.repo, listed.number)?,
        };
        thread.comments = earlier.map(|earlier| earlier.comments).unwrap_or_default();
        self.counts.insert(listed.number, listed.comments);
        self.threads.insert(listed.number, thread);
        Ok(())
    }

    /// Takes a comment, in the place of its earlier version where there is one.
    fn add_comment(&mut self, posted: Posted) -> Result<()> {
        let number = posted.number().ok_or_else(|| GithubIssuesError::NoIssue {
            repo: self.repo.to_owned(),
            comment: posted.id,
            issue_url: posted.issue_url.clone(),
        })?;
        if posted.on_pull || self.pulls.contains(&number) {
            return Ok(());
        }
        if !self.threads.contains_key(&number) && !self.find(number)? {
            return Ok(());
        }
        if let Some(thread) = self.threads.get_mut(&number) {
            thread.comments.retain(|comment| comment.id != posted.comment.id);
            thread.comments.push(posted.comment);
            in_order(&mut thread.comments);
        }
        Ok(())
    }

    /// Finds an issue that the list did not name: in the last snapshot, or, for one that was opened after the list was
    /// read, upstream.
    fn find(&mut self, number: u64) -> Result<bool> {
        if let Some(thread) = self.fetch.known(self.repo, number)? {
            self.threads.insert(number, thread);
            return Ok(true);
        }
        match self.fetch.issue(self.repo, number)? {
            Some(listed) => self.add_issue(listed)?,
            // Deleted, or somewhere else: its further comments must not ask again.
            None => drop(self.pulls.insert(number)),
        }
        Ok(self.threads.contains_key(&number))
    }

    /// Fetches the comments of each issue whose number of comments is not the one that GitHub counts: some were
    /// deleted, or the list lacks some.
    fn complete_comments(&mut self) -> Result<()> {
        for (number, count) in &self.counts {
            let Some(thread) = self.threads.get_mut(number) else { continue };
            if thread.comments.len() as u64 == *count {
                continue;
            }
            self.fetch.run.check_cancelled().map_err(|_| NetError::Cancelled)?;
            if let Some(comments) = self.fetch.comments(self.repo, *number)? {
                thread.comments = comments;
                in_order(&mut thread.comments);
            }
        }
        Ok(())
    }
}

fn in_order(comments: &mut [Comment]) {
    comments.sort_by(|a, b| (&a.created_at, a.id).cmp(&(&b.created_at, b.id)));
}

fn read_page<E: Entry>(repo: &str, page: &Response) -> Result<Vec<E>> {
    Ok(page.json::<Vec<E::Wire>>()?.into_iter().map(|wire| E::read(wire, repo)).collect())
}

fn api_request<'a>(url: Url) -> Request<'a> {
    Request::get(url)
        .header("accept", "application/vnd.github+json")
        .header("x-github-api-version", "2022-11-28")
        .json()
}

/// Reads GitHub's form of a time; another form is as good as none.
fn time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

fn from_time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
