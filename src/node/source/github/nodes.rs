//! GitHub's JSON by GraphQL, as far as it is read, and what becomes of it: the same records as by REST.

use serde::Deserialize;

use super::wire::{named, thread_id};
use crate::record::{Author, Comment, Thread};

/// A list in an answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: Deserialize<'de>")]
pub(super) struct Connection<T> {
    /// How many there are in all.
    pub(super) total_count: Option<u64>,
    page_info: Option<PageInfo>,
    nodes: Option<Vec<Option<T>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    #[serde(default)]
    has_next_page: bool,
    end_cursor: Option<String>,
}

/// An issue or a discussion without its further comments.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Node {
    pub(super) number: u64,
    title: Option<String>,
    body: Option<String>,
    state: Option<String>,
    state_reason: Option<String>,
    closed: Option<bool>,
    created_at: Option<String>,
    pub(super) updated_at: Option<String>,
    closed_at: Option<String>,
    url: Option<String>,
    author: Option<Actor>,
    author_association: Option<String>,
    labels: Option<Connection<Label>>,
    reactions: Option<Total>,
    pub(super) comments: Option<Connection<CommentNode>>,
}

/// A comment, or a reply to one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommentNode {
    /// GraphQL's own name for it.
    pub(super) id: Option<String>,
    full_database_id: Option<Number>,
    database_id: Option<u64>,
    body: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
    author: Option<Actor>,
    author_association: Option<String>,
    reactions: Option<Total>,
    #[serde(default)]
    is_answer: bool,
    pub(super) replies: Option<Connection<CommentNode>>,
}

/// A number that is too large for GraphQL's own.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Number(u64),
}

#[derive(Debug, Deserialize)]
struct Actor {
    #[serde(rename = "__typename")]
    kind: Option<String>,
    login: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Label {
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Total {
    #[serde(default)]
    total_count: u64,
}

impl<T> Connection<T> {
    /// Returns the name of the place after this page, when there are more.
    pub(super) fn next(&self) -> Option<String> {
        let info = self.page_info.as_ref().filter(|info| info.has_next_page)?;
        info.end_cursor.clone()
    }

    /// Returns the name of the place after this page, whether there are more or not.
    pub(super) fn end(&self) -> Option<String> {
        self.page_info.as_ref()?.end_cursor.clone()
    }

    /// Returns whether an entry of the page is missing.
    pub(super) fn has_gap(&self) -> bool {
        self.nodes.iter().flatten().any(Option::is_none)
    }

    /// Returns the entries of the page.
    pub(super) fn entries(self) -> impl Iterator<Item = T> {
        self.nodes.into_iter().flatten().flatten()
    }
}

impl Node {
    /// Makes the thread, without comments.
    pub(super) fn thread(self, repo: &str) -> Thread {
        let labels = self.labels.into_iter().flat_map(Connection::entries).filter_map(|label| label.name);
        let mut labels: Vec<String> = labels.collect();
        labels.sort();
        // Discussions have no state of their own.
        let state = self.state.unwrap_or_else(|| if self.closed == Some(true) { "closed" } else { "open" }.into());
        Thread {
            id: thread_id(repo, self.number),
            repo: repo.to_owned(),
            number: self.number,
            title: self.title.unwrap_or_default(),
            body: self.body.unwrap_or_default(),
            state: state.to_ascii_lowercase(),
            state_reason: self.state_reason.map(|reason| reason.to_ascii_lowercase()),
            labels,
            author: author(self.author, self.author_association),
            created_at: self.created_at,
            updated_at: self.updated_at,
            closed_at: self.closed_at,
            merged_at: None,
            url: self.url,
            reactions: self.reactions.map_or(0, |reactions| reactions.total_count),
            comments: Vec::new(),
            reviews: Vec::new(),
        }
    }
}

impl CommentNode {
    /// Returns the comment's number, the one that REST has.
    pub(super) fn number(&self) -> Option<u64> {
        match &self.full_database_id {
            Some(Number::Text(text)) => text.parse().ok(),
            Some(Number::Number(number)) => Some(*number),
            None => self.database_id,
        }
    }

    /// Makes the comment, which replies to another one where that is named.
    pub(super) fn comment(self, reply_to: Option<u64>) -> Comment {
        Comment {
            id: self.number(),
            author: author(self.author, self.author_association),
            body: self.body.unwrap_or_default(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            reactions: self.reactions.map_or(0, |reactions| reactions.total_count),
            reply_to,
            accepted: self.is_answer,
        }
    }
}

/// Writes an author as REST does: GraphQL leaves the end of a program's login out.
fn author(actor: Option<Actor>, association: Option<String>) -> Author {
    let Some(Actor { kind, login }) = actor else { return Author { login: None, association, bot: false } };
    let is_bot = kind.as_deref() == Some("Bot");
    let login = match login {
        Some(login) if is_bot && !login.ends_with("[bot]") => Some(format!("{login}[bot]")),
        login => login,
    };
    let (login, bot) = named(login, is_bot);
    Author { login, association, bot }
}
