//! What a fetch goes on from: the last snapshot, or a user's own file.

use super::cursor::{Cursor, Place};
use super::error::Result;
use super::seed::{self, Seed};
use super::settings::Settings;
use super::subject::Subject;
use super::wire::thread_id;
use crate::node::Run;
use crate::record::{RecordSet, Thread};
use crate::store::{Artifact, Digest, RecordsRef};

/// What a fetch goes on from.
pub(super) struct Base<'a> {
    subject: Subject,
    /// The records; nothing for a first fetch from nothing.
    pub(super) records: Option<RecordsRef>,
    set: Option<RecordSet<'a>>,
    /// How far the records go.
    pub(super) cursor: Cursor,
    /// What is known of a user's own records.
    pub(super) seed: Option<Seed>,
}

impl<'a> Base<'a> {
    /// Finds the last snapshot, or reads the file that a first one begins with.
    pub(super) fn find(run: &'a Run<'_>, settings: &Settings, subject: Subject) -> Result<Self> {
        let mut base = Self { subject, records: None, set: None, cursor: Cursor::default(), seed: None };
        if let Some((records, cursor)) = snapshot(run)? {
            base.set = Some(RecordSet::open(run.store, &records)?);
            base.records = Some(records);
            base.cursor = cursor;
        } else if let Some(path) = &settings.seed {
            let (records, seed) = seed::read(run, path, subject, &settings.repos)?;
            base.set = Some(RecordSet::open(run.store, &records)?);
            base.records = Some(records);
            base.seed = Some(seed);
        }
        Ok(base)
    }

    /// Returns what names the base: a journal of pages is good for one only.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.records.map(|records| records.root)
    }

    /// Returns how far a repository was read; nothing when it is new.
    pub(super) fn place(&self, repo: &str) -> Option<&Place> {
        self.cursor.repos.get(repo)
    }

    /// Returns a thread.
    pub(super) fn thread(&self, repo: &str, number: u64) -> Result<Option<Thread>> {
        let Some(set) = &self.set else { return Ok(None) };
        Ok(set.get(&thread_id(repo, number))?.and_then(|record| self.subject.thread(record)))
    }

    /// Returns all threads of a repository.
    pub(super) fn threads(&self, repo: &str) -> impl Iterator<Item = Result<Thread>> {
        let threads = self.set.iter().flat_map(RecordSet::records);
        threads.filter_map(move |record| match record.map(|record| self.subject.thread(record)) {
            Ok(thread) => thread.filter(|thread| thread.repo == repo).map(Ok),
            Err(error) => Some(Err(error.into())),
        })
    }

    /// Returns the ids of records that belong to none of these repositories.
    pub(super) fn foreign(&self, repos: &[String]) -> Result<Vec<String>> {
        let mut foreign = Vec::new();
        for line in self.set.iter().flat_map(RecordSet::lines) {
            let id = line?.id().to_owned();
            let belongs = id.rsplit_once('#').is_some_and(|(repo, _)| repos.iter().any(|named| named == repo));
            if !belongs {
                foreign.push(id);
            }
        }
        Ok(foreign)
    }
}

/// Returns the last snapshot, when all of it is still there and this version made it.
fn snapshot(run: &Run<'_>) -> Result<Option<(RecordsRef, Cursor)>> {
    let Some(Artifact::Records(records)) = run.job.previous.get("records") else { return Ok(None) };
    if !run.store.has(&records.root)? || !RecordSet::open(run.store, records)?.is_complete()? {
        run.note("the last snapshot is in no store: everything is fetched again");
        return Ok(None);
    }
    let cursor = Cursor::read(run.store, run.job.previous.get("cursor"));
    let Some(cursor) = cursor.filter(|cursor| cursor.version == run.job.kind_version) else {
        run.note("the last snapshot was made by another version of this source: everything is fetched again");
        return Ok(None);
    };
    Ok(Some((*records, cursor)))
}
