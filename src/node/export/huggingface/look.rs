//! A look whether the hub would take the files: the token, the repository, the rules for its files. Nothing is put there.

use std::collections::BTreeMap;

use serde_json::json;

use super::deploy::{Plan, announced, check_place, check_privacy};
use super::error::failure;
use super::hub::Hub;
use super::settings::Settings;
use crate::node::export::files::{NamedFile, named_files};
use crate::node::{Count, NodeError, Outcome, Run};

/// Looks whether the files could be put into the repository. They are not there where what they are made of passed before.
pub(super) fn look(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    check_place(run, settings)?;
    let files = run.inputs().next().is_some().then(|| named_files(run, &settings.paths)).transpose()?;
    let hub = Hub::of(run, settings).map_err(failure)?;
    hub.may_write().map_err(failure)?;
    let is_private = hub.is_private().map_err(failure)?;
    check_privacy(&hub, settings.private, is_private).map_err(failure)?;
    let head = if is_private.is_some() { hub.head().map_err(failure)? } else { None };
    let changed = match (&head, &files) {
        (Some(head), Some(files)) => changed(&hub, head, files)?,
        (None, Some(files)) => files.len(),
        (_, None) => 0,
    };
    let commit = head.unwrap_or_default();
    let fields =
        [("repo", hub.repo.clone()), ("revision", hub.branch.clone()), ("url", hub.page(&commit)), ("commit", commit)];
    let counts = [
        ("hub takes files; nothing was put there".to_owned(), 1),
        ("files would be changed".to_owned(), changed as u64),
    ];
    Ok(Outcome {
        outputs: BTreeMap::new(),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect(),
        report: counts.into_iter().map(|(what, count)| Count { what, count }).collect(),
    })
}

/// Returns how many files a commit would change, after the hub was asked how it wants them: that it tells to who may write.
fn changed(hub: &Hub<'_, '_>, head: &str, files: &[NamedFile]) -> Result<usize, NodeError> {
    let tree = hub.tree(head).map_err(failure)?;
    let plan = Plan::of(files, &tree, None).map_err(|error| failure(error.into()))?;
    let modes = hub.modes(&announced(&plan).map_err(|error| failure(error.into()))?).map_err(failure)?;
    plan.fits(hub, &modes).map_err(failure)?;
    Ok(plan.changed.len())
}
