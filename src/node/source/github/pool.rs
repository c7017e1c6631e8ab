//! A few requests at once: GitHub asks for patience, not for one connection.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::{GithubError, Result};

/// Requests at once; how many there are in a minute is bounded elsewhere.
const AT_ONCE: usize = 4;

/// Does `work` for each item, a few at once, and returns the results in the order of the items. After a failure, of
/// which `failed` is told at once, nothing new begins; the first failure is the one that is returned.
pub(super) fn each<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<R> + Sync,
    failed: impl Fn() + Sync,
) -> Result<Vec<R>> {
    let count = items.len();
    let queue = Mutex::new(items.into_iter().enumerate());
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(count));
    let failure: Mutex<Option<GithubError>> = Mutex::new(None);
    let worker = || {
        while open(&failure).is_none() {
            let Some((index, item)) = open(&queue).next() else { return };
            match work(item) {
                Ok(result) => open(&done).push((index, result)),
                Err(error) => {
                    open(&failure).get_or_insert(error);
                    failed();
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..count.min(AT_ONCE) {
            scope.spawn(worker);
        }
        worker();
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::net::NetError;

    #[test]
    fn results_keep_the_order_of_the_items_and_the_first_failure_ends_the_rest() {
        let items: Vec<usize> = (0..50).collect();
        assert_eq!(each(items.clone(), |n| Ok(n * 2), || ()).unwrap()[49], 98);
        let stopped = AtomicUsize::new(0);
        let work = |n: usize| if n == 3 { Err(NetError::Cancelled.into()) } else { Ok(n) };
        assert!(
            each(items, work, || {
                stopped.fetch_add(1, Ordering::SeqCst);
            })
            .is_err()
        );
        assert_eq!(stopped.into_inner(), 1);
        assert!(each(Vec::<usize>::new(), Ok, || ()).unwrap().is_empty());
    }
}
