//! The way back: the alias names again what it named before.

use super::error::{OciError, failure};
use super::reference::Reference;
use super::registry::Registry;
use super::settings::Settings;
use super::{Moved, Tag};
use crate::node::ledger::Ledger;
use crate::node::{NodeError, Run};

/// Takes the newest move back. One request does it, so a run that was broken off did it or did not.
pub(super) fn roll_back(run: &Run<'_>, settings: &Settings) -> Result<Vec<String>, NodeError> {
    let mut ledger = Ledger::<Moved>::open(run)?;
    let Moved { repository, alias, before, after } = ledger.newest()?.clone();
    let place = format!("{repository}:{alias}");
    let reference: Reference = place.parse().map_err(|why: &str| run.bad_job(why.to_owned()))?;
    let registry = Registry::of(run, settings, reference).map_err(failure)?;
    let now = registry.digest(&alias).map_err(failure)?;
    let digest = |tag: &Option<Tag>| tag.as_ref().map(|tag| tag.digest.clone());
    let was = before.as_ref().map_or("nothing", |before| before.name.as_str()).to_owned();
    if now == digest(&before) {
        ledger.pop()?;
        return Ok(vec![format!("`{place}` is {was} already")]);
    }
    if now.as_ref() != Some(&after.digest) {
        let found = now.unwrap_or_else(|| "gone".to_owned());
        return Err(failure(OciError::ChangedSince { repository, alias, found, before: was }));
    }
    let done = if let Some(before) = &before {
        let manifest = registry.manifest(&before.digest).map_err(failure)?;
        let gone = || OciError::Gone { repository: repository.clone(), tag: before.name.clone(), alias: alias.clone() };
        let manifest = manifest.ok_or_else(|| failure(gone()))?;
        registry.put_manifest(&alias, &manifest).map_err(failure)?;
        format!("`{place}` is `{}` again, was `{}`", before.name, after.name)
    } else {
        if !registry.delete(&alias).map_err(failure)? {
            return Err(failure(OciError::NoDelete { repository, alias }));
        }
        format!("`{place}` is gone again, was `{}`", after.name)
    };
    ledger.pop()?;
    Ok(vec![done])
}
