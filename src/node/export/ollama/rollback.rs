//! The way back: the alias names again what it named before.

use super::api::Server;
use super::deploy::find;
use super::error::{OllamaError, failure};
use super::settings::Settings;
use super::{Moved, Tag};
use crate::node::ledger::Ledger;
use crate::node::{NodeError, Run};

/// Takes the newest move back. One request does it, so a run that was broken off did it or did not.
pub(super) fn roll_back(run: &Run<'_>, settings: &Settings) -> Result<Vec<String>, NodeError> {
    let mut ledger = Ledger::<Moved>::open(run)?;
    let Moved { server: name, alias, before, after } = ledger.newest()?.clone();
    let server = Server::of(run, &Settings { host: Some(name.clone()), ..settings.clone() }).map_err(failure)?;
    server.version().map_err(failure)?;
    let tags = server.tags().map_err(failure)?;
    let now = find(&tags, &alias);
    let digest = |tag: &Option<Tag>| tag.as_ref().map(|tag| tag.digest.clone());
    let was = before.as_ref().map_or("nothing", |before| before.name.as_str()).to_owned();
    if digest(&now) == digest(&before) {
        ledger.pop()?;
        return Ok(vec![format!("`{alias}` is {was} already, on {name}")]);
    }
    if digest(&now).as_ref() != Some(&after.digest) {
        let found = now.map_or_else(|| "gone".to_owned(), |now| format!("sha256:{}", now.digest));
        return Err(failure(OllamaError::ChangedSince { server: name, alias, found, before: was }));
    }
    let done = if let Some(before) = &before {
        if find(&tags, &before.name).is_none_or(|tag| tag.digest != before.digest) {
            return Err(failure(OllamaError::Gone { server: name, tag: before.name.clone(), alias }));
        }
        server.copy(&before.name, &alias).map_err(failure)?;
        format!("`{alias}` is `{}` again, was `{}`, on {name}", before.name, after.name)
    } else {
        server.delete(&alias).map_err(failure)?;
        format!("`{alias}` is gone again, was `{}`, on {name}", after.name)
    };
    ledger.pop()?;
    Ok(vec![done])
}
