//! Memory of intermediate results that is used again.
//!
//! Fresh memory is dear: the system clears each of its pages at the first touch, and takes them back when they are freed.
//! What a block leaves behind serves the next one, whose intermediate results are of the same sizes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Pages;

/// Fewer numbers than this are left to the allocator, which keeps small pieces by itself.
const SMALL: usize = 1 << 12;
/// What is taken may be so many times as large as what was asked for: micro-batches are of many sizes, and what the largest
/// one left serves them all.
const LARGER: usize = 2;

/// Numbers that were given back and wait to be taken again. In use and waiting, they never take more than the most that
/// was in use at once.
#[derive(Clone, Debug, Default)]
pub(in crate::model) struct Workspace(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// What waits, the longest wait first.
    free: Vec<Pages>,
    /// Numbers of all that waits.
    waiting: usize,
    used: usize,
    /// The most that was ever used at once.
    most: usize,
}

impl Workspace {
    /// Returns at least `len` numbers, and whether they are zeros; what others are is of no meaning.
    pub(super) fn take(&self, len: usize) -> (Pages, bool) {
        if len < SMALL {
            return (Pages::zeros(len), true);
        }
        let mut kept = self.lock();
        let fits = |numbers: &[f32]| (len..=LARGER * len).contains(&numbers.len());
        // What was given back last lies in the caches yet: of equal ones the first that is seen is taken.
        let waiting = kept.free.iter().enumerate().rev().filter(|(_, numbers)| fits(numbers));
        if let Some((place, _)) = waiting.min_by_key(|(_, numbers)| numbers.len()) {
            let numbers = kept.free.remove(place);
            kept.waiting -= numbers.len();
            kept.use_more(numbers.len());
            return (numbers, false);
        }
        kept.use_more(len);
        while kept.used + kept.waiting > kept.most && !kept.free.is_empty() {
            kept.waiting -= kept.free.remove(0).len();
        }
        (Pages::zeros(len), true)
    }

    /// Takes back what [`Workspace::take`] returned.
    pub(super) fn give(&self, numbers: Pages) {
        if numbers.len() >= SMALL {
            let mut kept = self.lock();
            kept.used -= numbers.len();
            kept.waiting += numbers.len();
            kept.free.push(numbers);
        }
    }

    /// Returns the most numbers that were ever used at once.
    #[cfg(test)]
    pub(in crate::model) fn most(&self) -> usize {
        self.lock().most
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn use_more(&mut self, numbers: usize) {
        self.used += numbers;
        self.most = self.most.max(self.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_taken_again_and_never_more_is_kept_than_was_used_at_once() {
        let workspace = Workspace::default();
        let (mut first, fresh) = workspace.take(10_000);
        assert!(fresh && first.iter().all(|number| *number == 0.0));
        first[0] = 1.0;
        workspace.give(first);
        let (again, fresh) = workspace.take(9_000);
        assert!(!fresh && again.len() == 10_000, "a little more than was asked for");
        workspace.give(again);
        let (other, fresh) = workspace.take(4_999);
        assert!(fresh, "of another size");
        assert_eq!(workspace.lock().waiting, 0, "14,999 would be more than there ever were");
        let (more, _) = workspace.take(10_000);
        workspace.give(other);
        workspace.give(more);
        let kept = workspace.lock();
        assert_eq!((kept.used, kept.waiting, kept.most), (0, 14_999, 14_999));
    }

    #[test]
    fn what_a_larger_batch_left_serves_smaller_ones() {
        let workspace = Workspace::default();
        let larger = [10_000, 20_000].map(|len| workspace.take(len).0);
        for numbers in larger {
            workspace.give(numbers);
        }
        let smaller = [10_001, 5_001].map(|len| workspace.take(len));
        assert!(smaller.iter().all(|(_, fresh)| !fresh), "no memory is asked for");
        let [(first, _), (second, _)] = smaller;
        assert_eq!([first.len(), second.len()], [20_000, 10_000]);
    }

    #[test]
    fn what_was_given_back_last_is_taken_first() {
        let workspace = Workspace::default();
        let pieces = [0, 1].map(|_| workspace.take(10_000).0);
        let last = pieces[1].as_ptr();
        for numbers in pieces {
            workspace.give(numbers);
        }
        assert_eq!(workspace.take(10_000).0.as_ptr(), last);
    }
}
