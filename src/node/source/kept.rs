//! What a fetch has brought before it came to its end, kept in the store: a fetch that was stopped at any moment goes on
//! after its last whole part, and the next one knows what the last one saw.
//!
//! A fetch with all its tries is a round. A part of this round is not asked for again; one of an earlier round serves
//! to ask whether it changed. A part that the store has lost is as good as none: it is fetched again.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::store::{Digest, Store, StoreError};

/// The parts of one node's fetches from one upstream.
pub(super) struct Kept<'a> {
    store: &'a Store,
    name: String,
    round: u64,
}

/// Where a part is, and in which round it came.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Part {
    round: u64,
    content: Digest,
}

impl<'a> Kept<'a> {
    /// Opens what `node` keeps of the upstream that `parts` name. Another node, or another upstream, keeps its own.
    pub(super) fn open(store: &'a Store, kind: &str, node: &str, upstream: &[&str]) -> Self {
        let place = Digest::of([&[node], upstream].concat().join("\n").as_bytes());
        let name = format!("{kind}/{place}");
        let round = store.state(&name).ok().flatten().unwrap_or_default();
        Self { store, name, round }
    }

    /// Returns a part that came in this round.
    pub(super) fn of_this_round<T: DeserializeOwned>(&self, part: &str) -> Option<T> {
        self.part(part).filter(|kept| kept.round == self.round).and_then(|kept| self.content(&kept))
    }

    /// Returns the last that came of a part, in this round or before.
    pub(super) fn last<T: DeserializeOwned>(&self, part: &str) -> Option<T> {
        self.part(part).and_then(|kept| self.content(&kept))
    }

    /// Keeps a whole part. It is on disk when this returns.
    pub(super) fn keep<T: Serialize>(&self, part: &str, content: &T) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(content)
            .map_err(|cause| StoreError::Unreadable { what: format!("part `{part}` of `{}`", self.name), cause })?;
        let kept = Part { round: self.round, content: self.store.put(&bytes)? };
        self.store.put_state(&self.part_name(part), &kept)?;
        self.store.flush()
    }

    /// Ends the round.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        self.store.put_state(&self.name, &(self.round + 1))
    }

    fn part(&self, part: &str) -> Option<Part> {
        self.store.state(&self.part_name(part)).ok().flatten()
    }

    fn content<T: DeserializeOwned>(&self, part: &Part) -> Option<T> {
        serde_json::from_slice(&self.store.get(&part.content).ok()?).ok()
    }

    fn part_name(&self, part: &str) -> String {
        format!("{}/{}", self.name, Digest::of(part.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_outlive_a_stopped_round_and_are_told_from_those_of_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), None).unwrap();
        let open = |node: &str| Kept::open(&store, "kind", node, &["https://a"]);
        open("it").keep("one", &1).unwrap();
        assert_eq!(open("it").of_this_round::<u32>("one"), Some(1));
        assert_eq!(open("other").last::<u32>("one"), None);
        open("it").finish().unwrap();
        assert_eq!((open("it").of_this_round::<u32>("one"), open("it").last::<u32>("one")), (None, Some(1)));
        assert_eq!(open("it").last::<String>("one"), None, "what is no such content is none");
    }
}
