//! The records that flow between sources and filters, and the rows that training reads.
//!
//! A record's canonical form is its JSON in one line with sorted keys; equal records have equal bytes.

use serde::{Deserialize, Serialize};

use super::text::LongText;
use crate::store::Digest;

/// One record. The texts of threads are `S`: their own, or [`super::Text`] while the JSON that they were read from is at hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", bound(deserialize = "S: Deserialize<'de> + LongText<'de> + Default"))]
pub enum Record<S = String> {
    /// An issue with its comments.
    Issue(Thread<S>),
    /// A pull request with its comments and review threads.
    Pull(Thread<S>),
    /// A discussion with its comments and their replies.
    Discussion(Thread<S>),
    /// A Markdown document.
    Document(Document),
    /// A conversation to train on.
    Row(Conversation),
    /// A conversation that supersedes others.
    Correction(Correction),
}

/// An issue, a pull request or a discussion; they share the numbers of a repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de> + LongText<'de> + Default"))]
pub struct Thread<S = String> {
    /// `owner/name#number`.
    pub id: S,
    /// `owner/name`.
    pub repo: S,
    /// The number in the repository.
    pub number: u64,
    /// The title, as written.
    pub title: S,
    /// The description, as written; empty when there is none.
    #[serde(deserialize_with = "LongText::long")]
    pub body: S,
    /// `open` or `closed`.
    pub state: S,
    /// `completed`, `not_planned`, `duplicate`, … when the upstream says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<S>,
    /// Label names.
    #[serde(default)]
    pub labels: Vec<S>,
    /// Who opened it; nothing for a deleted user.
    #[serde(default)]
    pub author: Author<S>,
    /// RFC 3339, as the upstream gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<S>,
    /// RFC 3339, as the upstream gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<S>,
    /// RFC 3339, as the upstream gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<S>,
    /// For pull requests: when it was merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_at: Option<S>,
    /// Where people read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<S>,
    /// Reactions in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reactions: u64,
    /// Comments in order of time.
    #[serde(default)]
    pub comments: Vec<Comment<S>>,
    /// For pull requests: review threads, each in order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reviews: Vec<Vec<Comment<S>>>,
}

/// Who wrote something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author<S = String> {
    /// The login; nothing for a deleted user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<S>,
    /// `OWNER`, `MEMBER`, `COLLABORATOR`, `CONTRIBUTOR`, `NONE`, … as GitHub has it; nothing when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub association: Option<S>,
    /// Whether the upstream says that it is a program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bot: bool,
}

/// One comment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de> + LongText<'de> + Default"))]
pub struct Comment<S = String> {
    /// The upstream's id, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Who wrote it.
    #[serde(default)]
    pub author: Author<S>,
    /// The text, as written.
    #[serde(deserialize_with = "LongText::long")]
    pub body: S,
    /// RFC 3339, as the upstream gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<S>,
    /// RFC 3339, as the upstream gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<S>,
    /// Reactions in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reactions: u64,
    /// The id of the comment that it replies to, in reviews and discussions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    /// Whether it was marked as the answer of its discussion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
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
    /// The upstream's ids of the comments whose words the row has, where the record's comments have ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl<S: AsRef<str>> Record<S> {
    /// Returns the record's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Issue(thread) | Self::Pull(thread) | Self::Discussion(thread) => thread.id.as_ref(),
            Self::Document(document) => &document.id,
            Self::Row(row) => &row.id,
            Self::Correction(correction) => &correction.conversation.id,
        }
    }

    /// Returns the word for what it is.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Issue(_) => "issue",
            Self::Pull(_) => "pull request",
            Self::Discussion(_) => "discussion",
            Self::Document(_) => "document",
            Self::Row(_) => "row",
            Self::Correction(_) => "correction",
        }
    }

    /// Returns where people read it, when that is known.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Issue(thread) | Self::Pull(thread) | Self::Discussion(thread) => {
                thread.url.as_ref().map(AsRef::as_ref)
            }
            Self::Document(document) => document.url.as_deref(),
            Self::Row(_) | Self::Correction(_) => None,
        }
    }

    /// Returns a thread's comment by the upstream's id.
    pub fn comment(&self, id: u64) -> Option<&Comment<S>> {
        let (Self::Issue(thread) | Self::Pull(thread) | Self::Discussion(thread)) = self else { return None };
        let mut comments = thread.comments.iter().chain(thread.reviews.iter().flatten());
        comments.find(|comment| comment.id == Some(id))
    }

    /// Returns the conversation of a row or a correction.
    pub const fn conversation(&self) -> Option<&Conversation> {
        match self {
            Self::Row(row) => Some(row),
            Self::Correction(correction) => Some(&correction.conversation),
            Self::Issue(_) | Self::Pull(_) | Self::Discussion(_) | Self::Document(_) => None,
        }
    }

    /// Returns the ids that it names: its own, its thread's, those of the records it came from and of what it supersedes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let superseded: &[String] = match self {
            Self::Correction(correction) => &correction.supersedes,
            _ => &[],
        };
        let conversation = self.conversation().into_iter();
        let thread_and_sources = conversation.flat_map(|row| {
            let thread = Some(row.thread.as_str()).filter(|thread| !thread.is_empty());
            thread.into_iter().chain(row.sources.iter().map(|source| source.id.as_str()))
        });
        std::iter::once(self.id()).chain(thread_and_sources).chain(superseded.iter().map(String::as_str))
    }
}
