//! The way back: the former bytes, then the program again, then a commit.

use super::deploy::{alone, shown};
use super::error::ValuesError;
use super::file::ValuesFile;
use super::{Replaced, git, upgrade};
use crate::node::command::End;
use crate::node::ledger::Ledger;
use crate::node::{NodeError, Run};

/// Takes the newest change back. Each step looks whether it is done already, so that a run that was broken off is gone
/// on with.
pub(super) fn roll_back(run: &Run<'_>) -> Result<Vec<String>, NodeError> {
    let mut ledger = Ledger::<Replaced>::open(run)?;
    let replaced = ledger.newest()?.clone();
    let folder = &run.outside()?.folder;
    let _alone = alone(run, &replaced.file)?;
    let mut file = ValuesFile::read(folder, &replaced.file)?;
    let is_back = replaced.is_back(&file)?;
    if replaced.committed {
        git::check(&file)?;
        // What an earlier rollback wrote and did not commit is its own.
        if let Some(status) = git::status(&file)?.filter(|_| !is_back) {
            return Err(ValuesError::Dirty { file: replaced.file.clone(), status }.into());
        }
    }
    let mut done = Vec::new();
    for value in &replaced.values {
        let (path, old, new) = (&value.path, shown(&value.old), shown(&value.new));
        done.push(format!("`{path}` in {} is {old} again, was {new}", replaced.file));
    }
    if !is_back {
        let text = replaced.taken_back(&file)?;
        file.replace(&text)?;
    }
    if let Some(argv) = replaced.upgrade.as_ref().filter(|_| replaced.upgraded) {
        let program = argv[0].clone();
        let unfinished =
            |how, log| ValuesError::RollbackUnfinished { program: program.clone(), how, file: file.shown.clone(), log };
        match upgrade::upgrade(run, folder, argv)? {
            End::Well => done.push(format!("`{}` ran with it", argv.join(" "))),
            End::NotStarted(cause) => {
                return Err(unfinished("could not be started".into(), format!(": {cause}")).into());
            }
            End::Badly { how, log } => return Err(unfinished(how, log).into()),
        }
    }
    if let Some(message) = replaced.commit.as_ref().filter(|_| replaced.committed)
        && let Some(commit) = git::commit(&file, &format!("roll back: {message}"), git::GO_ON)?
    {
        done.push(format!("committed as {commit}"));
    }
    ledger.pop()?;
    Ok(done)
}
