//! From the texts of the MCP tools to pages, and from pages to documents.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::Settings;
use super::clean::clean;
use crate::node::source::foreign::{Fences, Place};
use crate::record::Document;

/// What stands before each page's title in the text of a whole wiki.
const PAGE: &str = "# Page: ";

/// A page as the upstream has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RawPage {
    /// Its place in the wiki, such as `2.1`; empty when unknown.
    pub(super) id: String,
    /// Its title.
    pub(super) title: String,
    /// Markdown, from the heading on.
    pub(super) content: String,
}

/// A line of a wiki's structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) title: String,
}

/// Reads the nested list of pages that `read_wiki_structure` gives.
pub(super) fn structure(text: &str) -> Vec<Entry> {
    let entries = text.lines().filter_map(|line| {
        let item = line.trim_start().strip_prefix("- ")?;
        let (id, title) = item.split_once(' ')?;
        let is_id = id.starts_with(|first: char| first.is_ascii_digit())
            && id.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        is_id.then(|| Entry { id: id.trim_end_matches('.').to_owned(), title: title.trim().to_owned() })
    });
    entries.collect()
}

/// Cuts the text of a whole wiki at its `# Page: ` lines. Such a line inside a code fence is code, unless it is the
/// page that must come next with its own heading after it: then the fence before it was never closed.
pub(super) fn split(text: &str, structure: &[Entry]) -> Vec<RawPage> {
    let mut expected: VecDeque<&Entry> = structure.iter().collect();
    let mut pages: Vec<RawPage> = Vec::new();
    let mut fences = Fences::default();
    let mut ahead = text.lines();
    for line in text.lines() {
        ahead.next();
        let place = fences.place(line);
        let title = line.strip_prefix(PAGE).map(str::trim);
        let starts = title.filter(|title| match place {
            Place::Text => true,
            Place::Code => expected.front().is_some_and(|next| next.title == *title) && is_headed(ahead.clone(), title),
            Place::Opens | Place::Closes => false,
        });
        if let Some(title) = starts {
            fences.close();
            let id = place_of(&mut expected, title);
            pages.push(RawPage { id, title: title.to_owned(), content: String::new() });
        } else if let Some(page) = pages.last_mut() {
            page.content.push_str(line);
            page.content.push('\n');
        }
    }
    pages
}

/// Returns whether the next line that is not empty is the heading `title`.
fn is_headed<'a>(lines: impl Iterator<Item = &'a str>, title: &str) -> bool {
    let next = lines.map(str::trim).take(8).find(|line| !line.is_empty());
    next.and_then(|line| line.strip_prefix("# ")).is_some_and(|heading| heading.trim() == title)
}

/// Takes the next page with this title out of those expected, and returns its place in the wiki.
fn place_of(expected: &mut VecDeque<&Entry>, title: &str) -> String {
    let found = expected.iter().position(|entry| entry.title == title).and_then(|at| expected.remove(at));
    found.map_or_else(String::new, |entry| entry.id.clone())
}

/// Makes documents of a wiki's pages, and counts those without text.
pub(super) fn documents(repo: &str, pages: &[RawPage], settings: &Settings) -> (Vec<Document>, u64) {
    let site = settings.site.trim_end_matches('/');
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    let mut documents = Vec::new();
    let mut empty = 0;
    for page in pages {
        let content = clean(&page.content, settings);
        if content.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
            empty += 1;
            continue;
        }
        let slug = slug(&page.id, &page.title);
        let times = names.entry(slug.clone()).or_default();
        *times += 1;
        let path = if *times == 1 { slug.clone() } else { format!("{slug}-{times}") };
        documents.push(Document {
            id: format!("{repo}/{path}"),
            repo: repo.to_owned(),
            url: Some(format!("{site}/{repo}/{slug}")),
            path,
            title: page.title.clone(),
            content,
        });
    }
    (documents, empty)
}

/// Returns a page's name in its address: its place, and its title in small letters.
fn slug(id: &str, title: &str) -> String {
    let mut slug = id.to_owned();
    for character in title.chars().flat_map(char::to_lowercase) {
        if character.is_alphanumeric() {
            if slug == id && !id.is_empty() {
                slug.push('-');
            }
            slug.push(character);
        } else if (character.is_whitespace() || character == '-') && !slug.ends_with('-') && slug.len() > id.len() {
            slug.push('-');
        }
    }
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "page".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_is_read_at_any_depth() {
        let text = "Available pages for o/r:\n\n- 1 Overview\n  - 1.1 Cost & Use\n- 2. Last one\n- no number\n";
        let entries = structure(text);
        let found: Vec<(&str, &str)> = entries.iter().map(|entry| (entry.id.as_str(), entry.title.as_str())).collect();
        assert_eq!(found, [("1", "Overview"), ("1.1", "Cost & Use"), ("2", "Last one")]);
        assert!(structure("Error fetching wiki structure: 404").is_empty());
    }

    #[test]
    fn a_wiki_is_cut_at_its_pages_and_not_inside_code() {
        let entries = structure("- 1 One\n- 2 Same\n- 3 Same\n- 4 Four\n");
        let text = "noise\n# Page: One\n\n# One\n```\n# Page: no\n```\n\n# Page: Same\n\n# Same\n```\nnever closed\n\n\
            # Page: Same\n\n# Same\nthird\n# Page: Four\n\n# Four\n# Page: Five\nx";
        let pages = split(text, &entries);
        let found: Vec<(&str, &str)> = pages.iter().map(|page| (page.id.as_str(), page.title.as_str())).collect();
        assert_eq!(found, [("1", "One"), ("2", "Same"), ("3", "Same"), ("4", "Four"), ("", "Five")]);
        assert_eq!(pages[0].content, "\n# One\n```\n# Page: no\n```\n\n");
    }

    #[test]
    fn names_are_those_of_deepwikis_addresses() {
        let check = |id: &str, title: &str, expected: &str| assert_eq!(slug(id, title), expected);
        check("1", "Linkerd2 Overview", "1-linkerd2-overview");
        check(
            "2.1",
            "Connection Acceptance and Protocol Detection",
            "2.1-connection-acceptance-and-protocol-detection",
        );
        check("3", "gRPC/HTTP: The `x` – part", "3-grpchttp-the-x-part");
        check("", "Über -- uns", "über-uns");
        check("4", "…", "4");
        check("", "…", "page");
    }
}
