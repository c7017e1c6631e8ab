//! The files of a commit, by Git's names for their bytes.

use serde::{Deserialize, Serialize};

use super::blobs::is_git_id;
use super::error::GithubDocsError;
use super::fetch::Fetch;
use super::repository::Repository;
use crate::net::Url;
use crate::store::{Digest, MemoEntry, Store};

/// So many folders within each other no repository has; a server that makes them up must not be followed for ever.
const DEEPEST: usize = 100;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct File {
    /// The path in the repository, with `/`.
    pub(super) path: String,
    /// Git's name for its bytes, in hexadecimal.
    pub(super) id: String,
    /// Bytes.
    pub(super) size: u64,
    /// Whether it is a file at all, and no symbolic link or submodule.
    pub(super) is_regular: bool,
}

/// A tree as GitHub sends it.
#[derive(Deserialize)]
struct WireTree {
    tree: Vec<WireEntry>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Deserialize)]
struct WireEntry {
    path: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    sha: String,
    size: Option<u64>,
}

/// Returns the commit of a repository that was fetched last, and its files, as far as the store has them.
pub(super) fn last_tree(store: &Store, api: &str, repo: &Repository) -> Option<(String, Vec<File>)> {
    let commit: String = store.state(&last_commit(api, repo)).ok()??;
    let (scope, input) = memo(api, &repo.name, &commit);
    let files = serde_json::from_slice(&store.memo(&scope, &input).ok()??).ok()?;
    is_git_id(&commit).then_some((commit, files))
}

/// The state that has the commit of the last fetch.
fn last_commit(api: &str, repo: &Repository) -> String {
    format!("github-docs/{api}/{repo}")
}

/// Scope and input of the memo of a commit's files.
fn memo(api: &str, repo: &str, commit: &str) -> (Digest, Digest) {
    let input = Digest::of(format!("{api} {repo} {commit}").as_bytes());
    (Digest::of(b"source.github-docs trees 1"), input)
}

impl Fetch<'_, '_> {
    /// Returns the files of a commit, in order of their paths. A commit's tree never changes, so it is asked for once.
    pub(super) fn tree(&self, repo: &Repository, commit: &str) -> Result<Vec<File>, GithubDocsError> {
        let (scope, input) = memo(self.api, &repo.name, commit);
        self.run.store.put_state(&last_commit(self.api, repo), &commit)?;
        let known = self.run.store.memo(&scope, &input)?;
        if let Some(files) = known.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(files);
        }
        let mut files = Vec::new();
        self.walk(&repo.name, commit, "", &mut files)?;
        files.sort_by(|a: &File, b: &File| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        if let Ok(value) = serde_json::to_vec(&files) {
            self.run.store.put_memo(scope, MemoEntry { input, first: String::new(), last: String::new(), value })?;
        }
        Ok(files)
    }

    /// Lists what lies below `folder`. What is too much for one answer is listed one folder at a time.
    fn walk(&self, repo: &str, tree: &str, folder: &str, files: &mut Vec<File>) -> Result<(), GithubDocsError> {
        let url = format!("{}/repos/{repo}/git/trees/{tree}", self.api);
        let whole: WireTree = self.ask(Url::parse(&format!("{url}?recursive=1"))?)?.json()?;
        if !whole.truncated {
            return whole.tree.into_iter().try_for_each(|entry| take(repo, folder, entry, files));
        }
        let one: WireTree = self.ask(Url::parse(&url)?)?.json()?;
        if one.truncated || folder.split('/').count() > DEEPEST {
            return Err(GithubDocsError::Truncated { repo: repo.to_owned(), folder: folder.to_owned() });
        }
        for entry in one.tree {
            if entry.kind == "tree" {
                let path = path_of(repo, folder, &entry)?;
                self.walk(repo, &entry.sha, &path, files)?;
            } else {
                take(repo, folder, entry, files)?;
            }
        }
        Ok(())
    }
}

/// Adds an entry's file; a folder's own entry is none.
fn take(repo: &str, folder: &str, entry: WireEntry, files: &mut Vec<File>) -> Result<(), GithubDocsError> {
    let path = path_of(repo, folder, &entry)?;
    if entry.kind != "tree" {
        let is_regular = entry.kind == "blob" && entry.mode != "120000";
        files.push(File { path, id: entry.sha, size: entry.size.unwrap_or_default(), is_regular });
    }
    Ok(())
}

/// Returns an entry's path from the top. A server's word is not taken for it that the path stays below it.
fn path_of(repo: &str, folder: &str, entry: &WireEntry) -> Result<String, GithubDocsError> {
    let path = if folder.is_empty() { entry.path.clone() } else { format!("{folder}/{}", entry.path) };
    if is_below_top(&path) && is_git_id(&entry.sha) {
        Ok(path)
    } else {
        Err(GithubDocsError::BadPath { repo: repo.to_owned(), path: path.chars().take(200).collect() })
    }
}

/// Returns whether a path names something below the folder that it starts from.
pub(super) fn is_below_top(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
