//! The way back: a commit that puts the files back as they were before. The hub has no safe way to make a branch forget a
//! commit, and readers may hold its name.

use std::collections::BTreeMap;

use super::deploy::{committed, git_oid, settle};
use super::error::{HubError, failure};
use super::hub::{Hub, Operation};
use super::settings::Settings;
use super::{Blob, Change, Published};
use crate::node::ledger::Ledger;
use crate::node::{NodeError, Run};

/// Takes the newest commit back. A run that was broken off made the commit or did not; the files tell.
pub(super) fn roll_back(run: &Run<'_>, settings: &Settings) -> Result<Vec<String>, NodeError> {
    let mut ledger = Ledger::<Published>::open(run)?;
    let last = ledger.newest()?.clone();
    let there = Settings {
        endpoint: Some(last.endpoint.clone()),
        repo: last.repo.clone(),
        revision: last.branch.clone(),
        ..settings.clone()
    };
    let hub = Hub::of(run, &there).map_err(failure)?;
    let gone =
        || HubError::Gone { endpoint: last.endpoint.clone(), repo: last.repo.clone(), branch: last.branch.clone() };
    let head = hub.head().map_err(failure)?.ok_or_else(|| failure(gone()))?;
    let tree = hub.tree(&head).map_err(failure)?;
    settle(&mut ledger, &hub, &head, &tree)?;
    let last = ledger.newest()?.clone();
    let (place, before) = (format!("`{}` of `{}`", last.branch, last.repo), &last.before);
    if last.changes.iter().all(|(path, change)| tree.get(path) == change.before.as_ref()) {
        ledger.pop()?;
        return Ok(vec![format!("{place} has the files of {before} already")]);
    }
    if let Some((path, _)) = last.changes.iter().find(|(path, change)| tree.get(*path) != change.after.as_ref()) {
        let (repo, path, before) = (last.repo.clone(), path.clone(), before.clone());
        return Err(failure(HubError::ChangedSince { repo, path, before }));
    }
    let operations = last.changes.iter().map(|(path, change)| put_back(&hub, before, path, change.before.as_ref()));
    let operations = operations.collect::<Result<Vec<_>, _>>().map_err(failure)?;
    let changes: BTreeMap<String, Change> = last
        .changes
        .iter()
        .map(|(path, change)| (path.clone(), Change { before: change.after.clone(), after: change.before.clone() }))
        .collect();
    let message = format!("Take back {}", last.commit.as_deref().unwrap_or(&head));
    let commit = committed(&hub, &head, &message, &operations, &changes).map_err(failure)?;
    ledger.pop()?;
    Ok(vec![format!("{place} has the files of {before} again, as commit {commit}; {head} stays what it is")])
}

/// Returns what puts a file back. The hub's storage still has the large ones, since a commit names them.
fn put_back(hub: &Hub<'_, '_>, before: &str, path: &str, blob: Option<&Blob>) -> Result<Operation, HubError> {
    let path = path.to_owned();
    Ok(match blob {
        None => Operation::Deleted { path },
        Some(Blob::Large { sha256, size }) => Operation::Large { path, sha256: sha256.clone(), size: *size },
        Some(Blob::Git { oid, .. }) => {
            let bytes = hub.small_file(before, &path)?;
            if git_oid(&bytes) != *oid {
                return Err(HubError::WrongDigest { endpoint: hub.endpoint.clone(), path });
            }
            Operation::Small { path, bytes }
        }
    })
}
