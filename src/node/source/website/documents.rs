//! From the pages of a site to documents: pages that are one are merged, and what stands on most of them is none of
//! their text.

use std::collections::{BTreeMap, BTreeSet};

use super::address::{self, Scope};
use super::crawl::{Read, Site};
use super::settings::Settings;
use crate::node::source::foreign::{Fences, Place, tidy};
use crate::record::{Counts, Document};
use crate::store::Digest;

/// With fewer pages than this nothing can be said to stand on most of them.
const FEWEST: usize = 5;

/// How often an address that pages name as their own may lead to a further one.
const LONGEST_CHAIN: usize = 20;

/// Makes the documents of a site, by id, and counts what was dropped and merged.
pub(super) fn documents(site: Site, scope: &Scope, settings: &Settings) -> (Vec<Document>, Counts) {
    let Site { mut pages, mut counts } = site;
    counts.add("pages read", pages.len() as u64);
    let before = pages.len();
    pages.retain(|_, read| !read.page.is_unlisted);
    counts.add("dropped page: it asks not to be listed", (before - pages.len()) as u64);
    let pages = merged(pages, scope, &mut counts);
    let repeated = repeated_lines(&pages, settings.repeated);
    let mut texts: BTreeSet<Digest> = BTreeSet::new();
    let mut documents = Vec::new();
    for (id, read) in pages {
        let (content, dropped) = without(&read.page.content, &repeated);
        counts.add("dropped line: it stands on most pages", dropped);
        if (content.chars().count() as u64) < settings.min_characters {
            counts.add("dropped page: too short", 1);
        } else if !texts.insert(Digest::of(content.as_bytes())) {
            counts.add("merged page: same text as another one", 1);
        } else {
            documents.push(document(id, read, content));
        }
    }
    (documents, counts)
}

fn document(id: String, read: Read, content: String) -> Document {
    let host = read.url.host_str().unwrap_or_default();
    let repo = read.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let query = read.url.query().map_or_else(String::new, |query| format!("?{query}"));
    let path = format!("{}{query}", read.url.path().trim_matches('/'));
    let path = if path.is_empty() { "index".to_owned() } else { path };
    Document { id, repo, path, title: read.page.title, content, url: Some(read.url.to_string()) }
}

/// Merges pages that name one address as their own, and returns them by that address.
fn merged(mut pages: BTreeMap<String, Read>, scope: &Scope, counts: &mut Counts) -> BTreeMap<String, Read> {
    let owns = own_addresses(&pages, scope, counts);
    let keys: Vec<String> = pages.keys().cloned().collect();
    let mut merged: BTreeMap<String, Read> = BTreeMap::new();
    // A page that is where its address says comes before one that is elsewhere.
    let (at_home, elsewhere): (Vec<_>, Vec<_>) = keys.iter().partition(|key| own(&owns, key) == **key);
    for key in at_home.into_iter().chain(elsewhere) {
        let Some(read) = pages.remove(key) else { continue };
        match merged.entry(own(&owns, key)) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(read);
            }
            std::collections::btree_map::Entry::Occupied(_) => counts.add("merged page: same address of its own", 1),
        }
    }
    merged
}

/// Returns which other address each page names as its own. Where most pages name the same one that is a mistake in the
/// site's template, and none of them counts.
fn own_addresses(pages: &BTreeMap<String, Read>, scope: &Scope, counts: &mut Counts) -> BTreeMap<String, String> {
    let named = pages.iter().filter_map(|(key, read)| {
        let canonical = read.page.canonical.as_ref().filter(|canonical| scope.holds(canonical))?;
        let own = address::key(canonical);
        (own != *key).then(|| (key.clone(), own))
    });
    let named: BTreeMap<String, String> = named.collect();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for own in named.values() {
        *times.entry(own).or_default() += 1;
    }
    let mistakes = times.into_iter().filter(|(_, times)| pages.len() >= FEWEST && *times * 2 > pages.len());
    let mistakes: BTreeSet<String> = mistakes.map(|(own, _)| own.to_owned()).collect();
    let before = named.len();
    let named: BTreeMap<_, _> = named.into_iter().filter(|(_, own)| !mistakes.contains(own)).collect();
    counts.add("canonical link ignored: most pages name the same one", (before - named.len()) as u64);
    named
}

/// Follows the addresses that pages name to the last one; of a circle, the first in order of text.
fn own(owns: &BTreeMap<String, String>, key: &str) -> String {
    let mut met = vec![key];
    for _ in 0..LONGEST_CHAIN {
        let Some(next) = met.last().and_then(|last| owns.get(*last)) else { break };
        if let Some(start) = met.iter().position(|key| key == next) {
            return met[start..].iter().min().map_or_else(String::new, |first| (*first).to_owned());
        }
        met.push(next);
    }
    met.last().map_or_else(String::new, |last| (*last).to_owned())
}

/// Returns the lines that stand on at least this share of the pages, code left aside.
fn repeated_lines(pages: &BTreeMap<String, Read>, share: f64) -> BTreeSet<String> {
    if pages.len() < FEWEST {
        return BTreeSet::new();
    }
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for read in pages.values() {
        let mut fences = Fences::default();
        let lines = read.page.content.lines().filter(|line| fences.place(line) == Place::Text);
        let lines: BTreeSet<&str> =
            lines.map(str::trim).filter(|line| line.chars().any(char::is_alphanumeric)).collect();
        for line in lines {
            *times.entry(line).or_default() += 1;
        }
    }
    let least = share * pages.len() as f64;
    times.into_iter().filter(|(_, times)| *times as f64 >= least).map(|(line, _)| line.to_owned()).collect()
}

/// Returns a text without the lines that most pages have, and how many those were. A heading stays where text of the
/// page's own stands below it.
fn without(content: &str, repeated: &BTreeSet<String>) -> (String, u64) {
    let mut fences = Fences::default();
    let lines: Vec<(&str, Place)> = content.lines().map(|line| (line, fences.place(line))).collect();
    let mut kept: Vec<&str> = Vec::with_capacity(lines.len());
    let mut dropped = 0;
    // From the end on, since what stands below a heading decides about it.
    let mut has_text_below = false;
    for (line, place) in lines.into_iter().rev() {
        let is_heading = place == Place::Text && line.starts_with('#');
        let is_repeated = place == Place::Text && repeated.contains(line.trim());
        if is_repeated && !(is_heading && has_text_below) {
            dropped += 1;
            continue;
        }
        has_text_below = !is_heading && (has_text_below || !line.trim().is_empty());
        kept.push(line);
    }
    kept.reverse();
    (tidy(&kept.join("\n")), dropped)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::node::source::website::page::Page;

    fn settings() -> Settings {
        serde_json::from_value(serde_json::json!({"start": ["https://a/"], "min-characters": 3})).unwrap()
    }

    /// Makes a site of pages: path, text, path of its own address.
    fn site(pages: &[(&str, &str, &str)]) -> Site {
        let url = |path: &str| Url::parse(&format!("https://a/{path}")).unwrap();
        let pages = pages.iter().map(|(path, content, own)| {
            let canonical = (!own.is_empty()).then(|| url(own));
            let page = Page { title: (*path).into(), content: (*content).into(), canonical, ..Page::default() };
            (address::key(&url(path)), Read { url: url(path), page })
        });
        Site { pages: pages.collect(), counts: Counts::default() }
    }

    #[track_caller]
    fn check(pages: &[(&str, &str, &str)], expected: &[(&str, &str)]) -> Counts {
        let settings = settings();
        let (documents, counts) = documents(site(pages), &settings.scope(), &settings);
        let found: Vec<(&str, &str)> =
            documents.iter().map(|document| (document.id.as_str(), document.content.as_str())).collect();
        assert_eq!(found, expected);
        counts
    }

    #[test]
    fn pages_with_one_address_of_their_own_are_one() {
        let counts = check(
            &[("new", "new text", ""), ("old", "old text", "new"), ("x", "x text", "gone"), ("y", "y text", "gone")],
            &[("https://a/gone", "x text"), ("https://a/new", "new text")],
        );
        assert_eq!(counts.get("merged page: same address of its own"), 2);
        check(&[("a", "text a", "b"), ("b", "text b", "a")], &[("https://a/a", "text a")]);
        check(&[("a", "same", ""), ("b", "same", ""), ("c", "..", "")], &[("https://a/a", "same")]);
    }

    #[test]
    fn one_address_for_all_pages_is_the_templates_mistake() {
        let pages: Vec<(String, String)> = (0..6).map(|n| (format!("p{n}"), format!("text {n}"))).collect();
        let pages: Vec<(&str, &str, &str)> =
            pages.iter().map(|(path, text)| (path.as_str(), text.as_str(), "p0")).collect();
        let settings = settings();
        let (documents, counts) = documents(site(&pages), &settings.scope(), &settings);
        assert_eq!((documents.len(), counts.get("canonical link ignored: most pages name the same one")), (6, 5));
    }

    #[test]
    fn lines_of_most_pages_are_dropped_outside_code() {
        let text = |n: usize| {
            format!(
                "# Page {n}\n\nShare this\n\nOwn {n}.\n\n## Notes\n\nNote {n}.\n\n```\nShare this\n```\n\n## Help us\n\nEdit me"
            )
        };
        let pages: Vec<(String, String)> = (0..5).map(|n| (format!("p{n}"), text(n))).collect();
        let pages: Vec<(&str, &str, &str)> =
            pages.iter().map(|(path, text)| (path.as_str(), text.as_str(), "")).collect();
        let settings = settings();
        let (documents, _) = documents(site(&pages), &settings.scope(), &settings);
        assert_eq!(documents[3].content, "# Page 3\n\nOwn 3.\n\n## Notes\n\nNote 3.\n\n```\nShare this\n```");
        check(&pages[..1], &[("https://a/p0", text(0).as_str())]);
    }
}
