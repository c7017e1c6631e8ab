//! From the last snapshot to the news of all repositories: which way each is asked, a few requests at once.

use std::collections::{BTreeMap, BTreeSet};

use super::base::Base;
use super::cursor::{Place, later, since};
use super::error::{GithubError, Result};
use super::graphql::{BATCH, Totals, Walked};
use super::join::Join;
use super::journal::Journal;
use super::pool::each;
use super::rest::{COMMENTS, Listing, PAGE, Question, REVIEWS, THREADS};
use super::seeded;
use super::settings::{Sweep, Via};
use super::subject::Subject;
use super::watcher::Watcher;
use super::wire::{Listed, Posted};
use crate::net::Client;
use crate::node::Run;
use crate::record::Thread;
use crate::store::Digest;

/// How many comments an issue and a pull request are taken to have before they were counted.
const COMMENTS_EACH: (u64, u64) = (4, 3);

/// What a fetch brought of one repository.
#[derive(Default)]
pub(super) struct News {
    /// New and changed threads, whole, by id.
    pub(super) threads: BTreeMap<String, Thread>,
    /// Ids of what is not there any more.
    pub(super) gone: BTreeSet<String>,
    /// Comments that were read, known ones among them.
    pub(super) comments: u64,
    /// Comments of reviews that were read.
    pub(super) reviews: u64,
    /// Entries of the lists that are not the subject.
    pub(super) others: u64,
    /// How far the repository was read.
    pub(super) place: Place,
}

/// All that fetching needs.
pub(super) struct Fetch<'a, 'r> {
    pub(super) run: &'a Run<'r>,
    pub(super) subject: Subject,
    pub(super) client: Client,
    /// For GraphQL: one that tries a failing question less often, since a smaller one may do.
    pub(super) graphql: Client,
    pub(super) watch: Watcher<'a, 'r>,
    /// Base address, without a slash at its end.
    pub(super) api: String,
    pub(super) via: Via,
    pub(super) sweep: Sweep,
    pub(super) has_token: bool,
    pub(super) base: Base<'a>,
}

/// One thing to read from end to end, beside others.
#[derive(Clone, Copy)]
enum Task {
    Threads,
    Comments,
    Reviews,
    /// Whole threads by GraphQL; in all, where that is known.
    Whole(Option<u64>),
}

/// What was read of one repository.
#[derive(Default)]
struct Parts {
    threads: Option<Listing<Listed>>,
    comments: Option<Listing<Posted>>,
    reviews: Option<Listing<Posted>>,
    whole: Option<Walked>,
}

impl Fetch<'_, '_> {
    /// Fetches what is new in all repositories, by name.
    pub(super) fn all(&self, repos: &[String]) -> Result<BTreeMap<String, News>> {
        let stop = || self.watch.stop();
        let tasks = each(repos.iter().collect(), |repo: &String| self.tasks(repo), stop)?;
        let tasks: Vec<(usize, Task)> = tasks
            .into_iter()
            .enumerate()
            .flat_map(|(at, tasks)| tasks.into_iter().map(move |task| (at, task)))
            .collect();
        let done = each(tasks, |(at, task)| Ok((at, self.part(&repos[at], task)?)), stop)?;
        let mut parts: Vec<(&String, Parts)> = repos.iter().map(|repo| (repo, Parts::default())).collect();
        for (at, part) in done {
            parts[at].1.add(part);
        }
        let news = each(parts, |(repo, parts)| Ok((repo.clone(), self.news(repo, parts)?)), stop)?;
        Ok(news.into_iter().collect())
    }

    /// Forgets the pages of a fetch that came to its end.
    pub(super) fn forget_progress(&self, repos: &[String]) -> Result<()> {
        for repo in repos {
            for unit in self.units() {
                self.journal(repo, unit).forget()?;
            }
        }
        Ok(())
    }

    /// Returns what is kept of a fetch that did not come to its end, by repository; nothing when that is nothing.
    pub(super) fn kept(&self, repos: &[String]) -> Option<String> {
        let of = |repo: &String| {
            let counts = self.units().map(|unit| (self.journal(repo, unit).count(), unit));
            let counts: Vec<String> =
                counts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}")).collect();
            (!counts.is_empty()).then(|| counts.join(", "))
        };
        let kept: Vec<Option<String>> = repos.iter().map(of).collect();
        let told = |(repo, kept): (&String, &Option<String>)| {
            format!("{repo}: {}", kept.as_deref().unwrap_or("all is still to come"))
        };
        kept.iter().any(Option::is_some).then(|| repos.iter().zip(&kept).map(told).collect::<Vec<_>>().join("; "))
    }

    /// Returns the journal of one listing. Another node, or another server, keeps its own.
    pub(super) fn journal(&self, repo: &str, unit: &str) -> Journal<'_> {
        Journal::open(self.run.store, &self.listing_name(repo, unit), self.base.digest())
    }

    /// Returns a name for what is kept of a listing.
    pub(super) fn listing_name(&self, repo: &str, unit: &str) -> String {
        let parts = [self.run.job.node.as_str(), &self.api, repo, self.subject.field(), unit].join("\n");
        Digest::of(parts.as_bytes()).to_string()
    }

    /// Returns the names under which listings are kept.
    fn units(&self) -> [&'static str; 4] {
        [THREADS.unit, COMMENTS.unit, REVIEWS.unit, self.whole_unit()]
    }

    /// Returns the name under which whole threads are kept.
    pub(super) fn whole_unit(&self) -> &'static str {
        match self.subject {
            Subject::Issues => "whole issues",
            other => other.plural(),
        }
    }

    /// Decides which way a repository is asked.
    fn tasks(&self, repo: &str) -> Result<Vec<Task>> {
        let by_rest = match self.subject {
            _ if self.base.seed.is_some() => vec![Task::Threads],
            Subject::Pulls => vec![Task::Threads, Task::Comments, Task::Reviews],
            _ => vec![Task::Threads, Task::Comments],
        };
        let must = self.subject == Subject::Discussions || self.via == Via::Graphql;
        if must && !self.has_token {
            return Err(GithubError::NeedsToken { what: format!("{} cannot be read", self.subject.plural()) });
        }
        let may = self.subject == Subject::Issues && self.via == Via::Auto && self.has_token;
        let is_first = self.base.place(repo).is_none() && self.base.seed.is_none();
        let has_pages = |question: &Question| self.journal(repo, question.unit).count() > 0;
        if !must && (!may || !is_first || has_pages(&THREADS)) {
            return Ok(by_rest);
        }
        let mut journal = self.journal(repo, self.whole_unit());
        if journal.count() > 0 || !is_first {
            return Ok(vec![Task::Whole(None)]);
        }
        match self.totals(repo) {
            Ok(totals) if must || is_cheaper(&totals) => {
                journal.begin(totals.newest)?;
                Ok(vec![Task::Whole(Some(totals.threads))])
            }
            Err(error) if must || !error.is_graphql_alone() => Err(error),
            _ => Ok(by_rest),
        }
    }

    fn part(&self, repo: &str, task: Task) -> Result<Parts> {
        let place = self.base.place(repo);
        let from = |newest: fn(&Place) -> Option<&String>| since(place.and_then(newest).map(String::as_str));
        let mut parts = Parts::default();
        match task {
            Task::Threads => {
                let since = from(|place| place.threads.as_ref());
                parts.threads = Some(self.listing(&THREADS, repo, since.as_deref())?);
            }
            Task::Comments => {
                let since = from(|place| place.comments.as_ref());
                parts.comments = Some(self.listing(&COMMENTS, repo, since.as_deref())?);
            }
            Task::Reviews => {
                let since = from(|place| place.reviews.as_ref());
                parts.reviews = Some(self.listing(&REVIEWS, repo, since.as_deref())?);
            }
            Task::Whole(total) => {
                let since = from(|place| place.threads.as_ref());
                match self.threads(repo, since.as_deref(), total) {
                    Ok(walked) => parts.whole = Some(walked),
                    // A server whose GraphQL is older than the question.
                    Err(error) if self.via == Via::Auto && self.can_turn_to_rest(repo, &error) => {
                        self.run.note(format!("{repo}: GraphQL does not answer, so it is asked by REST ({error})"));
                        parts.threads = Some(self.listing(&THREADS, repo, None)?);
                        parts.comments = Some(self.listing(&COMMENTS, repo, None)?);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(parts)
    }

    fn can_turn_to_rest(&self, repo: &str, error: &GithubError) -> bool {
        let has_pages = self.journal(repo, self.whole_unit()).count() > 0;
        self.subject == Subject::Issues && error.is_graphql_alone() && !has_pages
    }

    /// Makes the news of what was read.
    fn news(&self, repo: &str, parts: Parts) -> Result<News> {
        let before = self.base.place(repo).cloned().unwrap_or_default();
        let mut join = Join::new(self, repo);
        let (swept, comments) = (before.swept.clone(), before.comments.clone());
        let mut place = Place { comments, swept, ..Place::default() };
        let date = parts.date();
        let (mut seen, mut lists) = (None, (parts.comments, parts.reviews));
        if let Some(threads) = parts.threads {
            place.threads = threads.up_to(before.threads.as_ref());
            if let Some(seed) = &self.base.seed {
                let subjects = threads.entries.iter().filter(|listed| listed.thread.is_some());
                seen = Some(subjects.map(|listed| (listed.number, listed.comments)).collect());
                let file = seeded::over_file(&mut join, seed, threads.entries)?;
                lists = (Some(file.comments), file.reviews);
            } else {
                threads.entries.into_iter().try_for_each(|listed| join.add_thread(listed))?;
            }
        }
        if let Some(comments) = lists.0 {
            place.comments = comments.up_to(before.comments.as_ref());
            comments.entries.into_iter().try_for_each(|posted| join.add_comment(posted))?;
        }
        if let Some(reviews) = lists.1 {
            place.reviews = reviews.up_to(before.reviews.as_ref());
            reviews.entries.into_iter().try_for_each(|posted| join.add_review(posted))?;
        }
        if let Some(whole) = parts.whole {
            place.threads = later(before.threads, whole.newest);
            place.comments = place.comments.or(whole.begun);
            join.comments += whole.threads.iter().map(|thread| thread.comments.len() as u64).sum::<u64>();
            for thread in whole.threads {
                join.counts.insert(thread.number, thread.comments.len() as u64);
                join.threads.insert(thread.number, thread);
            }
        }
        let mut is_swept = seen.is_some() || self.base.place(repo).is_none();
        if self.is_sweep_due(repo, date) {
            seen = self.all_numbers(repo)?;
            is_swept = (self.subject != Subject::Pulls || join.sweep_reviews()?) && seen.is_some();
        }
        let gone = seen.as_ref().map(|seen| join.sweep(seen)).transpose()?.unwrap_or_default();
        if is_swept {
            place.swept = self.swept(date);
        }
        join.complete()?;
        let (comments, reviews, others) = (join.comments, join.reviews, join.others.len() as u64);
        Ok(News { threads: join.changed()?, gone, comments, reviews, others, place })
    }
}

impl Parts {
    fn add(&mut self, other: Self) {
        self.threads = other.threads.or(self.threads.take());
        self.comments = other.comments.or(self.comments.take());
        self.reviews = other.reviews.or(self.reviews.take());
        self.whole = other.whole.or(self.whole.take());
    }

    /// Returns the server's time of day.
    fn date(&self) -> Option<std::time::SystemTime> {
        let whole = self.whole.as_ref().and_then(|whole| whole.date);
        self.threads.as_ref().and_then(|threads| threads.date).or(whole)
    }
}

/// Returns whether batches by GraphQL take fewer requests than lists by REST, in which pull requests stand, too.
fn is_cheaper(totals: &Totals) -> bool {
    let listed = (totals.threads + totals.pulls).div_ceil(PAGE);
    let comments = (totals.threads * COMMENTS_EACH.0 + totals.pulls * COMMENTS_EACH.1).div_ceil(PAGE);
    totals.threads.div_ceil(BATCH) < listed + comments
}
