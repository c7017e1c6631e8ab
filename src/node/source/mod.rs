//! Kinds of the family `source`.

mod corrections;
mod document;
mod github_docs;
mod github_issues;
mod globs;
mod jsonl;
mod markdown;
mod unpack;

pub use corrections::{CorrectionsError, parse as parse_corrections};

use std::path::PathBuf;

use serde_json::Value;

use super::{FileInput, Kind};

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[
    &jsonl::Jsonl,
    &markdown::Markdown,
    &github_issues::GithubIssues,
    &github_docs::GithubDocs,
    &corrections::Corrections,
    &super::command::SOURCE,
];

/// Returns the file that the canonical settings `path` and `optional` name.
fn one_file(settings: &Value) -> Vec<FileInput> {
    let path = settings.get("path").and_then(Value::as_str).unwrap_or_default();
    let optional = settings.get("optional").and_then(Value::as_bool).unwrap_or_default();
    vec![FileInput { setting: "path", path: PathBuf::from(path), globs: None, optional }]
}
