//! What of a wiki's page is kept: the text, without the lists of source files, the citations that lead nowhere, and, by
//! the settings, the diagrams.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::Settings;
use crate::node::source::foreign::{Fences, Place, tidy, visible};

/// The summary of the block that lists the files a page was made from.
const FILES: &str = "Relevant source files";

/// Lines that a block of files may have; a longer one was never closed.
const LONGEST_BLOCK: usize = 2_000;

/// A link to nowhere or within the wiki, or a code span, in which nothing is a link.
static LINK_OR_CODE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\[((?:[^\[\]`]|`[^`]*`)+)\]\((?:#[^()\s]*)?\)|`+[^`]*`+").ok());

/// Returns what of a page is kept.
pub(super) fn clean(page: &str, settings: &Settings) -> String {
    let page = visible(page);
    let mut lines = without_files(&page).into_iter().peekable();
    let mut fences = Fences::default();
    let mut kept: Vec<String> = Vec::new();
    while let Some(line) = lines.next() {
        let place = fences.place(line);
        let diagram = !settings.diagrams && fences.language() == Some("mermaid");
        match place {
            Place::Opens if diagram => {
                // Its caption says nothing without it.
                while kept.last().is_some_and(|line| line.trim().is_empty() || is_caption(line)) {
                    let caption = kept.pop().is_some_and(|line| is_caption(&line));
                    if caption {
                        break;
                    }
                }
                for line in lines.by_ref() {
                    if fences.place(line) == Place::Closes {
                        break;
                    }
                }
            }
            Place::Text if !settings.citations && is_citation(line) => {
                while lines.peek().is_some_and(|next| is_only_links(next)) {
                    lines.next();
                }
            }
            Place::Text => kept.push(plain_links(line)),
            _ => kept.push(line.to_owned()),
        }
    }
    tidy(&kept.join("\n"))
}

/// Returns the lines of a page without the block of its source files.
fn without_files(page: &str) -> Vec<&str> {
    let lines: Vec<&str> = page.lines().collect();
    let mut kept = Vec::with_capacity(lines.len());
    let mut fences = Fences::default();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        if fences.place(line) == Place::Text
            && line.trim_start().starts_with("<details")
            && let Some(end) = end_of_files(&lines[at..])
        {
            at += end + 1;
            continue;
        }
        kept.push(*line);
        at += 1;
    }
    kept
}

/// Returns the last line of a block that lists source files; nothing for another block, or one without an end.
fn end_of_files(lines: &[&str]) -> Option<usize> {
    let is_files = lines.iter().take(4).any(|line| line.contains(FILES));
    let end = lines.iter().take(LONGEST_BLOCK).position(|line| line.contains("</details>"))?;
    is_files.then_some(end)
}

fn is_caption(line: &str) -> bool {
    line.trim().trim_start_matches('*').starts_with("Title:")
}

/// Returns whether a line names sources, as `Sources: [a.go:1-2](), …`.
fn is_citation(line: &str) -> bool {
    let line = line.trim_start_matches(['*', '_', ' ', '>']);
    let rest = ["Sources:", "Source:"].iter().find_map(|start| line.strip_prefix(start));
    rest.is_some_and(|rest| {
        let rest = rest.trim_start_matches(['*', '_', ' ']);
        rest.is_empty() || rest.starts_with(['[', '`'])
    })
}

fn is_only_links(line: &str) -> bool {
    let line = line.trim();
    line.starts_with('[') && (line.ends_with(')') || line.ends_with("),"))
}

/// Makes links plain text that lead nowhere or to another page of the wiki.
fn plain_links(line: &str) -> String {
    let Some(pattern) = LINK_OR_CODE.as_ref() else { return line.to_owned() };
    let plain = |found: &Captures<'_>| {
        let text = found.get(1).or_else(|| found.get(0));
        text.map_or_else(String::new, |text| text.as_str().to_owned())
    };
    pattern.replace_all(line, plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str, expected: &str) {
        let settings = Settings { citations: false, diagrams: false, ..Settings::for_tests("", "") };
        assert_eq!(clean(page, &settings), expected);
    }

    #[test]
    fn source_files_and_citations_are_dropped() {
        check(
            "# T\n\n<details>\n<summary>Relevant source files</summary>\n\n- [a](a)\n\n</details>\n\n\n\nText.\n\n\
            Sources: [a.go:1-2](), [b.go]()\n[c.go:3]()\n\nEnd.",
            "# T\n\nText.\n\nEnd.",
        );
        check(
            "<details>\n<summary>More</summary>\nkept\n</details>",
            "<details>\n<summary>More</summary>\nkept\n</details>",
        );
        check(
            "<details>\n<summary>Relevant source files</summary>\nnever closed",
            "<details>\n<summary>Relevant source files</summary>\nnever closed",
        );
        check("**Sources:** [a]()\nSources: of trouble", "Sources: of trouble");
        check(
            "```\n<details>\n<summary>Relevant source files</summary>\n</details>\nSources: [a]()\n```",
            "```\n<details>\n<summary>Relevant source files</summary>\n</details>\nSources: [a]()\n```",
        );
    }

    #[test]
    fn links_that_lead_nowhere_are_plain_text() {
        check(
            "See [Control Plane](#2.1), [`main.rs:1-9`]() and [site](https://a/). Not `f[0]()` or ``x[1]()``.",
            "See Control Plane, `main.rs:1-9` and [site](https://a/). Not `f[0]()` or ``x[1]()``.",
        );
    }

    #[test]
    fn diagrams_go_with_their_captions_unless_they_are_wanted() {
        let page = "Before.\n\nTitle: Flow\n\n```mermaid\ngraph TD\n```\n\nAfter.\n```mermaid\nnever closed";
        check(page, "Before.\n\nAfter.");
        let settings = Settings { citations: true, diagrams: true, ..Settings::for_tests("", "") };
        assert_eq!(clean(page, &settings), page);
        assert_eq!(clean("Sources: [a.go:1]()", &settings), "Sources: a.go:1");
    }
}
