//! How a run takes part in its requests: it can stop them, and its user hears of pauses.

use std::time::{Duration, Instant};

use crate::net::{NetError, Watch};
use crate::node::Run;

/// How often a pause looks at the cancel flag.
const TICK: Duration = Duration::from_millis(50);

/// Passes the run's cancel flag on, and tells its user about pauses.
pub(super) struct Watcher<'a, 'r>(pub(super) &'a Run<'r>);

impl Watch for Watcher<'_, '_> {
    fn is_cancelled(&self) -> bool {
        self.0.cancel.is_cancelled()
    }

    fn waits(&self, wait: Duration, why: &str) {
        let wait = Duration::from_secs(wait.as_secs().max(1));
        self.0.note(format!("{why}: waiting {}", humantime::format_duration(wait)));
    }
}

impl Watcher<'_, '_> {
    /// Waits, but not past a cancel.
    ///
    /// # Errors
    /// [`NetError::Cancelled`].
    pub(super) fn rest(&self, pause: Duration) -> Result<(), NetError> {
        let end = Instant::now() + pause;
        loop {
            if self.is_cancelled() {
                return Err(NetError::Cancelled);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(TICK));
        }
    }
}
