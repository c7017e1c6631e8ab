//! The commit of one file.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::error::ValuesError;
use super::file::ValuesFile;

/// Says that a commit failed after the values were put to work.
pub(super) const GO_ON: &str = "mend what git says, then run the same command again: it goes on with the commit";
/// Says that a commit failed and the file was put back.
pub(super) const PUT_BACK: &str =
    "the file has its former values again: mend what git says, then run the same command again";

/// Refuses what could not be committed alone: no repository, an untracked file, a merge, an unknown author.
pub(super) fn check(file: &ValuesFile) -> Result<(), ValuesError> {
    let refuse = |why: String, help| Err(ValuesError::NoCommit { file: file.shown.clone(), why, help });
    if !git(file, &["rev-parse", "--is-inside-work-tree"], false)?.status.success() {
        return refuse("it is in no git repository".into(), "run `git init`, or leave `commit` out");
    }
    if !git(file, &["ls-files", "--error-unmatch", "--"], true)?.status.success() {
        return refuse("git does not track it".into(), "add it once by hand: `git add` and `git commit`");
    }
    for head in ["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"] {
        if git(file, &["rev-parse", "--quiet", "--verify", head], false)?.status.success() {
            return refuse("a merge is under way".into(), "end it, then run the same command again");
        }
    }
    let who = git(file, &["var", "GIT_COMMITTER_IDENT"], false)?;
    if !who.status.success() {
        return refuse(first_line(&who.stderr), "set `user.name` and `user.email` by `git config`");
    }
    Ok(())
}

/// Returns how git marks the file, such as ` M`; nothing when it is as it was committed.
pub(super) fn status(file: &ValuesFile) -> Result<Option<String>, ValuesError> {
    let output = git(file, &["status", "--porcelain=v1", "--"], true)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().map(|line| line.chars().take(2).collect::<String>().trim().to_owned()))
}

/// Commits the file alone, whatever else is staged, and returns the commit; nothing when it is as it was committed.
pub(super) fn commit(file: &ValuesFile, message: &str, help: &'static str) -> Result<Option<String>, ValuesError> {
    if status(file)?.is_none() {
        return Ok(None);
    }
    let output = git(file, &["commit", "--quiet", "--message", message, "--only", "--"], true)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        let said = said.trim().chars().take(500).collect();
        return Err(ValuesError::CommitFailed { file: file.shown.clone(), said, help });
    }
    let head = git(file, &["rev-parse", "HEAD"], false)?;
    Ok(Some(first_line(&head.stdout)))
}

/// Runs git in the file's folder, with the file as last argument where that is asked for.
fn git(file: &ValuesFile, arguments: &[&str], with_file: bool) -> Result<Output, ValuesError> {
    let (folder, name): (&Path, &Path) = file.place();
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).arg("--literal-pathspecs").args(arguments);
    if with_file {
        command.arg(name);
    }
    command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").stdin(Stdio::null());
    command.output().map_err(ValuesError::NoGit)
}

fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().lines().next().unwrap_or_default().to_owned()
}
