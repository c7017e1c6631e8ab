//! A full sweep: all that is there is listed by number, and what is not there any more is taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::cursor::{from_time, time};
use super::error::Result;
use super::fetch::Fetch;
use super::join::Join;
use super::settings::Sweep;
use super::subject::Subject;
use super::wire::thread_id;
use crate::record::Thread;

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

    /// Lists all threads that are there: numbers of the subject, each with its number of comments.
    pub(super) fn all_numbers(&self, repo: &str) -> Result<BTreeMap<u64, u64>> {
        if !self.has_token {
            return self.all_by_rest(repo);
        }
        match self.all_by_graphql(repo) {
            Err(error) if error.is_graphql_alone() && self.subject != Subject::Discussions => self.all_by_rest(repo),
            seen => seen,
        }
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
            if self.threads.contains_key(number) {
                continue;
            }
            match known.get(number) {
                None => drop(self.fetch_whole(*number)?),
                // The file that a snapshot began with may have less of a pull request than there is.
                Some(known) if known != count && self.fetch.subject == Subject::Issues => {
                    self.find(*number)?;
                    self.counts.insert(*number, *count);
                }
                Some(_) => {}
            }
        }
        Ok(gone)
    }

    /// Takes out the comments of reviews that are not there any more; each one is asked for alone before.
    pub(super) fn sweep_reviews(&mut self) -> Result<()> {
        let there = self.fetch.all_reviews(self.repo)?;
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
        Ok(())
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
