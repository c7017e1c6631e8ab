//! GitHub's JSON by REST, as far as it is read, and what becomes of it. Anything may be absent or null but ids and numbers.

use serde::{Deserialize, Serialize};

use super::subject::Subject;
use crate::record::{Author, Comment, Thread};

/// The user in whose place GitHub shows those that were deleted.
const GHOST: &str = "ghost";

/// One entry of the list of issues, as it is kept: what is not the subject by its number alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Listed {
    /// The number in the repository.
    pub(super) number: u64,
    /// When it was opened.
    pub(super) created_at: Option<String>,
    /// When it changed last.
    pub(super) updated_at: Option<String>,
    /// How many comments GitHub counts, without reviews.
    pub(super) comments: u64,
    /// The thread without its comments; nothing for what is not the subject.
    pub(super) thread: Option<Thread>,
}

/// One comment with the thread it belongs to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Posted {
    /// The comment's id.
    pub(super) id: u64,
    /// The address of its issue or pull request in the API; its tail is the number.
    pub(super) address: String,
    /// Whether its page is a pull request's; nothing when that is not said.
    pub(super) on_pull: Option<bool>,
    /// The comment.
    pub(super) comment: Comment,
}

/// An issue or a pull request as GitHub sends it.
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
    pull_request: Option<WirePull>,
    repository_url: Option<String>,
}

/// A repository as GitHub sends it.
#[derive(Debug, Deserialize)]
pub(super) struct WireRepository {
    /// `OWNER/NAME`, as they are now.
    pub(super) full_name: String,
}

/// What the list of issues says of a pull request.
#[derive(Debug, Deserialize)]
struct WirePull {
    merged_at: Option<String>,
}

/// A comment, or a comment of a review, as GitHub sends it.
#[derive(Debug, Deserialize)]
pub(super) struct WireComment {
    id: u64,
    issue_url: Option<String>,
    pull_request_url: Option<String>,
    in_reply_to_id: Option<u64>,
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
    /// Returns the name of the repository that it says it belongs to.
    pub(super) fn repository(&self) -> Option<&str> {
        self.repository_url.as_deref()?.rsplit_once("/repos/").map(|(_, name)| name)
    }

    /// Returns the entry for a repository, whose name the ids bear even where it has moved.
    pub(super) fn listed(self, repo: &str, subject: Subject) -> Listed {
        let Self { number, comments, .. } = self;
        let (created_at, updated_at) = (self.created_at.clone(), self.updated_at.clone());
        let is_subject = self.pull_request.is_some() == (subject == Subject::Pulls);
        let thread = is_subject.then(|| self.thread(repo));
        Listed { number, created_at, updated_at, comments, thread }
    }

    fn thread(self, repo: &str) -> Thread {
        let mut labels: Vec<String> = self.labels.into_iter().filter_map(WireLabel::name).collect();
        labels.sort();
        Thread {
            id: thread_id(repo, self.number),
            repo: repo.to_owned(),
            number: self.number,
            title: self.title.unwrap_or_default(),
            body: self.body.unwrap_or_default(),
            state: self.state.unwrap_or_default(),
            state_reason: self.state_reason,
            labels,
            author: author(self.user, self.author_association),
            created_at: self.created_at,
            updated_at: self.updated_at,
            closed_at: self.closed_at,
            merged_at: self.pull_request.and_then(|pull| pull.merged_at),
            url: self.html_url,
            reactions: self.reactions.map_or(0, |reactions| reactions.total_count),
            comments: Vec::new(),
            reviews: Vec::new(),
        }
    }
}

impl WireComment {
    /// Returns the comment with the thread it belongs to.
    pub(super) fn posted(self) -> Posted {
        let comment = Comment {
            id: Some(self.id),
            author: author(self.user, self.author_association),
            body: self.body.unwrap_or_default(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            reactions: self.reactions.map_or(0, |reactions| reactions.total_count),
            reply_to: self.in_reply_to_id,
            accepted: false,
        };
        let on_pull = self.html_url.map(|url| url.contains("/pull/"));
        let address = self.issue_url.or(self.pull_request_url).unwrap_or_default();
        Posted { id: self.id, address, on_pull, comment }
    }
}

impl Posted {
    /// Returns the number of the thread it belongs to.
    pub(super) fn number(&self) -> Option<u64> {
        self.address.rsplit_once('/')?.1.parse().ok()
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

/// Returns the id of a thread's record.
pub(super) fn thread_id(repo: &str, number: u64) -> String {
    format!("{repo}#{number}")
}

/// Returns a login and whether it is a program's. Whoever was deleted has no login, in whatever way that is said.
pub(super) fn named(login: Option<String>, is_bot: bool) -> (Option<String>, bool) {
    let login = login.filter(|login| !login.is_empty() && login != GHOST);
    let is_bot = login.as_deref().is_some_and(|login| is_bot || login.ends_with("[bot]"));
    (login, is_bot)
}

fn author(user: Option<WireUser>, association: Option<String>) -> Author {
    let Some(user) = user else { return Author { login: None, association, bot: false } };
    let (login, bot) = named(user.login, user.kind.as_deref() == Some("Bot"));
    Author { login, association, bot }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Listed {
        serde_json::from_str::<WireIssue>(text).unwrap().listed("o/r", Subject::Issues)
    }

    #[test]
    fn what_github_leaves_out_or_nulls_is_read() {
        assert_eq!(listed(r#"{"number": 7}"#).thread.unwrap().id, "o/r#7");
        let nulls = r#"{"number": 8, "title": null, "body": null, "user": null, "reactions": null, "pull_request": null,
            "labels": ["plain", {"name": "full"}, {"name": null}], "author_association": "NONE"}"#;
        let thread = listed(nulls).thread.unwrap();
        assert_eq!(thread.labels, ["full", "plain"]);
        assert_eq!(thread.author, Author { login: None, association: Some("NONE".into()), bot: false });
    }

    #[test]
    fn programs_are_known_by_type_or_name_and_ghosts_are_nobody() {
        let of = |user: &str| author(serde_json::from_str(user).unwrap(), None);
        assert!(of(r#"{"login": "renovate", "type": "Bot"}"#).bot);
        assert!(of(r#"{"login": "dependabot[bot]", "type": "User"}"#).bot);
        assert!(!of(r#"{"login": "robot", "type": "User"}"#).bot);
        assert_eq!(of(r#"{"login": "ghost", "type": "User"}"#), Author::default());
    }
}
