//! What several requests at once share: the run's cancel flag, one pause, one progress, one count.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::net::Watch;
use crate::node::{Progress, Run};

/// How often a pause looks at the cancel flag.
const TICK: Duration = Duration::from_millis(50);

/// Requests in any minute; GitHub's secondary limit is 900 points, of which a request for a page costs one.
const A_MINUTE: usize = 600;

/// Watches over the requests of one run.
pub(super) struct Watcher<'a, 'r> {
    run: &'a Run<'r>,
    stopped: AtomicBool,
    asked: AtomicU64,
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Until when nobody asks.
    pause: Option<Instant>,
    /// When the last requests were sent, at most [`A_MINUTE`].
    sent: VecDeque<Instant>,
    /// By listing: entries read, and in all where that is known.
    read: BTreeMap<String, (u64, Option<u64>)>,
    /// Entries that were kept of earlier tries, in all listings that were begun.
    kept: u64,
}

impl<'a, 'r> Watcher<'a, 'r> {
    pub(super) fn new(run: &'a Run<'r>) -> Self {
        Self { run, stopped: AtomicBool::new(false), asked: AtomicU64::new(0), shared: Mutex::default() }
    }

    /// Ends all requests soon: one of them failed, and the pages of the others are kept.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Returns how many requests were sent.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Takes how many entries of a listing were kept of earlier tries, before it goes on.
    pub(super) fn keep(&self, entries: u64) {
        self.shared().kept += entries;
    }

    /// Takes how far a listing was read, and says how far all are: in all only where that is known of each.
    pub(super) fn read(&self, listing: String, done: u64, total: Option<u64>) {
        let mut shared = self.shared();
        shared.read.insert(listing.clone(), (done, total.map(|total| total.max(done))));
        let done = shared.read.values().map(|(done, _)| done).sum();
        let total = shared.read.values().map(|(_, total)| *total).sum();
        let kept = shared.kept;
        drop(shared);
        let detail = format!("{listing} · {} requests", self.asked());
        self.run.say(Progress { done, kept, total, unit: "entries".into(), detail, left: None });
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Watcher<'_, '_> {
    fn is_cancelled(&self) -> bool {
        self.run.cancel.is_cancelled() || self.stopped.load(Ordering::SeqCst)
    }

    /// Tells the user about a pause, and has all others keep it: a server that limits one request limits the next one.
    fn waits(&self, wait: Duration, why: &str) {
        let until = Instant::now().checked_add(wait);
        {
            let mut shared = self.shared();
            shared.pause = shared.pause.max(until);
        }
        let wait = Duration::from_secs(wait.as_secs().max(1));
        self.run.note(format!("{why}: waiting {}", humantime::format_duration(wait)));
    }

    fn asks(&self) {
        while !self.is_cancelled() {
            let left = self.shared().take_turn(Instant::now());
            match left {
                None => break,
                Some(left) => std::thread::sleep(left.min(TICK)),
            }
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
    }
}

impl Shared {
    /// Takes the right to send a request, or returns how long there is none.
    fn take_turn(&mut self, now: Instant) -> Option<Duration> {
        let paused = self.pause.map(|until| until.saturating_duration_since(now)).unwrap_or_default();
        let full = match self.sent.front() {
            Some(first) if self.sent.len() == A_MINUTE => {
                Duration::from_mins(1).saturating_sub(now.saturating_duration_since(*first))
            }
            _ => Duration::ZERO,
        };
        let left = paused.max(full);
        if !left.is_zero() {
            return Some(left);
        }
        if self.sent.len() == A_MINUTE {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_has_more_requests_than_the_limit_and_a_pause_is_kept_by_all() {
        let mut shared = Shared::default();
        let start = Instant::now();
        assert!((0..A_MINUTE).all(|_| shared.take_turn(start).is_none()));
        assert_eq!(shared.take_turn(start + Duration::from_secs(20)), Some(Duration::from_secs(40)));
        assert_eq!(shared.take_turn(start + Duration::from_mins(1)), None);
        shared.pause = Some(start + Duration::from_secs(90));
        assert_eq!(shared.take_turn(start + Duration::from_mins(1)), Some(Duration::from_secs(30)));
    }
}
