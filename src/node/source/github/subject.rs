//! What a kind of the family fetches.

use crate::record::{Record, Thread};

/// What a kind of the family fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Issues with their comments.
    Issues,
    /// Pull requests with their comments and review threads.
    Pulls,
    /// Discussions with their comments and replies.
    Discussions,
}

impl Subject {
    /// Returns what people call several of them.
    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::Issues => "issues",
            Self::Pulls => "pull requests",
            Self::Discussions => "discussions",
        }
    }

    /// Returns the name of the field that counts them.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Issues => "issues",
            Self::Pulls => "pulls",
            Self::Discussions => "discussions",
        }
    }

    /// Returns GraphQL's name for a repository's list of them.
    pub(super) const fn connection(self) -> &'static str {
        match self {
            Self::Issues => "issues",
            Self::Pulls => "pullRequests",
            Self::Discussions => "discussions",
        }
    }

    /// Returns GraphQL's name for one of them.
    pub(super) const fn singular(self) -> &'static str {
        match self {
            Self::Issues => "issue",
            Self::Pulls => "pullRequest",
            Self::Discussions => "discussion",
        }
    }

    /// Makes the record of a thread.
    pub(super) fn record(self, thread: Thread) -> Record {
        match self {
            Self::Issues => Record::Issue(thread),
            Self::Pulls => Record::Pull(thread),
            Self::Discussions => Record::Discussion(thread),
        }
    }

    /// Returns the thread of a record of this kind.
    pub(super) fn thread(self, record: Record) -> Option<Thread> {
        match (self, record) {
            (Self::Issues, Record::Issue(thread))
            | (Self::Pulls, Record::Pull(thread))
            | (Self::Discussions, Record::Discussion(thread)) => Some(thread),
            _ => None,
        }
    }
}
