//! The way from a repository's name to its documents.

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::archive;
use super::blobs::{Blobs, is_git_id};
use super::chosen::choose;
use super::error::GithubDocsError;
use super::repository::Repository;
use super::tree::File;
use crate::net::{Client, NetError, Request, Response, Url, Watch};
use crate::node::Run;
use crate::node::source::document::document;
use crate::node::source::globs::Selection;
use crate::record::{Counts, Document};

/// What an archive may take to arrive.
const ARCHIVE_DEADLINE: Duration = Duration::from_mins(15);

/// What stands in the path of a URL as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// How a file begins whose bytes are elsewhere.
const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/v1\n";

type Result<T> = std::result::Result<T, GithubDocsError>;

/// All that fetching needs.
pub(super) struct Fetch<'a, 'r> {
    pub(super) run: &'a Run<'r>,
    pub(super) client: &'a Client,
    pub(super) watch: &'a dyn Watch,
    /// Base address, without a slash at its end.
    pub(super) api: &'a str,
    /// Where people read repositories, where that is known.
    pub(super) website: Option<&'a str>,
    pub(super) selection: Selection,
    /// A larger file is left out.
    pub(super) max_bytes: u64,
}

impl Fetch<'_, '_> {
    /// Adds the documents of a repository; returns the commit that they are of.
    pub(super) fn repository(
        &self,
        repo: &Repository,
        documents: &mut Vec<Document>,
        counts: &mut Counts,
    ) -> Result<String> {
        let commit = self.commit(repo)?;
        let files = self.tree(repo, &commit)?;
        let chosen = choose(&files, &self.selection, self.max_bytes);
        counts.add_all(&chosen.left_out);
        if let Some(nothing) = chosen.nothing(repo, &files) {
            self.run.warn(nothing);
        }
        let chosen = chosen.files;
        let blobs = Blobs::of(self.run.store);
        self.fetch(repo, &commit, &files, &chosen, &blobs, counts)?;
        for file in chosen {
            let bytes = blobs.get(&file.id)?.ok_or_else(|| wrong_bytes(repo, file))?;
            match String::from_utf8(bytes) {
                Err(_) => counts.add("left out: not UTF-8", 1),
                Ok(text) if text.starts_with(LFS_POINTER) => counts.add("left out: kept in Git LFS", 1),
                Ok(text) => documents.push(document(&repo.name, &file.path, &text, self.page(repo, file))),
            }
        }
        Ok(commit)
    }

    /// Asks the API.
    pub(super) fn ask(&self, url: Url) -> Result<Response> {
        Ok(self.client.send(&request(url, "application/vnd.github+json").json(), self.watch)?)
    }

    /// Returns the commit that a repository's reference names now.
    fn commit(&self, repo: &Repository) -> Result<String> {
        let url = format!("{}/repos/{}/commits/{}", self.api, repo.name, repo.revision());
        let response = self.client.send(&request(Url::parse(&url)?, "application/vnd.github.sha"), self.watch)?;
        let answer = String::from_utf8_lossy(&response.body);
        let commit = answer.trim();
        if is_git_id(commit) {
            return Ok(commit.to_owned());
        }
        Err(GithubDocsError::NoCommit { repo: repo.to_string(), answer: commit.chars().take(80).collect() })
    }

    /// Fetches the bytes that no earlier fetch brought.
    fn fetch(
        &self,
        repo: &Repository,
        commit: &str,
        files: &[File],
        chosen: &[&File],
        blobs: &Blobs<'_>,
        counts: &mut Counts,
    ) -> Result<()> {
        let mut missing: BTreeMap<&str, &File> = BTreeMap::new();
        for file in chosen {
            if blobs.get(&file.id)?.is_none() {
                missing.insert(&file.path, file);
            }
        }
        counts.add("files known from an earlier fetch", (chosen.len() - missing.len()) as u64);
        counts.add("files fetched", missing.len() as u64);
        let total = missing.len() as u64;
        if archive::pays(files, missing.len()) {
            self.run.progress(0, Some(total), "files", &format!("{repo}: archive"));
            let limit = archive::limit(files);
            let url = Url::parse(&format!("{}/repos/{}/tarball/{commit}", self.api, repo.name))?;
            let request = request(url, "application/vnd.github+json").bounded(limit, ARCHIVE_DEADLINE);
            let packed = self.client.send(&request, self.watch)?.body;
            let kept = archive::read(&repo.name, &packed, limit, &missing, blobs);
            blobs.flush()?;
            self.run.progress(kept?, Some(total), "files", &format!("{repo}: archive"));
            let mut rest = BTreeMap::new();
            for (path, file) in missing {
                if blobs.get(&file.id)?.is_none() {
                    rest.insert(path, file);
                }
            }
            missing = rest;
        }
        let before = total - missing.len() as u64;
        for (done, file) in missing.into_values().enumerate() {
            self.run.check_cancelled().map_err(|_| NetError::Cancelled)?;
            self.blob(repo, file, blobs)?;
            self.run.progress(before + done as u64 + 1, Some(total), "files", &repo.name);
        }
        Ok(())
    }

    /// Fetches the bytes of one file. Two files may have the same.
    fn blob(&self, repo: &Repository, file: &File, blobs: &Blobs<'_>) -> Result<()> {
        if blobs.get(&file.id)?.is_some() {
            return Ok(());
        }
        let url = Url::parse(&format!("{}/repos/{}/git/blobs/{}", self.api, repo.name, file.id))?;
        let bytes = self.client.send(&request(url, "application/vnd.github.raw+json"), self.watch)?.body;
        if !blobs.put(&file.id, bytes)? {
            return Err(wrong_bytes(repo, file));
        }
        blobs.flush()
    }

    /// Returns where people read a file. It names the branch, not the commit: a document must not change with a commit
    /// that did not touch it.
    fn page(&self, repo: &Repository, file: &File) -> Option<String> {
        let path = utf8_percent_encode(&file.path, IN_PATH);
        Some(format!("{}/{}/blob/{}/{path}", self.website?, repo.name, repo.revision()))
    }
}

fn request<'a>(url: Url, accept: &str) -> Request<'a> {
    Request::get(url).header("accept", accept).header("x-github-api-version", "2022-11-28")
}

fn wrong_bytes(repo: &Repository, file: &File) -> GithubDocsError {
    GithubDocsError::WrongBytes { repo: repo.name.clone(), path: file.path.clone(), id: file.id.clone() }
}
