//! What a folder's repository has that a model can learn from: its GitHub remote and its documents.
//!
//! Only files are read; no git is run and no socket is opened.

use std::io;
use std::path::{Path, PathBuf};

/// Folders that documents are usually in, the likeliest first.
const DOCS_FOLDERS: [&str; 7] = ["docs", "doc", "documentation", "website/content", "site/content", "content", "wiki"];
/// Deeper folders are not searched for Markdown.
const MOST_DEPTH: usize = 8;

/// What was found.
pub(super) struct Repository {
    /// The project's name, fit for a file's name.
    pub(super) name: String,
    /// `owner/name` of the GitHub remote.
    pub(super) github: Option<String>,
    /// The documents.
    pub(super) docs: Option<Docs>,
    /// What people should know about what was not found.
    pub(super) notes: Vec<String>,
}

/// Where the documents are.
pub(super) struct Docs {
    /// The folder, relative to the manifest.
    pub(super) path: String,
    /// Which files below it.
    pub(super) include: Vec<String>,
}

impl Repository {
    /// Looks at the repository that `root` stands in.
    pub(super) fn look(root: &Path) -> io::Result<Self> {
        let github = git_config(root).and_then(|config| github_remote(&config));
        let docs = docs(root);
        let repository_name = github.as_deref().and_then(|github| github.rsplit('/').next());
        let folder = fs_err::canonicalize(root)?;
        let folder_name = folder.file_name().and_then(|name| name.to_str());
        let mut notes = Vec::new();
        if github.is_none() {
            notes.push("no GitHub remote in `.git/config`, so there is no source of issues".to_owned());
        }
        if docs.is_none() {
            notes.push("no Markdown in `docs` or at the top, so there is no source of documents".to_owned());
        }
        let name = slug(repository_name.or(folder_name).unwrap_or_default());
        Ok(Self { name, github, docs, notes })
    }
}

/// Returns the text of git's configuration for the repository around `root`; of a linked work tree, the shared one.
fn git_config(root: &Path) -> Option<String> {
    let root = fs_err::canonicalize(root).ok()?;
    let git = root.ancestors().map(|folder| folder.join(".git")).find(|git| git.exists())?;
    if git.is_dir() {
        return fs_err::read_to_string(git.join("config")).ok();
    }
    let link = fs_err::read_to_string(&git).ok()?;
    let folder = git.parent()?.join(link.trim().strip_prefix("gitdir:")?.trim());
    let shared = match fs_err::read_to_string(folder.join("commondir")) {
        Ok(shared) => folder.join(shared.trim()),
        Err(_) => folder,
    };
    fs_err::read_to_string(shared.join("config")).ok()
}

/// Returns `owner/name` of the remote `upstream`, else `origin`, else the first one on GitHub: of a fork, the issues
/// are upstream.
fn github_remote(config: &str) -> Option<String> {
    let mut remotes: Vec<(&str, String)> = Vec::new();
    let mut remote = None;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            remote = line.strip_prefix("[remote \"").and_then(|rest| rest.strip_suffix("\"]"));
        } else if let (Some(name), Some((key, url))) = (remote, line.split_once('='))
            && key.trim() == "url"
            && let Some(github) = github_name(url.trim())
        {
            remotes.push((name, github));
        }
    }
    let named = |wanted| remotes.iter().find(|(name, _)| *name == wanted);
    named("upstream").or(named("origin")).or(remotes.first()).map(|(_, github)| github.clone())
}

/// Takes `owner/name` out of `https://github.com/owner/name.git`, `git@github.com:owner/name` and their like.
fn github_name(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("github.com")?;
    let path = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':').trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let (owner, name) = path.split_once('/')?;
    let plain = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    (plain(owner) && plain(name)).then(|| format!("{owner}/{name}"))
}

fn docs(root: &Path) -> Option<Docs> {
    if let Some(folder) = DOCS_FOLDERS.into_iter().find(|folder| has_markdown(&root.join(folder), MOST_DEPTH)) {
        return Some(Docs { path: folder.to_owned(), include: vec!["**/*.md".to_owned()] });
    }
    let top: Vec<String> = markdown_files(root);
    (!top.is_empty()).then(|| Docs { path: ".".to_owned(), include: top })
}

/// Returns the names of the Markdown files directly in `folder`, sorted.
fn markdown_files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = entries(folder)
        .into_iter()
        .filter(|path| path.is_file() && path.extension().is_some_and(|extension| extension == "md"))
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .filter(|name| !name.contains(['*', '?', '[', '{', '\\', '!']))
        .collect();
    names.sort();
    names
}

fn has_markdown(folder: &Path, depth: usize) -> bool {
    if !markdown_files(folder).is_empty() {
        return true;
    }
    let is_folder = |path: &PathBuf| path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    depth > 0 && entries(folder).into_iter().filter(is_folder).any(|inner| has_markdown(&inner, depth - 1))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs_err::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Returns `text` in a form that is fit for names of files and models.
fn slug(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let plain = plain.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if plain.is_empty() { "expert".to_owned() } else { plain.chars().take(60).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_on_github_are_found_in_every_form() {
        for url in [
            "https://github.com/linkerd/linkerd2.git",
            "https://user@github.com/linkerd/linkerd2",
            "git@github.com:linkerd/linkerd2.git",
            "ssh://git@github.com:22/linkerd/linkerd2/",
        ] {
            assert_eq!(github_name(url).as_deref(), Some("linkerd/linkerd2"), "{url}");
        }
        assert_eq!(github_name("https://example.org/linkerd/linkerd2"), None);
        assert_eq!(github_name("https://github.com/linkerd"), None);
    }

    #[test]
    fn of_a_fork_the_upstream_is_taken() {
        let config = "[remote \"origin\"]\n\turl = git@github.com:me/x.git\n[remote \"upstream\"]\n\turl = https://github.com/them/x\n";
        assert_eq!(github_remote(config).as_deref(), Some("them/x"));
        assert_eq!(github_remote("[core]\n\turl = https://github.com/a/b\n"), None);
    }
}
