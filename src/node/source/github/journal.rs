//! What a fetch has brought so far, kept in the store so that a failed one goes on and nothing is asked twice.
//!
//! Pages come in order of their last change, so a fetch that goes on later asks for what changed since the last page:
//! whatever changed meanwhile comes again with its new content. That makes an old journal as good as a new one.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::rest::PAGE;
use crate::net::{Cached, Replies};
use crate::store::{Digest, Store, StoreError};

/// The pages of one listing of one repository.
pub(super) struct Journal<'a> {
    store: &'a Store,
    name: String,
    state: State,
}

/// What is kept between tries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct State {
    /// The snapshot that the pages are news to.
    base: Option<Digest>,
    /// The pages in order, as JSON lists in the store.
    pages: Vec<Digest>,
    /// Entries on them.
    entries: u64,
    /// The last change on them.
    last: Option<String>,
    /// GraphQL's name for the place after them.
    after: Option<String>,
    /// The newest change that there was upstream before the first page was asked for, where that was asked.
    begun: Option<String>,
}

impl<'a> Journal<'a> {
    /// Opens the journal of `listing`; one that was made upon another snapshot is begun anew.
    pub(super) fn open(store: &'a Store, listing: &str, base: Option<Digest>) -> Self {
        let name = format!("github/pages/{listing}");
        // A journal in another version's form is worth no error: its pages are fetched again.
        let state = store.state::<State>(&name).ok().flatten().filter(|state| state.base == base);
        let state = state.unwrap_or(State { base, ..State::default() });
        Self { store, name, state }
    }

    /// Returns what the pages so far hold. When a page is gone the journal is begun anew.
    pub(super) fn entries<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, StoreError> {
        let mut entries = Vec::new();
        for page in &self.state.pages {
            let read = self.store.get(page).ok().and_then(|bytes| serde_json::from_slice::<Vec<T>>(&bytes).ok());
            let Some(mut read) = read else {
                self.forget()?;
                return Ok(Vec::new());
            };
            entries.append(&mut read);
        }
        Ok(entries)
    }

    /// Returns when the last entry so far changed.
    pub(super) fn last(&self) -> Option<&str> {
        self.state.last.as_deref()
    }

    /// Returns GraphQL's name for the place after the last page.
    pub(super) fn after(&self) -> Option<&str> {
        self.state.after.as_deref()
    }

    /// Notes the newest change upstream, before the first page is asked for.
    pub(super) fn begin(&mut self, newest: Option<String>) -> Result<(), StoreError> {
        self.state.begun = newest;
        self.store.put_state(&self.name, &self.state)
    }

    /// Returns the newest change that there was before the first page.
    pub(super) fn begun(&self) -> Option<&str> {
        self.state.begun.as_deref()
    }

    /// Returns how many entries there are so far.
    pub(super) fn count(&self) -> u64 {
        self.state.entries
    }

    /// Keeps a page whose last change is `last`, durably: whatever ends this process, the page is not asked for again.
    pub(super) fn push<T: Serialize>(
        &mut self,
        page: &[T],
        last: Option<String>,
        after: Option<String>,
    ) -> Result<(), StoreError> {
        let what = || format!("a page of `{}`", self.name);
        let bytes = serde_json::to_vec(page).map_err(|cause| StoreError::Unreadable { what: what(), cause })?;
        self.state.pages.push(self.store.put(&bytes)?);
        self.state.entries += page.len() as u64;
        self.state.last = last.or(self.state.last.take());
        self.state.after = after;
        self.store.put_state(&self.name, &self.state)?;
        self.store.flush()
    }

    /// Begins the journal anew.
    pub(super) fn forget(&mut self) -> Result<(), StoreError> {
        let empty = State { base: self.state.base, ..State::default() };
        if self.state == empty {
            return Ok(());
        }
        self.state = empty;
        self.store.put_state(&self.name, &self.state)
    }
}

/// The last reply to a listing's first question, by its `ETag`: where nothing is new, GitHub says so for nothing.
pub(super) struct LastReply<'a> {
    store: &'a Store,
    name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kept {
    key: String,
    etag: String,
    link: Option<String>,
    body: Digest,
}

impl<'a> LastReply<'a> {
    pub(super) fn of(store: &'a Store, listing: &str) -> Self {
        Self { store, name: format!("github/reply/{listing}") }
    }
}

/// A reply that cannot be kept or read is asked for again, so errors of the store are none here.
impl Replies for LastReply<'_> {
    fn get(&self, key: &str) -> Option<Cached> {
        let kept = self.store.state::<Kept>(&self.name).ok().flatten().filter(|kept| kept.key == key)?;
        Some(Cached { etag: kept.etag, link: kept.link, body: self.store.get(&kept.body).ok()? })
    }

    /// A full page may be followed by another one the next time and be the same, so only short ones are kept.
    fn put(&self, key: &str, reply: &Cached) {
        if serde_json::from_slice::<Vec<IgnoredAny>>(&reply.body).is_ok_and(|page| page.len() as u64 >= PAGE) {
            return;
        }
        let Ok(body) = self.store.put(&reply.body) else { return };
        let kept = Kept { key: key.to_owned(), etag: reply.etag.clone(), link: reply.link.clone(), body };
        self.store.put_state(&self.name, &kept).ok();
    }
}
