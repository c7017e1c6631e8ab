//! Asking by GraphQL: whole threads in batches, their further comments by a second cursor.
//!
//! A batch that is too much for the server, by a timeout or by an answer with gaps, is asked again at half the size. What
//! comes with an error in it is never taken for whole.

use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cursor::{from_time, time};
use super::error::{GithubError, Result};
use super::fetch::Fetch;
use super::join::in_order;
use super::nodes::{CommentNode, Connection, Node};
use super::queries;
use super::subject::Subject;
use crate::net::{Request, Url};
use crate::record::{Comment, Thread};

/// Threads of a batch: 5,000 nodes with a hundred comments each, well below GraphQL's ten seconds.
pub(super) const BATCH: u64 = 50;
/// After so many good batches of a lesser size a greater one is tried: the server may just have been busy.
const GOOD_BATCHES: u32 = 8;

/// All threads of a repository that were read.
pub(super) struct Walked {
    pub(super) threads: Vec<Thread>,
    /// The newest change in them.
    pub(super) newest: Option<String>,
    /// The newest change that there was before the first batch of a first fetch.
    pub(super) begun: Option<String>,
    /// The server's time of day at the last batch.
    pub(super) date: Option<SystemTime>,
}

/// How much there is.
#[derive(Debug)]
pub(super) struct Totals {
    /// Of the subject.
    pub(super) threads: u64,
    /// Pull requests, which stand in the lists of REST.
    pub(super) pulls: u64,
    /// The newest change.
    pub(super) newest: Option<String>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Answer<T> {
    data: Option<Data<T>>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Data<T> {
    repository: Option<T>,
}

#[derive(Deserialize)]
struct Problems {
    #[serde(default)]
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: String,
    /// Where the schema does not have what was asked for.
    extensions: Option<Value>,
}

#[derive(Deserialize)]
struct OfThreads {
    threads: Connection<Node>,
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct One<T> {
    thread: Option<T>,
}

#[derive(Deserialize)]
struct Comments {
    comments: Connection<CommentNode>,
}

#[derive(Deserialize)]
struct OfTotals {
    threads: Connection<Value>,
    pulls: Connection<Value>,
    newest: Connection<Changed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    updated_at: Option<String>,
}

impl Fetch<'_, '_> {
    /// Asks how much there is.
    pub(super) fn totals(&self, repo: &str) -> Result<Totals> {
        let (totals, _): (OfTotals, _) = self.ask(repo, &queries::totals(self.subject), json!({}))?;
        Ok(Totals {
            threads: totals.threads.total_count.unwrap_or_default(),
            pulls: totals.pulls.total_count.unwrap_or_default(),
            newest: totals.newest.entries().next().and_then(|newest| newest.updated_at),
        })
    }

    /// Reads all threads that changed since a time, whole, from where an earlier try stopped.
    pub(super) fn threads(&self, repo: &str, since: Option<&str>, total: Option<u64>) -> Result<Walked> {
        let unit = self.subject.plural();
        let mut journal = self.journal(repo, self.whole_unit());
        let mut threads: Vec<Thread> = journal.entries()?;
        if !threads.is_empty() {
            self.watch.keep(threads.len() as u64);
            self.run.note(format!("{repo}: going on after {} {unit} of an earlier try", threads.len()));
        }
        let is_newest_first = self.is_newest_first(since);
        let query = queries::threads(self.subject, is_newest_first);
        let (mut size, mut date) = (Size::default(), None);
        loop {
            let (batch, at) = self.batch(repo, &query, journal.after(), since, &mut size)?;
            let (next, end) = (batch.next(), batch.end().or(journal.after().map(str::to_owned)));
            check_way(repo, journal.after(), next.as_deref())?;
            let mut page = Vec::new();
            for node in batch.entries() {
                page.push(self.whole(repo, node)?);
            }
            let times = page.iter().filter_map(|thread| thread.updated_at.as_deref().and_then(time));
            let (newest, oldest) = (times.clone().max(), times.min());
            journal.push(&page, newest.map(from_time), end)?;
            threads.extend(page);
            date = at.or(date);
            self.watch.read(format!("{repo}: {unit}"), threads.len() as u64, total);
            let is_past = is_newest_first && oldest < since.and_then(time);
            if next.is_none() || is_past {
                break;
            }
        }
        let newest = threads.iter().filter_map(|thread| thread.updated_at.as_deref().and_then(time)).max();
        Ok(Walked { threads, newest: newest.map(from_time), begun: journal.begun().map(str::to_owned), date })
    }

    /// Asks for the next batch, for a smaller one where that is too much.
    fn batch(
        &self,
        repo: &str,
        query: &str,
        after: Option<&str>,
        since: Option<&str>,
        size: &mut Size,
    ) -> Result<(Connection<Node>, Option<SystemTime>)> {
        loop {
            let variables = json!({"first": size.now, "after": after, "since": since});
            let error = match self.ask::<OfThreads>(repo, query, variables) {
                Ok((OfThreads { threads }, date)) if !threads.has_gap() => {
                    size.grow();
                    return Ok((threads, date));
                }
                Ok(_) => gap(repo),
                Err(error) => error,
            };
            if !error.is_too_much() || size.now == 1 {
                return Err(error);
            }
            size.halve();
        }
    }

    /// Returns whether a list must be read from its newest end: discussions cannot be asked for by time.
    fn is_newest_first(&self, since: Option<&str>) -> bool {
        self.subject == Subject::Discussions && since.is_some()
    }

    /// Makes a thread with all its comments, those that did not fit into the batch among them.
    fn whole(&self, repo: &str, mut node: Node) -> Result<Thread> {
        let number = node.number;
        let mut comments = Vec::new();
        let (mut page, mut after) = (node.comments.take(), None);
        while let Some(list) = page {
            let next = checked_next(repo, &list, after.as_deref())?;
            for comment in list.entries() {
                self.add_with_replies(repo, number, comment, &mut comments)?;
            }
            after = next;
            page = after.as_deref().map(|after| self.more_comments(repo, number, after)).transpose()?;
        }
        in_order(&mut comments);
        let mut thread = node.thread(repo);
        thread.comments = comments;
        Ok(thread)
    }

    fn add_with_replies(
        &self,
        repo: &str,
        number: u64,
        mut comment: CommentNode,
        comments: &mut Vec<Comment>,
    ) -> Result<()> {
        let (id, name) = (comment.number(), comment.id.take());
        let (mut page, mut after) = (comment.replies.take(), None);
        comments.push(comment.comment(None));
        while let Some(list) = page {
            let next = checked_next(repo, &list, after.as_deref())?;
            comments.extend(list.entries().map(|reply| reply.comment(id)));
            after = next;
            page = match (after.as_deref(), &name) {
                (Some(after), Some(name)) => Some(self.more_replies(repo, number, name, after)?),
                _ => None,
            };
        }
        Ok(())
    }

    pub(super) fn more_comments(&self, repo: &str, number: u64, after: &str) -> Result<Connection<CommentNode>> {
        let query = queries::comments(self.subject);
        let asked = self.ask::<One<Comments>>(repo, &query, json!({"number": number, "after": after}))?;
        asked.0.thread.map(|thread| thread.comments).ok_or_else(|| gap(repo))
    }

    /// Asks for further replies to a comment, which is named by GraphQL's own name.
    fn more_replies(&self, repo: &str, number: u64, name: &str, after: &str) -> Result<Connection<CommentNode>> {
        #[derive(Deserialize)]
        struct Replies {
            replies: Connection<CommentNode>,
        }
        #[derive(Deserialize)]
        struct Told {
            data: Option<OfNode>,
        }
        #[derive(Deserialize)]
        struct OfNode {
            node: Option<Replies>,
        }
        let response = self.post(repo, &queries::replies(), &json!({"id": name, "after": after}))?;
        let told: Told = response.json()?;
        told.data
            .and_then(|data| data.node)
            .map(|node| node.replies)
            .ok_or_else(|| problem(repo, Problem::of(format!("no replies to a comment of #{number}"))))
    }

    /// Fetches one thread with all its comments; nothing when it was deleted or moved to another repository.
    pub(super) fn single_whole(&self, repo: &str, number: u64) -> Result<Option<Thread>> {
        let query = queries::thread(self.subject);
        match self.ask::<One<Node>>(repo, &query, json!({"number": number})) {
            Ok((One { thread }, _)) => thread.map(|node| self.whole(repo, node)).transpose(),
            Err(GithubError::GraphQl { is_absent: true, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks a question about a repository.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        repo: &str,
        query: &str,
        mut variables: Value,
    ) -> Result<(T, Option<SystemTime>)> {
        let (owner, name) = repo.split_once('/').unwrap_or((repo, ""));
        variables["owner"] = owner.into();
        variables["name"] = name.into();
        let response = self.post(repo, query, &variables)?;
        let answer: Answer<T> = response.json()?;
        let repository = answer.data.and_then(|data| data.repository);
        let repository = repository.ok_or_else(|| problem(repo, Problem::of("it has no such repository".into())))?;
        Ok((repository, response.date))
    }

    /// Sends a question; an answer with an error in it is none.
    fn post(&self, repo: &str, query: &str, variables: &Value) -> Result<crate::net::Response> {
        let api = self.api.strip_suffix("/v3").unwrap_or(&self.api);
        let request = Request::graphql(Url::parse(&format!("{api}/graphql"))?, query, variables);
        let response = self.graphql.send(&request, &self.watch)?;
        let problems: Problems = response.json()?;
        match problems.errors.into_iter().next() {
            None => Ok(response),
            Some(found) => Err(problem(repo, found)),
        }
    }
}

/// How many threads a batch is asked for.
struct Size {
    now: u64,
    /// Good batches of this size so far.
    good: u32,
}

impl Default for Size {
    fn default() -> Self {
        Self { now: BATCH, good: 0 }
    }
}

impl Size {
    fn halve(&mut self) {
        *self = Self { now: (self.now / 2).max(1), good: 0 };
    }

    fn grow(&mut self) {
        self.good += 1;
        if self.good >= GOOD_BATCHES {
            *self = Self { now: (self.now * 2).min(BATCH), good: 0 };
        }
    }
}

/// Returns the place after a page of a list, of which no entry may be missing and which must lead on.
pub(super) fn checked_next<T>(repo: &str, list: &Connection<T>, after: Option<&str>) -> Result<Option<String>> {
    if list.has_gap() {
        return Err(gap(repo));
    }
    let next = list.next();
    check_way(repo, after, next.as_deref())?;
    Ok(next)
}

fn check_way(repo: &str, after: Option<&str>, next: Option<&str>) -> Result<()> {
    if next.is_some() && next == after {
        return Err(problem(repo, Problem::of("a list leads back to where it was".into())));
    }
    Ok(())
}

impl Problem {
    fn of(message: String) -> Self {
        Self { kind: None, message, extensions: None }
    }
}

fn gap(repo: &str) -> GithubError {
    problem(repo, Problem::of("an entry of the list is missing".into()))
}

fn problem(repo: &str, problem: Problem) -> GithubError {
    let kind = problem.kind.as_deref();
    let is_absent = kind == Some("NOT_FOUND");
    // A timeout has neither a type nor a code.
    let is_too_much = match kind {
        Some(kind) => matches!(kind, "RESOURCE_LIMITS_EXCEEDED" | "MAX_NODE_LIMIT_EXCEEDED" | "SERVICE_UNAVAILABLE"),
        None => problem.extensions.is_none(),
    };
    let help = match kind {
        Some("NOT_FOUND") => "the name is misspelt, or the repository is private and the token may not see it",
        Some("FORBIDDEN" | "INSUFFICIENT_SCOPES") => "the token may not read this: check what it is allowed to do",
        _ if is_too_much => "run the command again: it goes on where it stopped",
        _ => "the server does not know the question: set `via = \"rest\"` where the source has it",
    };
    let message = problem.message.chars().take(300).collect();
    GithubError::GraphQl { repo: repo.to_owned(), message, help, is_too_much, is_absent }
}
