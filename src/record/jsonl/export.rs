//! Records as the JSON lines that people and other tools read: `ShareGPT` for rows, `raw_*.jsonl` for the rest.

use std::io::Write;

use serde::Serialize;

use super::super::error::{RecordError, Result};
use super::super::set::RecordSet;
use super::super::types::{Author, Comment, Conversation, Document, Record, Role, Thread};
use crate::store::{RecordsRef, Store};

/// Writes a set, one JSON object a line in order of the ids, one chunk in memory at a time.
///
/// Rows become `{"conversations":[{"from":"human","value":…},…],"source":ID}`; issues, pull requests and documents keep
/// the names of GitHub's fields, with authors as logins.
///
/// # Errors
/// Errors of the store and of the writer.
pub fn export_jsonl(store: &Store, records: &RecordsRef, writer: &mut dyn Write) -> Result<()> {
    for record in RecordSet::open(store, records)?.records() {
        let record = record?;
        let text = line(&record).map_err(|cause| RecordError::Unwritable { id: record.id().to_owned(), cause })?;
        writer.write_all(text.as_bytes())?;
        writer.write_all(b"\n")?;
    }
    Ok(writer.flush()?)
}

fn line(record: &Record) -> serde_json::Result<String> {
    match record {
        Record::Issue(thread) | Record::Discussion(thread) => serde_json::to_string(&RawThread::of(thread)),
        Record::Pull(thread) => serde_json::to_string(&RawPull::of(thread)),
        Record::Document(document) => serde_json::to_string(&RawDocument::of(document)),
        Record::Row(row) => serde_json::to_string(&ShareGpt::of(row)),
        Record::Correction(correction) => serde_json::to_string(&RawCorrection {
            row: ShareGpt::of(&correction.conversation),
            supersedes: &correction.supersedes,
            note: correction.note.as_deref(),
        }),
    }
}

#[derive(Serialize)]
struct ShareGpt<'a> {
    conversations: Vec<Message<'a>>,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
}

#[derive(Serialize)]
struct Message<'a> {
    from: &'static str,
    value: &'a str,
}

#[derive(Serialize)]
struct RawCorrection<'a> {
    #[serde(flatten)]
    row: ShareGpt<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    supersedes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

#[derive(Serialize)]
struct RawThread<'a> {
    repo: &'a str,
    number: u64,
    title: &'a str,
    body: &'a str,
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason: Option<&'a str>,
    labels: &'a [String],
    author: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author_association: Option<&'a str>,
    created_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<&'a str>,
    closed_at: Option<&'a str>,
    comments: Vec<RawComment<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
}

#[derive(Serialize)]
struct RawPull<'a> {
    #[serde(flatten)]
    thread: RawThread<'a>,
    merged_at: Option<&'a str>,
    review_threads: Vec<Vec<RawComment<'a>>>,
}

#[derive(Serialize)]
struct RawComment<'a> {
    author: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author_association: Option<&'a str>,
    body: &'a str,
    created_at: Option<&'a str>,
}

#[derive(Serialize)]
struct RawDocument<'a> {
    repo: &'a str,
    path: &'a str,
    title: &'a str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
}

impl<'a> ShareGpt<'a> {
    fn of(row: &'a Conversation) -> Self {
        let conversations = row.turns.iter().map(|turn| Message {
            from: match turn.role {
                Role::System => "system",
                Role::User => "human",
                Role::Assistant => "gpt",
            },
            value: &turn.text,
        });
        Self { conversations: conversations.collect(), source: &row.id, weight: row.weight }
    }
}

impl<'a> RawThread<'a> {
    fn of(thread: &'a Thread) -> Self {
        Self {
            repo: &thread.repo,
            number: thread.number,
            title: &thread.title,
            body: &thread.body,
            state: &thread.state,
            state_reason: thread.state_reason.as_deref(),
            labels: &thread.labels,
            author: login(&thread.author),
            author_association: thread.author.association.as_deref(),
            created_at: thread.created_at.as_deref(),
            updated_at: thread.updated_at.as_deref(),
            closed_at: thread.closed_at.as_deref(),
            comments: thread.comments.iter().map(RawComment::of).collect(),
            url: thread.url.as_deref(),
        }
    }
}

impl<'a> RawPull<'a> {
    fn of(thread: &'a Thread) -> Self {
        let reviews = thread.reviews.iter().map(|review| review.iter().map(RawComment::of).collect());
        Self {
            thread: RawThread::of(thread),
            merged_at: thread.merged_at.as_deref(),
            review_threads: reviews.collect(),
        }
    }
}

impl<'a> RawComment<'a> {
    fn of(comment: &'a Comment) -> Self {
        Self {
            author: login(&comment.author),
            author_association: comment.author.association.as_deref(),
            body: &comment.body,
            created_at: comment.created_at.as_deref(),
        }
    }
}

impl<'a> RawDocument<'a> {
    fn of(document: &'a Document) -> Self {
        Self {
            repo: &document.repo,
            path: &document.path,
            title: &document.title,
            content: &document.content,
            url: document.url.as_deref(),
        }
    }
}

fn login(author: &Author) -> Option<&str> {
    author.login.as_deref()
}
