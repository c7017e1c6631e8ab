//! Addresses of pages: which of them are the same, and which are the site's that the settings mean.

use globset::GlobSet;
use url::Url;

/// Characters of an address; longer ones are made by a trap.
const LONGEST: usize = 1_000;

/// How often one part of a path may stand in it; links that lead ever deeper repeat theirs.
const MOST_REPEATS: usize = 3;

/// Endings of what is no page.
const NO_PAGES: [&str; 40] = [
    "7z", "apk", "avif", "bz2", "css", "csv", "deb", "dmg", "eot", "epub", "exe", "gif", "gz", "ico", "iso", "jar",
    "jpeg", "jpg", "js", "json", "mjs", "mov", "mp3", "mp4", "msi", "pdf", "png", "rpm", "rss", "svg", "tar", "tgz",
    "ttf", "wasm", "webm", "webp", "woff", "woff2", "xml", "zip",
];

/// Returns the address that a link on a page means, without its fragment; nothing when it is no page's.
pub(super) fn resolved(base: &Url, link: &str) -> Option<Url> {
    let mut url = base.join(link.trim()).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !is_web || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_fragment(None);
    Some(url)
}

/// Returns what all addresses of one page have in common: no fragment, no `index.html`, no slash at the end.
pub(super) fn key(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    let path = url.path().to_owned();
    let path = ["index.html", "index.htm"]
        .iter()
        .find_map(|index| path.strip_suffix(index).filter(|folder| folder.ends_with('/')))
        .unwrap_or(&path);
    let path = path.trim_end_matches('/').to_owned();
    url.set_path(&path);
    if url.query() == Some("") {
        url.set_query(None);
    }
    let key = url.to_string();
    if path.is_empty() && url.query().is_none() { key.trim_end_matches('/').to_owned() } else { key }
}

/// Which addresses are the site's.
#[derive(Debug)]
pub(super) struct Scope {
    /// An address must begin with one of these.
    pub(super) prefixes: Vec<Url>,
    /// Its path must match one of these…
    pub(super) include: GlobSet,
    /// …and none of these.
    pub(super) exclude: GlobSet,
    /// Whether an address with a query is a page of its own.
    pub(super) queries: bool,
}

impl Scope {
    /// Returns why an address is not followed; nothing when it is.
    pub(super) fn refuses(&self, url: &Url) -> Option<&'static str> {
        let path = url.path();
        if !self.prefixes.iter().any(|prefix| is_below(prefix, url)) {
            return Some("outside the prefix");
        }
        if !is_match(&self.include, path) || is_match(&self.exclude, path) {
            return Some("left out by `include` and `exclude`");
        }
        if url.query().is_some_and(|query| !query.is_empty()) && !self.queries {
            return Some("it has a query");
        }
        let ending = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
        if ending.is_some_and(|ending| NO_PAGES.contains(&ending.to_ascii_lowercase().as_str())) {
            return Some("no page by its name");
        }
        if url.as_str().len() > LONGEST || repeats(path) {
            return Some("a path like that of an endless one");
        }
        None
    }

    /// Returns whether an address is on the site at all.
    pub(super) fn holds(&self, url: &Url) -> bool {
        self.prefixes.iter().any(|prefix| is_below(prefix, url))
    }
}

/// Returns the folder that an address is in, the prefix of its site where none is named.
pub(super) fn folder(url: &Url) -> Url {
    let mut folder = url.clone();
    folder.set_fragment(None);
    folder.set_query(None);
    let path = folder.path();
    let end = path.rfind('/').map_or(0, |at| at + 1);
    let path = path[..end].to_owned();
    folder.set_path(&path);
    folder
}

/// `https://a/docs` holds itself and `https://a/docs/x`, and not `https://a/docs2`.
fn is_below(prefix: &Url, url: &Url) -> bool {
    let folder = prefix.path().trim_end_matches('/');
    url.origin() == prefix.origin()
        && url.path().strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Globs mean a path without the slash at its start, and a page whether it has one at its end or not.
fn is_match(globs: &GlobSet, path: &str) -> bool {
    let path = path.trim_matches('/');
    globs.is_match(path) || globs.is_match(format!("{path}/"))
}

fn repeats(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.iter().any(|part| parts.iter().filter(|other| *other == part).count() > MOST_REPEATS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn addresses_of_one_page_have_one_key() {
        let check = |text: &str, expected: &str| assert_eq!(key(&url(text)), expected);
        check("https://a", "https://a");
        check("https://A:443/#x", "https://a");
        check("https://a/index.html", "https://a");
        check("https://a/b/", "https://a/b");
        check("https://a/b/index.htm#x", "https://a/b");
        check("https://a/b/../c/./d?", "https://a/c/d");
        check("https://a/myindex.html", "https://a/myindex.html");
        check("https://a/?page=1", "https://a/?page=1");
    }

    #[test]
    fn links_are_read_as_browsers_do() {
        let base = url("https://a/b/c?x");
        let check = |link: &str, expected: Option<&str>| {
            assert_eq!(resolved(&base, link).map(|url| url.to_string()).as_deref(), expected, "{link}");
        };
        check(" ../d e ", Some("https://a/d%20e"));
        check("//o/p#q", Some("https://o/p"));
        check("\\\\o\\p", Some("https://o/p"));
        check("?y", Some("https://a/b/c?y"));
        for link in
            ["javascript:alert(1)", "mailto:a@b", "data:text/html,x", "https://user:pw@a/", "http://", "http://[x"]
        {
            check(link, None);
        }
    }

    #[test]
    fn a_scope_ends_at_its_prefix_its_globs_and_at_traps() {
        let glob = |text: &str| {
            let glob = globset::GlobBuilder::new(text).literal_separator(true).build().unwrap();
            globset::GlobSetBuilder::new().add(glob).build().unwrap()
        };
        let scope = Scope {
            prefixes: vec![url("https://a/docs")],
            include: glob("docs/**"),
            exclude: glob("docs/old/**"),
            queries: false,
        };
        let check = |text: &str, reason: Option<&str>| assert_eq!(scope.refuses(&url(text)), reason, "{text}");
        check("https://a/docs", None);
        check("https://a/docs/x/y.html", None);
        check("https://a/docs2", Some("outside the prefix"));
        check("http://a/docs/x", Some("outside the prefix"));
        check("https://a/docs/old/x", Some("left out by `include` and `exclude`"));
        check("https://a/docs/x?month=2", Some("it has a query"));
        check("https://a/docs/x.PDF", Some("no page by its name"));
        check("https://a/docs/v1.2", None);
        check("https://a/docs/a/b/a/b/a/b/a/b", Some("a path like that of an endless one"));
        check(&format!("https://a/docs/{}", "x".repeat(1_000)), Some("a path like that of an endless one"));
        let whole = Scope { prefixes: vec![url("https://a/")], include: glob("**"), exclude: glob("x"), queries: true };
        assert_eq!(whole.refuses(&url("https://a")), None);
        assert_eq!(whole.refuses(&url("https://a/b/?c")), None);
        assert_eq!(folder(&url("https://a/b/c?d#e")).as_str(), "https://a/b/");
    }
}
