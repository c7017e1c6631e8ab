//! GitHub's JSON, as far as it is read, and what becomes of it. Anything may be absent or null but ids and numbers.

use serde::{Deserialize, Serialize};

use crate::record::{Author, Comment, Thread};

/// One entry of the list of issues, as it is kept: a pull request by its number alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Listed {
    /// The number in the repository.
    pub(super) number: u64,
    /// When it changed last.
    pub(super) updated_at: Option<String>,
    /// How many comments GitHub counts.
    pub(super) comments: u64,
    /// The issue without its comments; nothing for a pull request.
    pub(super) thread: Option<Thread>,
}

/// One comment with the issue it belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Posted {
    /// The comment's id.
    pub(super) id: u64,
    /// The address of its issue in the API; its tail is the number.
    pub(super) issue_url: String,
    /// Whether its page is a pull request's.
    pub(super) on_pull: bool,
    /// The comment.
    pub(super) comment: Comment,
}

/// An issue as GitHub sends it.
#[derive(Debug, Deserialize)]
pub(super) struct WireIssue {
    number: u64,
    title: Option<String>,
    body: Option<String>,
    state: Option<String>,
    state_reason: Option<String>,
    #[serde(default)]
    labels: Vec<WireLabel>,
    user: Option<WireUser>,
    author_association: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
    closed_at: Option<String>,
    html_url: Option<String>,
    reactions: Option<WireReactions>,
    #[serde(default)]
    comments: u64,
    pull_request: Option<serde::de::IgnoredAny>,
}

/// A comment as GitHub sends it.
#[derive(Debug, Deserialize)]
pub(super) struct WireComment {
    id: u64,
    issue_url: String,
    html_url: Option<String>,
    body: Option<String>,
    user: Option<WireUser>,
    author_association: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
    reactions: Option<WireReactions>,
}

#[derive(Debug, Deserialize)]
struct WireUser {
    login: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// GitHub's schema has labels as objects or plain strings.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WireLabel {
    Name(String),
    Full { name: Option<String> },
}

#[derive(Debug, Deserialize)]
struct WireReactions {
    #[serde(default)]
    total_count: u64,
}

impl WireIssue {
    /// Returns the entry for a repository, whose name the ids bear even where it has moved.
    pub(super) fn listed(self, repo: &str) -> Listed {
        let Self { number, comments, .. } = self;
        let updated_at = self.updated_at.clone();
        let is_pull = self.pull_request.is_some();
        Listed { number, updated_at, comments, thread: if is_pull { None } else { Some(self.thread(repo)) } }
    }

    fn thread(self, repo: &str) -> Thread {
        Thread {
            id: thread_id(repo, self.number),
            repo: repo.to_owned(),
            number: self.number,
            title: self.title.unwrap_or_default(),
            body: self.body.unwrap_or_default(),
            state: self.state.unwrap_or_default(),
            state_reason: self.state_reason,
            labels: self.labels.into_iter().filter_map(WireLabel::name).collect(),
            author: author(self.user, self.author_association),
            created_at: self.created_at,
            updated_at: self.updated_at,
            closed_at: self.closed_at,
            merged_at: None,
            url: self.html_url,
            reactions: self.reactions.map_or(0, |reactions| reactions.total_count),
            comments: Vec::new(),
            reviews: Vec::new(),
        }
    }
}

impl WireComment {
    /// Returns the comment with the issue it belongs to.
    pub(super) fn posted(self) -> Posted {
        let comment = Comment {
            id: Some(self.id),
            author: author(self.user, self.author_association),
            body: self.body.unwrap_or_default(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            reactions: self.reactions.map_or(0, |reactions| reactions.total_count),
            reply_to: None,
            accepted: false,
        };
        let on_pull = self.html_url.is_some_and(|url| url.contains("/pull/"));
        Posted { id: self.id, issue_url: self.issue_url, on_pull, comment }
    }
}

impl Posted {
    /// Returns the number of the issue it belongs to.
    pub(super) fn number(&self) -> Option<u64> {
        self.issue_url.rsplit_once('/')?.1.parse().ok()
    }
}

impl WireLabel {
    fn name(self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name),
            Self::Full { name } => name,
        }
    }
}

/// Returns the id of an issue's record.
pub(super) fn thread_id(repo: &str, number: u64) -> String {
    format!("{repo}#{number}")
}

fn author(user: Option<WireUser>, association: Option<String>) -> Author {
    let Some(user) = user else { return Author { login: None, association, bot: false } };
    let bot =
        user.kind.as_deref() == Some("Bot") || user.login.as_deref().is_some_and(|login| login.ends_with("[bot]"));
    Author { login: user.login, association, bot }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_github_leaves_out_or_nulls_is_read() {
        let bare: WireIssue = serde_json::from_str(r#"{"number": 7}"#).unwrap();
        assert_eq!(bare.listed("o/r").thread.unwrap().id, "o/r#7");
        let nulls = r#"{"number": 8, "title": null, "body": null, "user": null, "reactions": null, "pull_request": null,
            "labels": ["plain", {"name": "full"}, {"name": null}], "author_association": "NONE"}"#;
        let thread = serde_json::from_str::<WireIssue>(nulls).unwrap().listed("o/r").thread.unwrap();
        assert_eq!(thread.labels, ["plain", "full"]);
        assert_eq!(thread.author, Author { login: None, association: Some("NONE".into()), bot: false });
    }

    #[test]
    fn programs_are_known_by_type_or_name() {
        let is_bot = |user: &str| author(serde_json::from_str(user).unwrap(), None).bot;
        assert!(is_bot(r#"{"login": "renovate", "type": "Bot"}"#));
        assert!(is_bot(r#"{"login": "dependabot[bot]", "type": "User"}"#));
        assert!(!is_bot(r#"{"login": "robot", "type": "User"}"#));
    }
}
