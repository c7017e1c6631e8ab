//! A deployment: files, the immutable tag, the alias, and what is too old.

use std::collections::BTreeMap;

use serde_json::json;

use super::api::Server;
use super::error::{OllamaError, failure};
use super::local::LocalStore;
use super::name::ModelName;
use super::recipe::{Part, Recipe};
use super::settings::Settings;
use super::{Moved, Tag};
use crate::node::ledger::Ledger;
use crate::node::{Count, NodeError, Outcome, Run};

/// Digits of a manifest's digest in the tag that keeps what an alias named before.
const DIGITS: usize = 12;

/// Puts a model on the server and moves the alias to it.
pub(super) fn deploy(run: &Run<'_>, settings: &Settings, recipe: &Recipe) -> Result<Outcome, NodeError> {
    let alias: ModelName = settings.name.parse().map_err(|why: &str| run.bad_job(why.to_owned()))?;
    let mut ledger = Ledger::<Moved>::open(run)?;
    let server = Server::of(run, settings).map_err(failure)?;
    let mut deployment = Deployment { run, server, alias, sent: 0 };
    let version = deployment.server.version().map_err(failure)?;
    let tag = deployment.alias.with(&recipe.digits());
    let tag = deployment.tag(&mut ledger, &tag, recipe, &version)?;
    let moved = deployment.move_alias(&mut ledger, &tag)?;
    let deleted = deployment.delete_old(&mut ledger, &tag, settings.keep)?;
    if deployment.sent == 0 && !moved {
        run.note(format!("`{}` is `{}` already", deployment.alias, tag.name));
    }
    let counts = [("files sent", deployment.sent), ("aliases moved", u64::from(moved)), ("old tags deleted", deleted)];
    Ok(Outcome {
        outputs: BTreeMap::new(),
        fields: BTreeMap::from([
            ("tag".to_owned(), json!(tag.name)),
            ("alias".to_owned(), json!(deployment.alias.to_string())),
            ("digest".to_owned(), json!(tag.digest)),
        ]),
        report: counts.into_iter().map(|(what, count)| Count { what: what.into(), count }).collect(),
    })
}

/// Looks whether the server would take the model, and puts nothing there.
pub(super) fn look(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let alias: ModelName = settings.name.parse().map_err(|why: &str| run.bad_job(why.to_owned()))?;
    let recipe = run.inputs().next().is_some().then(|| Recipe::of(run, settings)).transpose()?;
    let server = Server::of(run, settings).map_err(failure)?;
    let version = server.version().map_err(failure)?;
    server.check_version(&version).map_err(failure)?;
    let tags = server.tags().map_err(failure)?;
    if let Some(base) = &settings.base {
        let base: ModelName = base.parse().map_err(|why: &str| run.bad_job(why.to_owned()))?;
        let (server, base) = (server.name(), base.to_string());
        find(&tags, &base).ok_or_else(|| failure(OllamaError::NoBase { server, base }))?;
    }
    let tag = recipe.map_or_else(|| alias.to_string(), |recipe| alias.with(&recipe.digits()));
    let fields = [("tag", json!(tag)), ("alias", json!(alias.to_string())), ("digest", json!(""))];
    Ok(Outcome {
        outputs: BTreeMap::new(),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        report: vec![Count { what: format!("server answers, Ollama {version}; nothing was put there"), count: 1 }],
    })
}

/// Returns the tag of this name.
pub(super) fn find(tags: &[Tag], name: &str) -> Option<Tag> {
    tags.iter().find(|tag| tag.name == name).cloned()
}

struct Deployment<'a, 'r> {
    run: &'a Run<'r>,
    server: Server<'a, 'r>,
    alias: ModelName,
    sent: u64,
}

impl Deployment<'_, '_> {
    /// Returns the immutable tag, made where the server has it not.
    fn tag(
        &mut self,
        ledger: &mut Ledger<'_, Moved>,
        name: &str,
        recipe: &Recipe,
        version: &str,
    ) -> Result<Tag, NodeError> {
        let known = ledger.last().filter(|last| last.server == self.server.name() && last.after.name == name);
        let known = known.map(|last| last.after.digest.clone());
        let tags = self.server.tags().map_err(failure)?;
        // A tag of that name with another digest is somebody's doing: it is made again.
        if let Some(tag) = find(&tags, name).filter(|tag| known.as_ref().is_none_or(|known| *known == tag.digest)) {
            return Ok(tag);
        }
        for part in recipe.parts() {
            self.bring(part, version)?;
        }
        if find(&tags, name).is_none() {
            ledger.make(name)?;
        }
        self.server.create(name, &recipe.body(), version).map_err(failure)?;
        self.run.note(format!("created `{name}`"));
        let tag = find(&self.server.tags().map_err(failure)?, name);
        let not_listed = || OllamaError::NotListed { server: self.server.name(), tag: name.to_owned() };
        tag.ok_or_else(|| failure(not_listed()))
    }

    /// Brings a file to the server, unless the server has it.
    fn bring(&mut self, part: &Part, version: &str) -> Result<(), NodeError> {
        if self.server.has(part).map_err(failure)? {
            return Ok(());
        }
        if let Some(store) = LocalStore::of(self.run, &self.server)
            && store.share(self.run, &self.server, part)?
        {
            self.run
                .note(format!("`{}` is in the server's store without a copy: it shares its blocks there", part.name));
            return Ok(());
        }
        self.server.send(part, version).map_err(failure)?;
        self.sent += 1;
        Ok(())
    }

    /// Moves the alias to the tag, unless it names it. Returns whether it was moved.
    fn move_alias(&self, ledger: &mut Ledger<'_, Moved>, tag: &Tag) -> Result<bool, NodeError> {
        let (server, alias) = (self.server.name(), self.alias.to_string());
        let tags = self.server.tags().map_err(failure)?;
        let before = find(&tags, &alias);
        if before.as_ref().is_some_and(|before| before.digest == tag.digest) {
            return Ok(false);
        }
        let before = before.map(|before| self.kept(ledger, &tags, &before)).transpose()?;
        let moved = Moved { server, alias: alias.clone(), before, after: tag.clone() };
        // A run that was broken off right here noted the same.
        if ledger.last() != Some(&moved) {
            ledger.push(moved.clone())?;
        }
        self.server.copy(&tag.name, &alias).map_err(failure)?;
        let before = moved.before.map_or_else(|| "nothing".to_owned(), |before| format!("`{}`", before.name));
        self.run.note(format!("`{alias}` is `{}` now, was {before}", tag.name));
        Ok(true)
    }

    /// Returns a tag that goes on naming what the alias names. Where there is none but the alias, one is made: the server
    /// would drop the model else.
    fn kept(&self, ledger: &mut Ledger<'_, Moved>, tags: &[Tag], before: &Tag) -> Result<Tag, NodeError> {
        let same = tags.iter().filter(|tag| tag.digest == before.digest && tag.name != before.name);
        let prefix = format!("{}:{}-", self.alias.model, self.alias.tag);
        let of_ours = |tag: &&Tag| ledger.made().contains(&tag.name) || tag.name.starts_with(&prefix);
        if let Some(tag) = same.into_iter().find(of_ours) {
            return Ok(tag.clone());
        }
        let digits: String = before.digest.trim_start_matches("sha256:").chars().take(DIGITS).collect();
        let name = self.alias.with(&format!("before-{digits}"));
        ledger.make(&name)?;
        self.server.copy(&before.name, &name).map_err(failure)?;
        self.run.note(format!("`{}` was not deployed by this node: it is kept as `{name}`", before.name));
        Ok(Tag { name, digest: before.digest.clone() })
    }

    /// Deletes the tags that this node made beyond the newest `keep`.
    fn delete_old(&self, ledger: &mut Ledger<'_, Moved>, tag: &Tag, keep: usize) -> Result<u64, NodeError> {
        let needed = ledger.last().and_then(|last| last.before.as_ref()).map(|before| before.name.clone());
        let is_old = |name: &&String| **name != tag.name && Some(*name) != needed.as_ref();
        let mut old: Vec<String> = ledger.made().iter().filter(is_old).cloned().collect();
        // What a rollback goes back to is one of those that stay.
        let kept = keep.saturating_sub(usize::from(needed.is_some_and(|needed| ledger.made().contains(&needed))));
        old.truncate(old.len().saturating_sub(kept));
        for name in &old {
            self.server.delete(name).map_err(failure)?;
            ledger.forget(name)?;
            self.run.note(format!("deleted `{name}`"));
        }
        Ok(old.len() as u64)
    }
}
