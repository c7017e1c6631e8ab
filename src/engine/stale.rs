//! Why a node runs, in the words that the user sees.

use std::fmt;

use serde::Serialize;

use crate::store::{Digest, KeyChange};

/// Why a node is not fresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum StaleReason {
    /// It was never built here, and no store has its result.
    NeverBuilt,
    /// What goes into it differs from the last build.
    Changed {
        /// The parts of its key that differ.
        changes: Vec<KeyChange>,
    },
    /// It was built, but its record or some of its bytes are gone.
    ResultMissing,
    /// The user asked for it by `--force`.
    Forced,
    /// A snapshot that the lock does not have yet.
    NotPinned,
    /// The settings differ from those that the lock's snapshot was taken with.
    PinOutdated,
    /// The lock's snapshot is in no store.
    SnapshotMissing {
        /// The snapshot's digest.
        snapshot: Digest,
    },
    /// Its `refresh` policy is due.
    RefreshDue,
    /// The user asked for it by `--refresh`.
    RefreshAsked,
    /// It changes something outside the project, which each run looks at anew.
    Effect,
}

impl fmt::Display for StaleReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverBuilt => f.write_str("never built"),
            Self::Changed { changes } => write!(f, "{}", Changes(changes)),
            Self::ResultMissing => f.write_str("its result is gone from the store"),
            Self::Forced => f.write_str("asked for by `--force`"),
            Self::NotPinned => f.write_str("no snapshot is pinned in the lock"),
            Self::PinOutdated => f.write_str("its settings differ from those of the pinned snapshot"),
            Self::SnapshotMissing { snapshot } => write!(f, "the pinned snapshot {} is in no store", snapshot.short()),
            Self::RefreshDue => f.write_str("its refresh is due"),
            Self::RefreshAsked => f.write_str("asked for by `--refresh`"),
            Self::Effect => f.write_str("it changes something outside the project"),
        }
    }
}

/// The first changes in one line.
struct Changes<'a>(&'a [KeyChange]);

impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        for (index, change) in self.0.iter().take(SHOWN).enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{}", describe(change))?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Says one change: settings with both values, content by what it is.
pub(super) fn describe(change: &KeyChange) -> String {
    let short = |value: &str| {
        let mut text: String = value.chars().take(40).collect();
        if text.len() < value.len() {
            text.push('…');
        }
        text
    };
    let name = change.part.strip_prefix("settings.").unwrap_or(&change.part);
    let is_content = ["input ", "file "].iter().any(|prefix| change.part.starts_with(prefix));
    match (&change.old, &change.new) {
        (Some(_), Some(_)) if is_content => format!("{name} changed"),
        (None, Some(_)) if is_content => format!("{name} is new"),
        (Some(_), None) if is_content => format!("{name} is gone"),
        (Some(old), Some(new)) => format!("{name}: {} → {}", short(old), short(new)),
        (None, Some(new)) => format!("{name}: new, {}", short(new)),
        (Some(old), None) => format!("{name}: gone, was {}", short(old)),
        (None, None) => name.to_owned(),
    }
}
