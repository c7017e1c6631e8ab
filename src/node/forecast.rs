//! What a run is going to ask of the network, told before it does.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::Secrets;
use crate::store::{Artifact, Store};

/// What a forecast is made of: what is known without asking anybody.
#[derive(Clone, Copy)]
pub struct Outlook<'a> {
    /// The node's canonical settings.
    pub settings: &'a Value,
    /// The outputs of its last snapshot, by name.
    pub previous: &'a BTreeMap<String, Artifact>,
    /// What earlier runs kept.
    pub store: &'a Store,
    /// Tells which tokens are set.
    pub secrets: &'a dyn Secrets,
}

/// What a run is going to ask of the network, from what is known without asking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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
    /// What is likely to be wrong with the result.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What its globs select, as far as that is known; plans tell it beside the forecast.
    #[serde(skip)]
    pub selected: Vec<Selected>,
}

/// The files that the globs of a source select.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Selected {
    /// What the files are in: a folder or a repository.
    pub of: String,
    /// Their paths in it, with `/`, in order.
    pub files: Vec<String>,
}

/// What a run is going to take of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cost {
    /// How long it takes, in seconds.
    pub seconds: u64,
    /// The most bytes of memory that it has at a time.
    pub memory: u64,
    /// What it does in that time.
    pub note: String,
}

impl fmt::Display for Cost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = humantime::format_duration(Duration::from_secs(self.seconds.max(1)));
        write!(formatter, "about {time}, {:.1} GiB of memory; {}", self.memory as f64 / (1_u64 << 30) as f64, self.note)
    }
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
