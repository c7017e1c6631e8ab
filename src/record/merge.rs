//! One set from several.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::chunk::SetWriter;
use super::edit::edit;
use super::error::{RecordError, Result};
use super::line::Line;
use super::recall::{are_complete, is_gone, nearest, recall, remember};
use super::set::RecordSet;
use crate::store::{Digest, RecordsRef, Store};

/// A former merge.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Past {
    inputs: Vec<RecordsRef>,
    output: RecordsRef,
}

/// Returns one set with all records of several named ones. Only what changed since a former merge of sets with these
/// names is read.
///
/// # Errors
/// [`RecordError::Shared`] names the first id that two of them hold, and both; errors of the store.
pub fn merge(store: &Store, sets: &[(&str, RecordsRef)]) -> Result<RecordsRef> {
    let inputs: Vec<RecordsRef> = sets.iter().map(|(_, set)| *set).collect();
    match inputs.as_slice() {
        [] => return SetWriter::new(store).finish(),
        [one] => return Ok(*one),
        _ => {}
    }
    let names: Vec<&str> = sets.iter().map(|(name, _)| *name).collect();
    let scope = Digest::of(format!("merge 1\n{}", names.join("\n")).as_bytes());
    let output = match again(store, &scope, &inputs) {
        Ok(Some(output)) => Ok(output),
        Ok(None) => anew(store, &inputs),
        Err(error) => Err(error),
    };
    let output = match output {
        Err(RecordError::Duplicate { id }) => return Err(shared(store, sets, id)?),
        other => other?,
    };
    remember(store, scope, Past { inputs, output })?;
    Ok(output)
}

/// Merges by going on from the nearest former merge.
fn again(store: &Store, scope: &Digest, inputs: &[RecordsRef]) -> Result<Option<RecordsRef>> {
    let past: Vec<Past> = recall(store, scope)?;
    let former: Vec<&[RecordsRef]> = past.iter().map(|past| past.inputs.as_slice()).collect();
    let Some((index, diffs)) = nearest(store, inputs, &former)? else { return Ok(None) };
    let base = past[index].output;
    if !are_complete(store, &[base])? {
        return Ok(None);
    }
    let mut removed = BTreeSet::new();
    let mut inserted = Vec::new();
    for diff in diffs {
        match diff.lines(store) {
            Ok(changed) => {
                for changed in changed {
                    removed.extend(changed.old.map(|line| line.id().to_owned()));
                    inserted.extend(changed.new);
                }
            }
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    edit(store, &base, &removed, inserted).map(Some)
}

/// Merges by putting the records of the smaller sets into the largest.
fn anew(store: &Store, inputs: &[RecordsRef]) -> Result<RecordsRef> {
    let mut inputs = inputs.to_vec();
    inputs.sort_by_key(|set| set.bytes);
    let Some((base, others)) = inputs.split_last() else { return SetWriter::new(store).finish() };
    let mut lines: Vec<Line<'static>> = Vec::new();
    for set in others {
        for line in RecordSet::open(store, set)?.lines() {
            lines.push(line?);
        }
    }
    edit(store, base, &BTreeSet::new(), lines)
}

/// Makes the error for an id that two sets hold, with their names.
fn shared(store: &Store, sets: &[(&str, RecordsRef)], id: String) -> Result<RecordError> {
    let mut holders = Vec::new();
    for (name, set) in sets {
        if RecordSet::open(store, set)?.get(&id)?.is_some() {
            holders.push((*name).to_owned());
        }
    }
    let mut holders = holders.into_iter();
    Ok(match (holders.next(), holders.next()) {
        (Some(first), Some(second)) => RecordError::Shared { id, first, second },
        _ => RecordError::Duplicate { id },
    })
}
