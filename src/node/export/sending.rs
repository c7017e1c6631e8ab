//! A file on its way to a server.

use std::time::Duration;

use crate::net::Watch;
use crate::node::Run;

/// Shows how much of a file is sent.
pub(super) struct Sending<'a, 'r> {
    pub(super) run: &'a Run<'r>,
    /// The file, for people.
    pub(super) name: &'a str,
    /// Bytes of it that were sent before.
    pub(super) before: u64,
    /// All of its bytes.
    pub(super) total: u64,
}

impl Watch for Sending<'_, '_> {
    fn is_cancelled(&self) -> bool {
        self.run.is_cancelled()
    }

    fn waits(&self, wait: Duration, why: &str) {
        self.run.waits(wait, why);
    }

    fn sends(&self, bytes: u64) {
        self.run.progress(self.before + bytes, Some(self.total), "bytes", self.name);
    }
}
