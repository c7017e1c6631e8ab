//! What a run is going to ask of the network, told before it does.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// What a run is going to ask of the network, from what is known without asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Forecast {
    /// Requests; nothing where that is known after the first answers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// How long they take, in seconds, waits for limits among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// What it depends on, and what the user may change.
    pub note: String,
}

impl fmt::Display for Forecast {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(requests) = self.requests {
            write!(formatter, "about {requests} request{}", if requests == 1 { "" } else { "s" })?;
            if let Some(seconds) = self.seconds {
                write!(formatter, " in {}", humantime::format_duration(Duration::from_secs(seconds)))?;
            }
            formatter.write_str("; ")?;
        }
        formatter.write_str(&self.note)
    }
}
