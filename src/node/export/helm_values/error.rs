//! What can go wrong with a values file, its commit and its upgrade.

use std::path::PathBuf;

use miette::Diagnostic;

use super::yaml::YamlError;

/// What can go wrong with a values file, its commit and its upgrade.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(super) enum ValuesError {
    /// The text or the place in it.
    #[error("`{file}`: {cause}")]
    #[diagnostic(forward(cause))]
    Yaml { file: String, cause: YamlError },
    /// No text.
    #[error("`{file}` is no UTF-8 from byte {at} on")]
    #[diagnostic(code(values::not_utf8), help("save it as UTF-8: Helm reads no other encoding"))]
    NotUtf8 { file: String, at: usize },
    /// Larger than any values file is.
    #[error("`{file}` has {size} bytes, more than a values file has")]
    #[diagnostic(code(values::too_large), help("name the file of values: `file` takes up to 16 MiB"))]
    TooLarge { file: String, size: u64 },
    /// A folder, a device.
    #[error("`{file}` is no plain file")]
    #[diagnostic(code(values::no_file), help("name a YAML file"))]
    NoFile { file: String },
    /// Somebody else wrote.
    #[error("`{file}` was changed while the node ran")]
    #[diagnostic(code(values::changed_meanwhile), help("nothing was written: run the same command again"))]
    ChangedMeanwhile { file: String },
    /// The file system.
    #[error("`{file}` cannot be written, so it is as it was")]
    #[diagnostic(code(values::io), help("check that the disk has room and that its folder can be written"))]
    Io {
        file: String,
        #[source]
        cause: std::io::Error,
    },
    /// Git does not run.
    #[error("`git` cannot be started, so nothing was changed")]
    #[diagnostic(code(values::no_git), help("install git, or leave `commit` out"))]
    NoGit(#[source] std::io::Error),
    /// No repository, an untracked file.
    #[error("`{file}` cannot be committed: {why}")]
    #[diagnostic(code(values::no_commit), help("{help}"))]
    NoCommit { file: String, why: String, help: &'static str },
    /// Somebody's work.
    #[error("`{file}` has changes that are not committed ({status})")]
    #[diagnostic(
        code(values::dirty),
        help("commit them or put them away (`git stash`), then run the same command again: nothing was changed")
    )]
    Dirty { file: String, status: String },
    /// The commit failed.
    #[error("`git commit` of `{file}` failed: {said}")]
    #[diagnostic(code(values::commit_failed), help("{help}"))]
    CommitFailed { file: String, said: String, help: &'static str },
    /// The program is not there.
    #[error("program `{program}` of `upgrade` could not be started; `{file}` has its former values again")]
    #[diagnostic(code(values::upgrade_not_started), help("is it installed and in `PATH`? No shell reads `upgrade`"))]
    UpgradeNotStarted {
        program: String,
        file: String,
        #[source]
        cause: std::io::Error,
    },
    /// The program failed.
    #[error("program `{program}` of `upgrade` {how}; `{file}` has its former values again{log}")]
    #[diagnostic(code(values::upgrade_failed), help("mend what it says, then run the same command again"))]
    UpgradeFailed { program: String, how: String, file: String, log: String },
    /// The program failed while a change was taken back.
    #[error("program `{program}` of `upgrade` {how}; `{file}` has its former values already{log}")]
    #[diagnostic(
        code(values::rollback_unfinished),
        help("mend what it says, then run `tunesmith rollback` again: it goes on there")
    )]
    RollbackUnfinished { program: String, how: String, file: String, log: String },
    /// The file is elsewhere now.
    #[error("`{}` is not there, whose values were deployed", path.display())]
    #[diagnostic(code(values::file_gone), help("put it back, such as by `git checkout`, then run the command again"))]
    Gone { path: PathBuf },
}
