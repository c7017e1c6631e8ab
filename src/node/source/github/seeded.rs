//! The first fetch over a user's own file: everything is listed, and comments are fetched where the file may lack some.

use super::cursor::time;
use super::error::Result;
use super::fetch::Fetch;
use super::join::Join;
use super::rest::{COMMENTS, Listing, PAGE, REVIEWS};
use super::seed::Seed;
use super::subject::Subject;
use super::wire::{Listed, Posted, thread_id};

/// A listed thread, as far as it matters for what the file lacks.
struct Entry {
    number: u64,
    updated_at: Option<String>,
    comments: u64,
    /// Up to when its comments are known: by the file, or since there was nothing before it was opened.
    until: Option<String>,
    is_whole: bool,
}

/// What was listed beside the threads.
pub(super) struct Lists {
    pub(super) comments: Listing<Posted>,
    pub(super) reviews: Option<Listing<Posted>>,
}

/// Takes all listed threads over those of the file, and fetches the comments that the file may lack: all since the file
/// was written, and those of threads that changed before; all of these at once where that takes fewer requests.
pub(super) fn over_file(join: &mut Join<'_, '_, '_>, seed: &Seed, listed: Vec<Listed>) -> Result<Lists> {
    let mut entries = Vec::new();
    for it in listed {
        let (number, updated_at, comments) = (it.number, it.updated_at.clone(), it.comments);
        let created_at = it.created_at.clone();
        let is_subject = it.thread.is_some();
        join.add_thread(it)?;
        let until = seed.until(&thread_id(join.repo, number)).map(str::to_owned);
        let is_whole = !is_subject || is_whole(join, number, updated_at.as_deref(), comments, until.as_deref());
        entries.push(Entry { number, updated_at, comments, until: until.or(created_at), is_whole });
    }
    let newest = seed.newest.as_deref();
    let lacking: Vec<&Entry> = entries.iter().filter(|entry| !entry.is_whole).collect();
    let alone: Vec<&Entry> =
        lacking.iter().copied().filter(|entry| is_before(entry.until.as_deref(), newest)).collect();
    let oldest = alone.iter().filter_map(|entry| entry.until.as_deref()).min_by_key(|text| time(text)).or(newest);
    let per_thread = if join.fetch.subject == Subject::Pulls { 2 } else { 1 };
    let apart = pages_since(&entries, newest) + alone.len() as u64 * per_thread;
    let (since, alone) = if apart <= pages_since(&entries, oldest) { (newest, alone) } else { (oldest, Vec::new()) };
    let lists = lists(join.fetch, join.repo, since)?;
    for number in alone.iter().map(|entry| entry.number) {
        join.refetch(number)?;
        if join.fetch.subject == Subject::Pulls {
            join.refetch_reviews(number)?;
        }
    }
    if join.fetch.subject == Subject::Pulls {
        // The file has not all comments of a pull request, and is taken as it is where nothing changed.
        for entry in entries.iter().filter(|entry| entry.is_whole) {
            join.counts.remove(&entry.number);
        }
    }
    Ok(lists)
}

/// Returns whether the file has all that is there of a thread.
fn is_whole(join: &Join<'_, '_, '_>, number: u64, updated: Option<&str>, comments: u64, until: Option<&str>) -> bool {
    let (Some(updated), Some(until)) = (updated.and_then(time), until.and_then(time)) else { return comments == 0 };
    let known = join.threads.get(&number).map_or(0, |thread| thread.comments.len() as u64);
    let has_comments = match join.fetch.subject {
        // The scripts left short comments and those of bots out.
        Subject::Pulls => known > 0 || comments == 0,
        _ => known == comments,
    };
    updated <= until && has_comments
}

fn is_before(one: Option<&str>, other: Option<&str>) -> bool {
    one.and_then(time) < other.and_then(time)
}

/// Returns how many pages the comments since a time have, at most: all those of threads that changed since.
fn pages_since(entries: &[Entry], since: Option<&str>) -> u64 {
    let changed = entries.iter().filter(|entry| !is_before(entry.updated_at.as_deref(), since));
    changed.map(|entry| entry.comments).sum::<u64>() / PAGE + 1
}

fn lists(fetch: &Fetch<'_, '_>, repo: &str, since: Option<&str>) -> Result<Lists> {
    let comments = fetch.listing(&COMMENTS, repo, since)?;
    let reviews = (fetch.subject == Subject::Pulls).then(|| fetch.listing(&REVIEWS, repo, since)).transpose()?;
    Ok(Lists { comments, reviews })
}
