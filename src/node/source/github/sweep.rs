//! A full sweep: all that is there is listed by number, and what is not there any more is taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::json;

use super::cursor::{from_time, time};
use super::error::Result;
use super::fetch::Fetch;
use super::graphql::{BATCH, checked_next};
use super::join::Join;
use super::nodes::{CommentNode, Connection};
use super::queries;
use super::rest::{PAGE, REVIEWS, THREADS};
use super::settings::Sweep;
use super::subject::Subject;
use super::wire::{Listed, Posted, thread_id};
use crate::record::Thread;

#[derive(Deserialize)]
struct OfNumbers {
    threads: Connection<Bare>,
}

/// A thread of which its number is asked, and how many comments it has.
#[derive(Deserialize)]
struct Bare {
    number: u64,
    comments: Option<Connection<CommentNode>>,
}

impl Fetch<'_, '_> {
    /// Returns whether a sweep is due for a repository, at the server's time of day.
    pub(super) fn is_sweep_due(&self, repo: &str, now: Option<SystemTime>) -> bool {
        let Some(place) = self.base.place(repo) else { return false };
        match self.sweep {
            Sweep::Never => false,
            Sweep::Always => true,
            Sweep::Every(period) => {
                let swept = place.swept.as_deref().and_then(time);
                // A time in the future is of a clock that was wrong: then or now.
                let age = swept.zip(now).and_then(|(swept, now)| now.duration_since(swept).ok());
                age.is_none_or(|age| age >= period)
            }
        }
    }

    /// Returns what to note of a sweep at this time: nothing where no period is kept.
    pub(super) fn swept(&self, now: Option<SystemTime>) -> Option<String> {
        if matches!(self.sweep, Sweep::Every(_)) { now.map(from_time) } else { None }
    }

    /// Lists all threads that are there: numbers of the subject, each with its number of comments; nothing where the list
    /// cannot be read to its end.
    pub(super) fn all_numbers(&self, repo: &str) -> Result<Option<BTreeMap<u64, u64>>> {
        if !self.has_token {
            return self.all_by_rest(repo);
        }
        match self.all_by_graphql(repo) {
            Err(error) if error.is_graphql_alone() && self.subject != Subject::Discussions => self.all_by_rest(repo),
            seen => seen.map(Some),
        }
    }

    fn all_by_rest(&self, repo: &str) -> Result<Option<BTreeMap<u64, u64>>> {
        let mut seen = BTreeMap::new();
        let is_whole = self.every(&THREADS, repo, |listed: Vec<Listed>| {
            seen.extend(listed.iter().filter(|it| it.thread.is_some()).map(|it| (it.number, it.comments)));
            self.watch.read(format!("{repo}: sweep"), seen.len() as u64, None);
        })?;
        Ok(is_whole.then_some(seen))
    }

    /// Lists the ids of all comments of reviews that are there; nothing where the list cannot be read to its end.
    fn all_reviews(&self, repo: &str) -> Result<Option<BTreeSet<u64>>> {
        let mut there = BTreeSet::new();
        let is_whole = self.every(&REVIEWS, repo, |posted: Vec<Posted>| {
            there.extend(posted.into_iter().map(|posted| posted.id));
            self.watch.read(format!("{repo}: sweep of reviews"), there.len() as u64, None);
        })?;
        Ok(is_whole.then_some(there))
    }

    fn all_by_graphql(&self, repo: &str) -> Result<BTreeMap<u64, u64>> {
        let query = queries::numbers(self.subject);
        let mut seen = BTreeMap::new();
        let mut after: Option<String> = None;
        // A discussion comes with each of its comments, for their numbers of replies.
        let first = if self.subject == Subject::Discussions { BATCH } else { PAGE };
        loop {
            let variables = json!({"first": first, "after": after});
            let (OfNumbers { threads }, _) = self.ask(repo, &query, variables)?;
            let (next, total) = (checked_next(repo, &threads, after.as_deref())?, threads.total_count);
            for bare in threads.entries() {
                seen.insert(bare.number, self.count(repo, bare)?);
            }
            self.watch.read(format!("{repo}: sweep"), seen.len() as u64, total);
            after = next;
            if after.is_none() {
                return Ok(seen);
            }
        }
    }

    /// Counts the comments of a thread, and the replies to those of a discussion, which GitHub counts apart.
    fn count(&self, repo: &str, bare: Bare) -> Result<u64> {
        let mut count = total(bare.comments.as_ref());
        let (mut page, mut after) = (bare.comments.filter(|_| self.subject == Subject::Discussions), None);
        while let Some(list) = page {
            let next = checked_next(repo, &list, after.as_deref())?;
            count += list.entries().map(|comment| total(comment.replies.as_ref())).sum::<u64>();
            after = next;
            page = after.as_deref().map(|after| self.more_comments(repo, bare.number, after)).transpose()?;
        }
        Ok(count)
    }
}

impl Join<'_, '_, '_> {
    /// Compares what is known with all that is there, and returns the ids of what is gone. Each one is asked for alone
    /// before it counts as gone: a list that lacks something must not take it out.
    pub(super) fn sweep(&mut self, seen: &BTreeMap<u64, u64>) -> Result<BTreeSet<String>> {
        let count = |thread: Thread| (thread.number, thread.comments.len() as u64);
        let known = self.fetch.base.threads(self.repo).map(|thread| Ok(count(thread?)));
        let known: BTreeMap<u64, u64> = known.collect::<Result<_>>()?;
        let mut gone = BTreeSet::new();
        for number in known.keys().filter(|number| !seen.contains_key(number)) {
            // What was listed just now is there; what only its comments brought may be gone.
            if !self.counts.contains_key(number) && !self.is_there(*number)? {
                self.threads.remove(number);
                gone.insert(thread_id(self.repo, *number));
            }
        }
        for (number, count) in seen {
            if self.counts.contains_key(number) {
                continue;
            }
            // Of some threads only comments were listed, which may be less than all that there are.
            let listed = self.threads.get(number).map(|thread| thread.comments.len() as u64);
            match listed.or_else(|| known.get(number).copied()) {
                None => drop(self.fetch_whole(*number)?),
                Some(comments) if self.is_off(comments, *count) => self.fetch_again(*number, *count)?,
                Some(_) => {}
            }
        }
        Ok(gone)
    }

    /// Returns whether a thread has comments that are gone, or lacks some.
    fn is_off(&self, known: u64, count: u64) -> bool {
        match self.fetch.subject {
            // The file that a snapshot began with may have less of a pull request than there is.
            Subject::Pulls => known > count,
            _ => known != count,
        }
    }

    /// Fetches the comments of a known thread again: at once, or when all threads are completed.
    fn fetch_again(&mut self, number: u64, count: u64) -> Result<()> {
        if self.fetch.subject == Subject::Discussions {
            return self.fetch_whole(number).map(drop);
        }
        if !self.threads.contains_key(&number) {
            self.find(number)?;
        }
        self.counts.insert(number, count);
        Ok(())
    }

    /// Takes out the comments of reviews that are not there any more; each one is asked for alone before. Returns whether
    /// all were compared.
    pub(super) fn sweep_reviews(&mut self) -> Result<bool> {
        let Some(there) = self.fetch.all_reviews(self.repo)? else { return Ok(false) };
        for thread in self.fetch.base.threads(self.repo) {
            let thread = thread?;
            let ids = thread.reviews.iter().flatten().filter_map(|comment| comment.id);
            let mut gone = BTreeSet::new();
            for id in ids.filter(|id| !there.contains(id)) {
                if !self.fetch.is_review_there(self.repo, id)? {
                    gone.insert(id);
                }
            }
            if gone.is_empty() {
                continue;
            }
            let thread = self.threads.entry(thread.number).or_insert(thread);
            for review in &mut thread.reviews {
                review.retain(|comment| comment.id.is_none_or(|id| !gone.contains(&id)));
            }
            thread.reviews.retain(|review| !review.is_empty());
        }
        Ok(true)
    }

    /// Returns whether a thread is still there.
    fn is_there(&self, number: u64) -> Result<bool> {
        let is_there = match self.fetch.subject {
            Subject::Discussions => self.fetch.single_whole(self.repo, number)?.is_some(),
            _ => self.fetch.single(self.repo, number)?.is_some_and(|listed| listed.thread.is_some()),
        };
        Ok(is_there)
    }

    /// Fetches a thread that no list of changes named.
    fn fetch_whole(&mut self, number: u64) -> Result<bool> {
        if self.fetch.subject != Subject::Discussions {
            return self.find(number);
        }
        let thread = self.fetch.single_whole(self.repo, number)?;
        Ok(thread.is_some_and(|thread| self.threads.insert(number, thread).is_none()))
    }
}

/// Returns how many there are in a list; a list that is not there has none.
fn total(list: Option<&Connection<CommentNode>>) -> u64 {
    list.and_then(|list| list.total_count).unwrap_or_default()
}
