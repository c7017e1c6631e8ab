//! A user's own file as the first snapshot: what the scripts before tunesmith had fetched.
//!
//! Such records have the times of what is in them and not the time when they were fetched. But the file was written in
//! the order of fetching, so each line was fetched no earlier than the newest time on it and on all lines before it: up to
//! then it is known to be whole. It may be packed by gzip or Zstandard.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::cursor::later;
use super::error::{GithubError, Result};
use super::subject::Subject;
use super::wire::named;
use crate::node::Run;
use crate::node::source::text::{Text, TextError};
use crate::record::{Comment, Form, Thread, import, write};
use crate::store::RecordsRef;

/// Bytes that are read at a time, and the rest of the last line in them.
const PIECE: u64 = 4 << 20;

/// What is known of a user's own records.
#[derive(Debug, Default)]
pub(super) struct Seed {
    /// By id: up to when the record is whole.
    until: BTreeMap<String, Option<String>>,
    /// The newest time in the file: it was not written before.
    pub(super) newest: Option<String>,
    /// Lines that are no records, such as a torn one.
    pub(super) bad: u64,
}

impl Seed {
    /// Returns up to when a record is whole; nothing when the file does not have it.
    pub(super) fn until(&self, id: &str) -> Option<&str> {
        self.until.get(id)?.as_deref()
    }
}

/// Reads the file into records of the named repositories; of two lines with the same id the later one counts.
pub(super) fn read(run: &Run<'_>, path: &str, subject: Subject, repos: &[String]) -> Result<(RecordsRef, Seed)> {
    let Some(file) = run.files("seed").next() else {
        return Err(GithubError::SeedMissing { path: PathBuf::from(path) });
    };
    fs_err::create_dir_all(run.scratch()).map_err(TextError::Io)?;
    let text = Text::open(&file.path, run.scratch())?;
    let form = if subject == Subject::Pulls { Form::Pulls } else { Form::Issues };
    let only = if let [repo] = repos { Some(repo.as_str()) } else { None };
    let mut seed = Seed::default();
    let mut threads: BTreeMap<String, Thread> = BTreeMap::new();
    let mut start = 0;
    while start < text.length() {
        let end = text.line_end(start + PIECE).map_err(TextError::Io)?;
        let piece = text.read(start, (end - start) as usize).map_err(TextError::Io)?;
        for line in piece.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            // A torn line lost its end: its thread is fetched like one that the file has not.
            let Some(mut thread) = import(form, line, only).ok().and_then(|record| subject.thread(record)) else {
                seed.bad += 1;
                continue;
            };
            seed.newest = later(seed.newest.take(), newest_in(&thread));
            if repos.contains(&thread.repo) {
                normalise(&mut thread);
                seed.until.insert(thread.id.clone(), seed.newest.clone());
                threads.insert(thread.id.clone(), thread);
            }
        }
        start = end;
    }
    run.note(format!("{} {} begin the first snapshot, from `{path}`", threads.len(), subject.plural()));
    if seed.bad > 0 {
        run.warn(format!(
            "`{path}` has {} lines that are no {}; what they held is fetched",
            seed.bad,
            subject.plural()
        ));
    }
    let records = write(run.store, threads.into_values().map(|thread| subject.record(thread)))?;
    Ok((records, seed))
}

/// Returns the newest time in a thread.
fn newest_in(thread: &Thread) -> Option<String> {
    let of = |comment: &Comment| later(comment.created_at.clone(), comment.updated_at.clone());
    let own = [&thread.created_at, &thread.updated_at, &thread.closed_at, &thread.merged_at].into_iter().cloned();
    let comments = thread.comments.iter().chain(thread.reviews.iter().flatten()).map(of);
    own.chain(comments).fold(None, later)
}

/// Writes authors as the fetcher does.
fn normalise(thread: &mut Thread) {
    thread.labels.sort();
    let comments = thread.comments.iter_mut().chain(thread.reviews.iter_mut().flatten());
    let authors = comments.map(|comment| &mut comment.author).chain([&mut thread.author]);
    for author in authors {
        let (login, bot) = named(author.login.take(), author.bot);
        (author.login, author.bot) = (login, bot);
    }
}
