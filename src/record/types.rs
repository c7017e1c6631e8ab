//! The records that flow between sources and filters, and the rows that training reads.
//!
//! A record's canonical form is its JSON in one line with sorted keys; equal records have equal bytes.

use serde::{Deserialize, Serialize};

use crate::store::Digest;

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Record {
    /// An issue with its comments.
    Issue(Thread),
    /// A pull request with its comments and review threads.
    Pull(Thread),
    /// A Markdown document.
    Document(Document),
    /// A conversation to train on.
    Row(Conversation),
    /// A conversation that supersedes others.
    Correction(Correction),
}

/// An issue or a pull request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// `owner/name#number`.
    pub id: String,
    /// `owner/name`.
    pub repo: String,
    /// The number in the repository.
    pub number: u64,
    /// The title, as written.
    pub title: String,
    /// The description, as written; empty when there is none.
    pub body: String,
    /// `open` or `closed`.
    pub state: String,
    /// `completed`, `not_planned`, `duplicate`, … when the upstream says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    /// Label names.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Who opened it; nothing for a deleted user.
    #[serde(default)]
    pub author: Author,
    /// RFC 3339, as the upstream gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// RFC 3339, as the upstream gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// RFC 3339, as the upstream gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<String>,
    /// For pull requests: when it was merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_at: Option<String>,
    /// Where people read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Reactions in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reactions: u64,
    /// Comments in order of time.
    #[serde(default)]
    pub comments: Vec<Comment>,
    /// For pull requests: review threads, each in order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<Vec<Comment>>,
}

/// Who wrote something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The login; nothing for a deleted user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// `OWNER`, `MEMBER`, `COLLABORATOR`, `CONTRIBUTOR`, `NONE`, … as GitHub has it; nothing when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub association: Option<String>,
    /// Whether the upstream says that it is a program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bot: bool,
}

/// One comment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comment {
    /// The upstream's id, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Who wrote it.
    #[serde(default)]
    pub author: Author,
    /// The text, as written.
    pub body: String,
    /// RFC 3339, as the upstream gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// RFC 3339, as the upstream gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
    /// Reactions in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reactions: u64,
}

/// A Markdown document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// `repository/path` or the URL.
    pub id: String,
    /// The repository or site, when known.
    #[serde(default)]
    pub repo: String,
    /// The path in it, with `/`.
    pub path: String,
    /// The title, from the front matter or the first heading.
    #[serde(default)]
    pub title: String,
    /// Markdown.
    pub content: String,
    /// Where people read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A conversation: one row of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Unique among the rows; starts with the id of the record it came from.
    pub id: String,
    /// Rows of one thread are never parted by a split.
    pub thread: String,
    /// The turns in order; the system prompt first, where there is one.
    pub turns: Vec<Turn>,
    /// The records it came from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceRef>,
    /// How often the row counts; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// A conversation that supersedes what it corrects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// The right conversation.
    #[serde(flatten)]
    pub conversation: Conversation,
    /// Ids of records or rows that it supersedes, beside rows with the same question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supersedes: Vec<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub text: String,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The instructions above all.
    System,
    /// The one who asks: `human` in ShareGPT.
    User,
    /// The model: `gpt` in ShareGPT. Its turns are what is trained.
    Assistant,
}

/// The record that a row came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRef {
    /// The record's id.
    pub id: String,
    /// The digest of its canonical form.
    pub digest: Digest,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Record {
    /// Returns the record's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Issue(thread) | Self::Pull(thread) => &thread.id,
            Self::Document(document) => &document.id,
            Self::Row(row) => &row.id,
            Self::Correction(correction) => &correction.conversation.id,
        }
    }
}
