//! What a computation over whole sets gave the last few times, so that the next time starts from the nearest one.
//!
//! Only a memo: what it names may be gone from the store, and then the computation starts from nothing.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::diff::{self, ChunkDiff, SetDiff};
use super::error::{RecordError, Result};
use super::set::RecordSet;
use crate::store::{Digest, MemoEntry, RecordsRef, Store, StoreError};

/// How many results of a scope are kept: enough for a few branches or manifests that share a store.
const KEPT: usize = 8;

/// Returns the kept results of `scope`, the newest first.
pub(crate) fn recall<T: DeserializeOwned>(store: &Store, scope: &Digest) -> Result<Vec<T>> {
    let Some(bytes) = store.memo(scope, &newest())? else { return Ok(Vec::new()) };
    // A memo of another form is no error, only no help.
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

/// Keeps a result of `scope` as the newest.
pub(crate) fn remember<T: Serialize + DeserializeOwned + PartialEq>(
    store: &Store,
    scope: Digest,
    result: T,
) -> Result<()> {
    let mut results: Vec<T> = recall(store, &scope)?;
    if results.first() == Some(&result) {
        return Ok(());
    }
    results.retain(|kept| *kept != result);
    results.insert(0, result);
    results.truncate(KEPT);
    let value = serde_json::to_vec(&results)
        .map_err(|cause| RecordError::Unwritable { id: "memo of a record-wise filter".into(), cause })?;
    let entry = MemoEntry { input: newest(), first: String::new(), last: String::new(), value };
    Ok(store.put_memo(scope, entry)?)
}

/// The name under which a scope's newest results are kept.
fn newest() -> Digest {
    Digest::of(b"newest results")
}

/// Of several former inputs, returns the one that differs least from `inputs`, with the differences, one for each set.
/// Nothing when more than half of the chunks differ from all of them: then a new start is cheaper.
pub(super) fn nearest(
    store: &Store,
    inputs: &[RecordsRef],
    former: &[&[RecordsRef]],
) -> Result<Option<(usize, Vec<ChunkDiff>)>> {
    let mut best: Option<(usize, Vec<ChunkDiff>)> = None;
    for (index, sets) in former.iter().enumerate() {
        if sets.len() != inputs.len() {
            continue;
        }
        let diffs = sets.iter().zip(inputs).map(|(old, new)| diff::chunks(store, old, new));
        let diffs = match diffs.collect::<Result<Vec<_>>>() {
            Ok(diffs) => diffs,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error),
        };
        if best.as_ref().is_none_or(|(_, best)| size(&diffs) < size(best)) {
            best = Some((index, diffs));
        }
    }
    let bytes: u64 = inputs.iter().map(|set| set.bytes).sum();
    Ok(best.filter(|(_, diffs)| size(diffs) <= bytes / 2 + (256 << 10)))
}

/// Returns the bytes that must be read to go from one version to the other.
fn size(diffs: &[ChunkDiff]) -> u64 {
    diffs.iter().flat_map(|diff| diff.old.iter().chain(&diff.new)).map(|chunk| chunk.bytes).sum()
}

/// Returns what changed from a former set, when that is less than half of it and the former one is still there.
pub(super) fn near_diff(store: &Store, old: &RecordsRef, new: &RecordsRef) -> Result<Option<SetDiff>> {
    let Some((_, diffs)) = nearest(store, &[*new], &[std::slice::from_ref(old)])? else { return Ok(None) };
    let mut changed = Vec::new();
    for diff in diffs {
        match diff.lines(store) {
            Ok(lines) => changed.extend(lines),
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(SetDiff::of(changed)))
}

/// Returns whether every object of a set is still there.
pub(crate) fn is_whole(store: &Store, set: &RecordsRef) -> Result<bool> {
    are_complete(store, std::slice::from_ref(set))
}

/// Returns whether every object of the sets is still there.
pub(super) fn are_complete(store: &Store, sets: &[RecordsRef]) -> Result<bool> {
    for set in sets {
        match RecordSet::open(store, set).and_then(|set| set.is_complete()) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) if is_gone(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Returns whether the error only says that a former result is no longer in the store.
pub(super) fn is_gone(error: &RecordError) -> bool {
    matches!(error, RecordError::Store(StoreError::Missing { .. } | StoreError::Damaged { .. }))
}
