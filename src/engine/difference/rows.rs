//! The rows that differ between two builds, to be shown side by side.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::engine::EngineError;
use crate::record::{Changed, Conversation, Line, RecordError, changes};
use crate::store::{Artifact, Store, StoreError};

/// A row that differs between two builds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowChange {
    /// Its id.
    pub id: String,
    /// The row before.
    pub old: Option<Conversation>,
    /// The row now.
    pub new: Option<Conversation>,
}

/// The rows that differ between two builds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowChanges {
    /// The first ones, in order of their ids.
    pub first: Vec<RowChange>,
    /// The ids of all.
    pub ids: Vec<String>,
}

/// Returns the rows or corrections that differ between two record sets and are not in `known`; `limit` are read. None
/// where one is no record set or is gone, and none of records of another sort.
///
/// # Errors
/// Errors of the store.
pub fn row_changes(
    store: &Store,
    old: &Artifact,
    new: &Artifact,
    known: &BTreeSet<String>,
    limit: usize,
) -> Result<RowChanges, EngineError> {
    let mut rows = RowChanges::default();
    let (Artifact::Records(old), Artifact::Records(new), 1..) = (old, new, limit) else { return Ok(rows) };
    let changed = match changes(store, old, new) {
        Err(RecordError::Store(StoreError::Missing { .. } | StoreError::Damaged { .. })) => return Ok(rows),
        changed => changed?,
    };
    let row = |line: Option<&Line<'_>>| -> Result<Option<Conversation>, RecordError> {
        Ok(line.map(Line::record).transpose()?.and_then(|record| record.conversation().cloned()))
    };
    for Changed { old, new } in &changed {
        let Some(id) = new.as_ref().or(old.as_ref()).map(Line::id).filter(|id| !known.contains(*id)) else { continue };
        if rows.ids.len() < limit {
            let (old, new) = (row(old.as_ref())?, row(new.as_ref())?);
            if old.is_none() && new.is_none() {
                return Ok(RowChanges::default());
            }
            rows.first.push(RowChange { id: id.to_owned(), old, new });
        }
        rows.ids.push(id.to_owned());
    }
    Ok(rows)
}
