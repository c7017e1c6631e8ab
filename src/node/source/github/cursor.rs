//! How far a snapshot goes, pinned beside its records as the output `cursor`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::error::{GithubError, Result};
use crate::store::{Artifact, Store};

/// How far a question reaches back before the newest known change: GitHub's lists may lag behind its pages.
const OVERLAP: Duration = Duration::from_mins(1);

/// How far a snapshot goes. It changes with news and with sweeps only, so that the lock stays where nothing is new.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Cursor {
    /// The kind's version; a snapshot of another one is not gone on from.
    pub(super) version: u32,
    /// By repository.
    pub(super) repos: BTreeMap<String, Place>,
}

/// How far the listings of one repository were read: the newest change in each, as GitHub wrote its time.
///
/// Each listing has its own: what changes after a listing was read to its end is newer than all that it held, whatever
/// other listings held by then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Place {
    /// Of the list of threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) threads: Option<String>,
    /// Of the list of comments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) comments: Option<String>,
    /// Of the list of review comments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reviews: Option<String>,
    /// When all that is there was last listed, by the server's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) swept: Option<String>,
}

impl Cursor {
    /// Reads the cursor that is pinned beside a snapshot; one that cannot be read is none.
    pub(super) fn read(store: &Store, artifact: Option<&Artifact>) -> Option<Self> {
        let Some(Artifact::File(file)) = artifact else { return None };
        serde_json::from_slice(&fs_err::read(store.path(file).ok()?).ok()?).ok()
    }

    /// Puts the cursor into the store.
    pub(super) fn put(&self, store: &Store) -> Result<Artifact> {
        let text = serde_json::to_vec(self).map_err(GithubError::Cursor)?;
        Ok(Artifact::File(store.put_file_bytes(&text)?))
    }
}

/// Returns the later of two times.
pub(super) fn later(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if time(&other) > time(&one) { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// Returns from when on to ask a listing that was read up to `newest`.
pub(super) fn since(newest: Option<&str>) -> Option<String> {
    newest.and_then(time).and_then(|newest| newest.checked_sub(OVERLAP)).map(from_time)
}

/// Reads GitHub's form of a time; another form is as good as none.
pub(super) fn time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

/// Writes a time in GitHub's form.
pub(super) fn from_time(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
