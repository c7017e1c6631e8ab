//! What a run tells, and asks of its surroundings, where nobody listens: for the benches of kinds.

use tunesmith::node::{Event, Events, Secrets};

/// Tells nobody, and knows no secret.
pub(crate) struct Quiet;

impl Events for Quiet {
    fn event(&self, _: Event) {}
}

impl Secrets for Quiet {
    fn environment(&self, _: &str) -> Option<String> {
        None
    }
}
