//! A deployment: the file, then the program, then the commit; each step noted when it is done.

use std::collections::BTreeMap;

use serde_json::json;

use super::error::ValuesError;
use super::file::ValuesFile;
use super::settings::{Settings, scalar};
use super::yaml::{self, ValuePath};
use super::{Replaced, ReplacedValue, git, upgrade};
use crate::node::command::End;
use crate::node::ledger::Ledger;
use crate::node::{Count, NodeError, Outcome, Run};
use crate::store::{Digest, FileLock};

/// Puts the values into the file and to work.
pub(super) fn deploy(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let mut ledger = Ledger::<Replaced>::open(run)?;
    let _alone = alone(run, &settings.file)?;
    let mut file = ValuesFile::read(&run.outside()?.folder, &settings.file)?;
    let found = file.digest();
    // What a run that was broken off left: noted and never written, or written and not put to work.
    while ledger.last().is_some_and(|last| last.file == settings.file && !last.is_done() && last.before == found) {
        ledger.pop()?;
    }
    let broken_off = ledger.last().filter(|last| last.file == settings.file && !last.is_done() && last.after == found);
    let broken_off = broken_off.cloned();
    let (text, values) = changed(run, &file, settings)?;
    let mut replaced = match (values.is_empty(), broken_off) {
        (true, None) => {
            run.note(format!("`{}` has these values already", settings.file));
            return Ok(outcome(0, None));
        }
        (true, Some(broken_off)) => {
            run.note(format!("`{}` has these values already: going on with what follows", settings.file));
            broken_off
        }
        (false, broken_off) => {
            check_commit(&file, settings, broken_off.is_some())?;
            let replaced = Replaced {
                file: settings.file.clone(),
                values,
                before: found,
                after: Digest::of(text.as_bytes()),
                upgrade: settings.upgrade.clone(),
                upgraded: false,
                commit: settings.commit.clone(),
                committed: false,
            };
            ledger.push(replaced.clone())?;
            if let Err(error) = file.replace(&text) {
                ledger.pop()?;
                return Err(error.into());
            }
            replaced
        }
    };
    let count = replaced.values.len();
    put_to_work(run, &mut ledger, &mut file, &mut replaced)?;
    let commit = committed(&mut ledger, &mut file, &mut replaced)?;
    if let Some(commit) = &commit {
        run.note(format!("committed as {commit}"));
    }
    Ok(outcome(count, commit))
}

/// Looks whether the values could be put into the file, and changes nothing.
pub(super) fn look(run: &Run<'_>, settings: &Settings) -> Result<Outcome, NodeError> {
    let file = ValuesFile::read(&run.outside()?.folder, &settings.file)?;
    let (_, values) = changed(run, &file, settings)?;
    check_commit(&file, settings, false)?;
    let fields = BTreeMap::from([("changed".to_owned(), json!(values.len())), ("commit".to_owned(), json!(null))]);
    let report = vec![Count { what: "values would be changed".into(), count: values.len() as u64 }];
    Ok(Outcome { outputs: BTreeMap::new(), fields, report })
}

/// Refuses a commit that could not be made, or would take somebody's work with it.
fn check_commit(file: &ValuesFile, settings: &Settings, is_ours: bool) -> Result<(), ValuesError> {
    if settings.commit.is_none() {
        return Ok(());
    }
    git::check(file)?;
    match git::status(file)?.filter(|_| !is_ours) {
        Some(status) => Err(ValuesError::Dirty { file: settings.file.clone(), status }),
        None => Ok(()),
    }
}

/// Waits until no other node of this store works on the file.
pub(super) fn alone(run: &Run<'_>, file: &str) -> Result<FileLock, NodeError> {
    let path = run.outside()?.folder.join(file);
    let path = fs_err::canonicalize(&path).unwrap_or(path);
    Ok(run.store.lock(&Digest::of(path.as_os_str().as_encoded_bytes()))?)
}

fn outcome(changed: usize, commit: Option<String>) -> Outcome {
    let fields = BTreeMap::from([("changed".to_owned(), json!(changed)), ("commit".to_owned(), json!(commit))]);
    let report = vec![Count { what: "values changed".into(), count: changed as u64 }];
    Outcome { outputs: BTreeMap::new(), fields, report }
}

/// Returns the text with all values set, and what that replaces.
fn changed(run: &Run<'_>, file: &ValuesFile, settings: &Settings) -> Result<(String, Vec<ReplacedValue>), NodeError> {
    let mut text = file.text.clone();
    let mut values = Vec::new();
    for (name, wanted) in &settings.set {
        let path: ValuePath = name.parse().map_err(|error| file.error(error))?;
        let wanted = scalar(wanted).ok_or_else(|| run.bad_job(format!("`set.{name}` is no single value")))?;
        let change = yaml::set(&text, &path, &wanted).map_err(|error| file.error(error))?;
        if change.old == change.new {
            continue;
        }
        run.note(format!("{}:{}: {path}: {} → {}", file.shown, change.line, shown(&change.old), shown(&change.new)));
        if let [first, more @ ..] = change.aliases.as_slice() {
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            run.note(format!("{}:{first}{more} reads the same value by an alias", file.shown));
        }
        values.push(ReplacedValue { path: name.clone(), old: change.old, new: change.new });
        text = change.text;
    }
    Ok((text, values))
}

/// Returns a value as it is written, for a line of a log.
pub(super) fn shown(source: &str) -> String {
    let source = source.trim();
    let mut lines = source.lines();
    let first: String = lines.next().unwrap_or("nothing").chars().take(120).collect();
    if lines.next().is_some() || first.len() < source.len() { format!("{first} …") } else { first }
}

/// Runs the program, unless it ran for this change already. When it fails the former values come back.
fn put_to_work(
    run: &Run<'_>,
    ledger: &mut Ledger<'_, Replaced>,
    file: &mut ValuesFile,
    replaced: &mut Replaced,
) -> Result<(), NodeError> {
    let Some(argv) = replaced.upgrade.clone().filter(|_| !replaced.upgraded) else { return Ok(()) };
    let (program, shown) = (argv[0].clone(), file.shown.clone());
    let error = match upgrade::upgrade(run, &run.outside()?.folder, &argv)? {
        End::Well => {
            replaced.upgraded = true;
            return ledger.replace(replaced.clone());
        }
        End::NotStarted(cause) => ValuesError::UpgradeNotStarted { program, file: shown, cause },
        End::Badly { how, log } => ValuesError::UpgradeFailed { program, how, file: shown, log },
    };
    put_back(ledger, file, replaced)?;
    Err(error.into())
}

/// Makes the commit, unless it is made for this change already.
fn committed(
    ledger: &mut Ledger<'_, Replaced>,
    file: &mut ValuesFile,
    replaced: &mut Replaced,
) -> Result<Option<String>, NodeError> {
    let Some(message) = replaced.commit.clone().filter(|_| !replaced.committed) else { return Ok(None) };
    // What is put to work stays: taking the values back would say that something else runs than does.
    let help = if replaced.upgraded { git::GO_ON } else { git::PUT_BACK };
    match git::commit(file, &message, help) {
        Ok(commit) => {
            replaced.committed = true;
            ledger.replace(replaced.clone())?;
            Ok(commit)
        }
        Err(error) => {
            if !replaced.upgraded {
                put_back(ledger, file, replaced)?;
            }
            Err(error.into())
        }
    }
}

/// Gives the file its former values and forgets the change.
fn put_back(ledger: &mut Ledger<'_, Replaced>, file: &mut ValuesFile, replaced: &Replaced) -> Result<(), NodeError> {
    let text = replaced.taken_back(file)?;
    file.replace(&text)?;
    ledger.pop()
}

impl Replaced {
    /// Returns whether all that belongs to the change was done.
    pub(super) fn is_done(&self) -> bool {
        (self.upgrade.is_none() || self.upgraded) && (self.commit.is_none() || self.committed)
    }

    /// Returns whether the file has the values of before.
    pub(super) fn is_back(&self, file: &ValuesFile) -> Result<bool, ValuesError> {
        for value in &self.values {
            let path: ValuePath = value.path.parse().map_err(|error| file.error(error))?;
            let (_, source) = yaml::standing(&file.text, &path).map_err(|error| file.error(error))?;
            if source != value.old {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the file's text with the bytes of before in place of the values.
    pub(super) fn taken_back(&self, file: &ValuesFile) -> Result<String, ValuesError> {
        let mut text = file.text.clone();
        for value in self.values.iter().rev() {
            let path: ValuePath = value.path.parse().map_err(|error| file.error(error))?;
            text = yaml::put_back(&text, &path, &value.new, &value.old).map_err(|error| file.error(error))?.text;
        }
        Ok(text)
    }
}
