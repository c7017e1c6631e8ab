//! A deployment: what differs, the large files, the commit, and a look at what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use serde_json::json;
use sha1::{Digest as _, Sha1};

use super::error::{HubError, failure};
use super::hub::{Announced, Hub, Mode, Operation};
use super::settings::{Settings, is_branch, is_repository};
use super::{Blob, Change, Published};
use crate::net::NetError;
use crate::node::export::card::README;
use crate::node::export::files::{NamedFile, named_files};
use crate::node::ledger::Ledger;
use crate::node::{Count, NodeError, Outcome, Run};
use crate::store::hexadecimal;

/// Bytes of all files within one commit. The hub wants larger ones than 10 MB in its storage.
const WITHIN_COMMIT: u64 = 64 << 20;
/// Bytes by which the hub tells text from other files.
const SAMPLE: u64 = 512;

/// Puts the files into the repository.
pub(super) fn deploy(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    check_place(run, settings)?;
    let files = named_files(run, &settings.paths)?;
    let mut ledger = Ledger::<Published>::open(run)?;
    let hub = Hub::of(run, settings).map_err(failure)?;
    let head = branch(&hub, settings.private).map_err(failure)?;
    let tree = hub.tree(&head).map_err(failure)?;
    settle(&mut ledger, &hub, &head, &tree)?;
    let plan = Plan::of(&files, &tree, former(&ledger, &hub)).map_err(|error| failure(error.into()))?;
    let (commit, sent) = if plan.is_empty() {
        run.note(format!("`{}` has these files already, at {head}", hub.repo));
        (head, 0)
    } else {
        publish(&mut ledger, &hub, &head, &plan, &settings.message)?
    };
    if !files.iter().any(|file| file.name == README) && !tree.contains_key(README) {
        run.warn(format!("`{}` has no model card: `export.model-card` makes one", hub.repo));
    }
    let counts = [
        ("files sent", sent),
        ("files changed", plan.changed.len() as u64),
        ("files deleted", plan.stale.len() as u64),
    ];
    let fields =
        [("repo", hub.repo.clone()), ("revision", hub.branch.clone()), ("url", hub.page(&commit)), ("commit", commit)];
    Ok(Outcome {
        outputs: BTreeMap::new(),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect(),
        report: counts.into_iter().map(|(what, count)| Count { what: what.into(), count }).collect(),
    })
}

/// Refuses names that placeholders became and that the hub would not take.
pub(super) fn check_place(run: &Run<'_>, settings: &Settings) -> Result<(), NodeError> {
    if is_repository(&settings.repo) && is_branch(&settings.revision) {
        return Ok(());
    }
    let what = format!("`{}` at `{}` can be no repository's branch", settings.repo, settings.revision);
    Err(run.bad_job(what))
}

/// Refuses a repository that all can read, where that was not asked for.
pub(super) fn check_privacy(hub: &Hub<'_, '_>, asked: Option<bool>, found: Option<bool>) -> Result<(), HubError> {
    match (asked, found) {
        (Some(true), Some(false)) => Err(HubError::Public { repo: hub.repo.clone() }),
        _ => Ok(()),
    }
}

/// Returns the branch's newest commit; repository and branch are made where there are none.
fn branch(hub: &Hub<'_, '_>, private: Option<bool>) -> Result<String, HubError> {
    let mut is_private = hub.is_private()?;
    if is_private.is_none() {
        hub.create(private)?;
        hub.run.note(format!("made the repository `{}`", hub.repo));
        is_private = hub.is_private()?;
    }
    check_privacy(hub, private, is_private)?;
    if let Some(head) = hub.head()? {
        return Ok(head);
    }
    hub.create_branch()?;
    hub.run.note(format!("made the branch `{}` of `{}`", hub.branch, hub.repo));
    let gone = || HubError::Gone { endpoint: hub.endpoint.clone(), repo: hub.repo.clone(), branch: hub.branch.clone() };
    hub.head()?.ok_or_else(gone)
}

/// Returns what this node put there last.
fn former<'l>(ledger: &'l Ledger<'_, Published>, hub: &Hub<'_, '_>) -> Option<&'l Published> {
    ledger.last().filter(|last| last.is_of(hub))
}

/// Settles what a run that was broken off noted: its commit was made, or it was not.
pub(super) fn settle(
    ledger: &mut Ledger<'_, Published>,
    hub: &Hub<'_, '_>,
    head: &str,
    tree: &BTreeMap<String, Blob>,
) -> Result<(), NodeError> {
    let Some(last) = former(ledger, hub).filter(|last| last.commit.is_none()).cloned() else { return Ok(()) };
    if last.before != head && last.changes.iter().all(|(path, change)| tree.get(path) == change.after.as_ref()) {
        return ledger.replace(Published { commit: Some(head.to_owned()), ..last });
    }
    ledger.pop()
}

impl Published {
    pub(super) fn is_of(&self, hub: &Hub<'_, '_>) -> bool {
        (&self.endpoint, &self.repo, &self.branch) == (&hub.endpoint, &hub.repo, &hub.branch)
    }
}

/// What a commit is to change.
pub(super) struct Plan<'f> {
    files: &'f [NamedFile],
    /// Files that the repository has not, or has otherwise.
    pub(super) changed: Vec<(&'f NamedFile, Option<Blob>)>,
    /// Files that this node put there and makes no more.
    stale: Vec<(String, Blob)>,
    /// What the repository has already.
    same: BTreeMap<String, Blob>,
}

impl<'f> Plan<'f> {
    pub(super) fn of(
        files: &'f [NamedFile],
        tree: &BTreeMap<String, Blob>,
        former: Option<&Published>,
    ) -> std::io::Result<Self> {
        let mut plan = Self { files, changed: Vec::new(), stale: Vec::new(), same: BTreeMap::new() };
        for file in files {
            match tree.get(&file.name) {
                Some(blob) if is_same(file, blob)? => {
                    plan.same.insert(file.name.clone(), blob.clone());
                }
                found => plan.changed.push((file, found.cloned())),
            }
        }
        let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let before = former.into_iter().flat_map(|former| &former.files);
        let is_ours =
            |(path, blob): &(&String, &Blob)| !names.contains(path.as_str()) && tree.get(*path) == Some(*blob);
        plan.stale = before.filter(is_ours).map(|(path, blob)| (path.clone(), blob.clone())).collect();
        Ok(plan)
    }

    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.stale.is_empty()
    }

    /// Refuses more bytes within the commit than it takes.
    pub(super) fn fits(&self, hub: &Hub<'_, '_>, modes: &BTreeMap<String, Mode>) -> Result<(), HubError> {
        let mut room = WITHIN_COMMIT;
        for (file, _) in self.changed.iter().filter(|(file, _)| modes.get(&file.name) != Some(&Mode::Lfs)) {
            let (endpoint, path, size) = (hub.endpoint.clone(), file.name.clone(), file.size);
            let too_large = || HubError::TooLarge { endpoint, path, size, limit: WITHIN_COMMIT };
            room = room.checked_sub(size).ok_or_else(too_large)?;
        }
        Ok(())
    }
}

/// Sends what is to be sent, makes the commit and looks at it. Returns it, and how many files went to the storage.
fn publish(
    ledger: &mut Ledger<'_, Published>,
    hub: &Hub<'_, '_>,
    head: &str,
    plan: &Plan<'_>,
    message: &str,
) -> Result<(String, u64), NodeError> {
    let modes = hub.modes(&announced(plan).map_err(|error| failure(error.into()))?).map_err(failure)?;
    plan.fits(hub, &modes).map_err(failure)?;
    let is_large = |file: &NamedFile| modes.get(&file.name) == Some(&Mode::Lfs);
    let large: Vec<&NamedFile> = plan.changed.iter().map(|(file, _)| *file).filter(|file| is_large(file)).collect();
    let sent = hub.send(&large)?;
    let (mut operations, mut changes, mut files) = (Vec::new(), BTreeMap::new(), plan.same.clone());
    for (file, before) in &plan.changed {
        let (path, size) = (file.name.clone(), file.size);
        let after = if is_large(file) {
            operations.push(Operation::Large { path: path.clone(), sha256: file.sha256.clone(), size });
            Blob::Large { sha256: file.sha256.clone(), size }
        } else {
            let bytes = fs_err::read(&file.path).map_err(|error| failure(error.into()))?;
            let oid = git_oid(&bytes);
            operations.push(Operation::Small { path: path.clone(), bytes });
            Blob::Git { oid, size }
        };
        files.insert(path.clone(), after.clone());
        changes.insert(path, Change { before: before.clone(), after: Some(after) });
    }
    for (path, blob) in &plan.stale {
        operations.push(Operation::Deleted { path: path.clone() });
        changes.insert(path.clone(), Change { before: Some(blob.clone()), after: None });
    }
    hub.run.check_cancelled()?;
    let published = Published {
        endpoint: hub.endpoint.clone(),
        repo: hub.repo.clone(),
        branch: hub.branch.clone(),
        before: head.to_owned(),
        commit: None,
        files,
        changes,
    };
    ledger.push(published.clone())?;
    let commit = match committed(hub, head, message, &operations, &published.changes) {
        Ok(commit) => commit,
        Err(error) => {
            // What may have been made is found by the next run; what surely was not is not noted.
            if !matches!(error, HubError::Net(_)) {
                ledger.pop()?;
            }
            return Err(failure(error));
        }
    };
    ledger.replace(Published { commit: Some(commit.clone()), ..published.clone() })?;
    let tree = hub.tree(&commit).map_err(failure)?;
    if let Some(path) = published.files.keys().find(|path| tree.get(*path) != published.files.get(*path)) {
        return Err(failure(HubError::WrongDigest { endpoint: hub.endpoint.clone(), path: path.clone() }));
    }
    let count = plan.files.len();
    hub.run.note(format!("`{}` of `{}` has {count} files at {commit}, was {head}", hub.branch, hub.repo));
    Ok((commit, sent))
}

/// Makes a commit. Where the answer was lost, or another try found it made, the branch itself tells.
pub(super) fn committed(
    hub: &Hub<'_, '_>,
    parent: &str,
    message: &str,
    operations: &[Operation],
    changes: &BTreeMap<String, Change>,
) -> Result<String, HubError> {
    let error = match hub.commit(parent, message, operations) {
        Ok(commit) => return Ok(commit),
        Err(HubError::Net(NetError::Cancelled)) => return Err(NetError::Cancelled.into()),
        Err(error) => error,
    };
    let is_lost = match &error {
        HubError::Net(NetError::Refused { status: 400 | 409 | 412, .. }) => true,
        HubError::Net(error) => error.is_transient() || matches!(error, NetError::NotJson { .. }),
        _ => false,
    };
    if !is_lost {
        return Err(error);
    }
    let Ok(Some(found)) = hub.head() else { return Err(error) };
    if found == parent {
        return Err(error);
    }
    let tree = hub.tree(&found)?;
    if changes.iter().all(|(path, change)| tree.get(path) == change.after.as_ref()) {
        return Ok(found);
    }
    Err(HubError::Moved { repo: hub.repo.clone(), branch: hub.branch.clone(), found })
}

/// Returns what the hub is asked about.
pub(super) fn announced<'f>(plan: &Plan<'f>) -> std::io::Result<Vec<Announced<'f>>> {
    let one = |(file, _): &(&'f NamedFile, Option<Blob>)| {
        let mut sample = Vec::new();
        fs_err::File::open(&file.path)?.take(SAMPLE).read_to_end(&mut sample)?;
        Ok(Announced { path: &file.name, size: file.size, sample })
    };
    plan.changed.iter().map(one).collect()
}

/// Returns whether the repository has the file as it is here.
fn is_same(file: &NamedFile, blob: &Blob) -> std::io::Result<bool> {
    Ok(match blob {
        Blob::Large { sha256, size } => (sha256, size) == (&file.sha256, &file.size),
        Blob::Git { oid, size } => *size == file.size && *oid == git_oid(&fs_err::read(&file.path)?),
    })
}

/// Returns git's name of a content.
pub(super) fn git_oid(bytes: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hexadecimal(&hasher.finalize())
}
