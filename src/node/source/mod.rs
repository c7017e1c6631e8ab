//! Kinds of the family `source`.

mod access;
mod compression;
mod corrections;
mod deepwiki;
mod document;
mod foreign;
mod github;
mod github_docs;
mod globs;
mod jsonl;
mod kept;
mod markdown;
mod repository;
mod text;
mod unpack;
mod website;

pub use corrections::{CorrectionsError, parse as parse_corrections};

use std::path::PathBuf;

use serde_json::Value;

pub use self::deepwiki::read_wiki;
pub use self::website::read_website;
use super::{FileInput, Kind};
use crate::record::Document;

/// Reads a Markdown file as a document: its title, and its text without the metadata block.
pub fn read_markdown(path: &str, text: &str) -> Document {
    document::document("", path, text, None)
}

/// The kinds of this family.
pub(super) const KINDS: &[&dyn Kind] = &[
    &jsonl::Jsonl,
    &markdown::Markdown,
    &github::ISSUES,
    &github::PULLS,
    &github::DISCUSSIONS,
    &github_docs::GithubDocs,
    &deepwiki::Deepwiki,
    &website::Website,
    &corrections::Corrections,
    &super::command::SOURCE,
];

/// Returns the file that the canonical settings `path` and `optional` name.
fn one_file(settings: &Value) -> Vec<FileInput> {
    let path = settings.get("path").and_then(Value::as_str).unwrap_or_default();
    let optional = settings.get("optional").and_then(Value::as_bool).unwrap_or_default();
    vec![FileInput { setting: "path", path: PathBuf::from(path), globs: None, optional }]
}
