//! Markdown as people write it in threads and manuals, made fit for a conversation.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::{memchr_iter, memmem};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use regex::Regex;

use super::outline::headings;
pub(super) use crate::node::filter::text::pattern;

/// What a line begins with that signs a change, in small letters.
const TRAILERS: [&str; 4] = ["signed-off-by:", "co-authored-by:", "change-id:", "reviewed-by:"];
static SHORTCODE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)\{\{[<%].*?[>%]\}\}"));
static TAG: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^</?(a|b|br|center|details|div|em|h[1-6]|hr|i|img|kbd|p|picture|source|span|strong|sub|summary|sup)\b[^>]*>$",
    )
});

/// Takes out what is no prose: HTML comments, sign-off lines, carriage returns, spaces at the end of lines, runs of empty
/// lines. Every text of every record passes here: it is one pass over the lines.
pub(super) fn clean(text: &str) -> String {
    let text = without_comments(text);
    let mut clean = String::with_capacity(text.len());
    // What stays goes over in one piece up to the next change: `from` is where that starts.
    let (mut from, mut start, mut feeds) = (0, 0, 0);
    for end in memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
        if start > 0 {
            feeds += 1;
            if feeds > 2 {
                clean.push_str(&text[from..start - 1]);
                from = start;
            }
        }
        let whole = &text[start..end];
        // A carriage return is the line's end where a line feed follows.
        let line = whole.strip_suffix('\r').filter(|_| end < text.len()).unwrap_or(whole);
        let kept = match line.as_bytes().last() {
            None => 0,
            Some(_) if is_trailer(line) => 0,
            Some(b' ' | b'\t') => line.trim_end_matches([' ', '\t']).len(),
            Some(_) => line.len(),
        };
        if kept > 0 {
            feeds = 0;
        }
        if kept < whole.len() {
            clean.push_str(&text[from..start + kept]);
            from = end;
        }
        start = end + 1;
    }
    clean.push_str(&text[from..]);
    trimmed(clean)
}

/// Takes off white space at both ends.
pub(super) fn trimmed(mut text: String) -> String {
    text.truncate(text.trim_end().len());
    text.drain(..text.len() - text.trim_start().len());
    text
}

fn is_trailer(line: &str) -> bool {
    let starts_with = |trailer: &str| line.get(..trailer.len()).is_some_and(|head| head.eq_ignore_ascii_case(trailer));
    matches!(line.as_bytes().first(), Some(b's' | b'S' | b'c' | b'C' | b'r' | b'R'))
        && TRAILERS.iter().any(|trailer| starts_with(trailer))
}

/// What opens and what closes an HTML comment.
static COMMENT: LazyLock<[memmem::Finder<'_>; 2]> = LazyLock::new(|| ["<!--", "-->"].map(memmem::Finder::new));

/// Takes out HTML comments; one that is not closed stays.
fn without_comments(text: &str) -> Cow<'_, str> {
    let [open, close] = &*COMMENT;
    let Some(mut start) = open.find(text.as_bytes()) else { return Cow::Borrowed(text) };
    let (mut kept, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(length) = close.find(&rest.as_bytes()[start + 4..]) {
        kept.push_str(&rest[..start]);
        rest = &rest[start + 4 + length + 3..];
        let Some(next) = open.find(rest.as_bytes()) else { break };
        start = next;
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// What Hugo adds to a fence for its page, such as `{class=disable-copy}` behind the language.
static FENCE_ATTRIBUTES: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?m)^(\s*(?:```+|~~~+)[ \t]*[\w+#.-]*)[ \t]*\{[^}\n]*\}[ \t]*$"));
/// The list of files that `DeepWiki` puts at the head of a page.
static SOURCE_FILES: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?is)<details>\s*<summary>\s*Relevant source files\s*</summary>.*?</details>"));
/// A paragraph of links to where something was found, and one that names the diagram below.
static SOURCES: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?is)^\W*Sources?\W*:\W*(?:\[[^\]]*\](?:\([^)]*\))?[,;.\s*_]*)+$"));
static CAPTION: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^[*_]*(?:Title|Diagram|Figure)\b[^\n]*$"));

/// Takes off the metadata block at the head of a document, and returns the title that it gives.
pub(super) fn without_metadata(markdown: &str) -> (Option<String>, &str) {
    let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;
    let markdown = markdown.trim_start();
    let first = Parser::new_ext(markdown, options).into_offset_iter().next();
    let Some((Event::Start(Tag::MetadataBlock(_)), block)) = first else { return (None, markdown) };
    let line = markdown[block.clone()].lines().find_map(|line| line.strip_prefix("title"));
    let value = line.and_then(|line| line.trim_start().strip_prefix([':', '=']));
    let title = value.map(|value| value.trim().trim_matches(['"', '\'']).to_owned()).filter(|title| !title.is_empty());
    (title, &markdown[block.end..])
}

/// Takes out what has a meaning only on the page: Hugo's shortcodes, images, HTML tags that only lay out, a wiki's lists of
/// sources, and links whose target is relative. A link that is defined elsewhere on the page gets its target; the
/// definitions go. Mermaid's diagrams go with their captions, unless they are kept.
pub(super) fn clean_document(markdown: &str, keep_diagrams: bool) -> String {
    let text = SHORTCODE.replace_all(markdown, "");
    let text = SOURCE_FILES.replace_all(&text, "");
    let text = clean(&FENCE_ATTRIBUTES.replace_all(&text, "$1"));
    let parser = Parser::new_ext(&text, options());
    let definitions: Vec<Range<usize>> =
        parser.reference_definitions().iter().map(|(_, definition)| definition.span.clone()).collect();
    let mut edits: Vec<(Range<usize>, String)> = definitions.into_iter().map(|span| (span, String::new())).collect();
    let mut link: Option<(Range<usize>, String, Range<usize>)> = None;
    let mut image: Option<Range<usize>> = None;
    let mut paragraph = 0..0;
    for (event, range) in parser.into_offset_iter() {
        match event {
            Event::Start(Tag::Paragraph) => {
                paragraph = range.clone();
                if SOURCES.is_match(text[range.clone()].trim()) {
                    edits.push((range, String::new()));
                }
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language)))
                if !keep_diagrams && is_diagram(&language) =>
            {
                if CAPTION.is_match(text[paragraph.clone()].trim())
                    && text[paragraph.end..range.start].trim().is_empty()
                {
                    edits.push((paragraph.clone(), String::new()));
                }
                edits.push((range, String::new()));
            }
            Event::Start(Tag::Image { .. }) if image.is_none() => image = Some(range),
            Event::End(TagEnd::Image) if image.as_ref() == Some(&range) => {
                edits.extend(image.take().map(|range| (range, String::new())));
            }
            Event::Start(Tag::Link { dest_url, .. }) => link = Some((range, dest_url.into_string(), 0..0)),
            Event::End(TagEnd::Link) => {
                if let Some((range, target, label)) = link.take() {
                    edits.extend(relink(&text, range, &target, label));
                }
            }
            Event::InlineHtml(html) | Event::Html(html) if TAG.is_match(html.trim()) => {
                edits.push((range, String::new()));
            }
            _ => {
                if let Some((_, _, label)) = &mut link {
                    let start = if label.end == 0 { range.start } else { label.start };
                    *label = start..range.end.max(label.end);
                }
            }
        }
    }
    clean(&edited(&text, edits))
}

fn is_diagram(language: &str) -> bool {
    language.split([' ', '{', ',']).next().is_some_and(|name| name.eq_ignore_ascii_case("mermaid"))
}

/// Returns the change that a link needs, if any.
fn relink(text: &str, range: Range<usize>, target: &str, label: Range<usize>) -> Option<(Range<usize>, String)> {
    let source = &text[range.clone()];
    if source.starts_with('<') || !source.starts_with('[') || label.is_empty() {
        return None;
    }
    let is_absolute = target.starts_with("http://") || target.starts_with("https://") || target.starts_with("mailto:");
    match (is_absolute, source.contains("](")) {
        (true, true) => None,
        (true, false) => Some((range, format!("[{}]({target})", &text[label]))),
        (false, _) => Some((range, text[label].to_owned())),
    }
}

/// Headings of issue templates, with nothing below them.
fn is_blank_answer(body: &str) -> bool {
    let word = body.trim().trim_matches(['*', '_', '.', '-']).to_lowercase();
    word.is_empty() || matches!(word.as_str(), "nope" | "no" | "none" | "n/a" | "na" | "no response" | "nothing")
}

/// Takes out sections that nobody filled in, as issue templates leave them: a heading with nothing below it.
pub(super) fn without_empty_sections(markdown: &str) -> String {
    let headings = headings(markdown);
    let edits = headings.iter().enumerate().filter_map(|(n, heading)| {
        let next = headings.get(n + 1);
        let end = next.map_or(markdown.len(), |next| next.range.start);
        let has_sections = next.is_some_and(|next| next.level > heading.level);
        let is_empty = !has_sections && is_blank_answer(&markdown[heading.range.end..end]);
        is_empty.then(|| (heading.range.start..end, String::new()))
    });
    clean(&edited(markdown, edits.collect()))
}

/// Applies edits of ranges; of two that overlap the first counts.
fn edited(text: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut result = String::with_capacity(text.len());
    let mut at = 0;
    for (range, new) in edits {
        if range.start >= at {
            result.push_str(&text[at..range.start]);
            result.push_str(&new);
            at = range.end;
        }
    }
    result.push_str(&text[at..]);
    result
}

/// The extensions that GitHub and the common manuals have.
pub(super) fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_clean_text_is_what_these_patterns_leave(
            text in "(a|b c|é|\r|\r\n|\n| |\t|\u{a0}|<!--|-->|-|Signed-off-by: x|change-ID:|Reviewed-by|co-authored-by: y){0,24}"
        ) {
            let clean = clean(&text);
            let mut expected = text;
            for (gone, new) in [
                (r"(?s)<!--.*?-->", ""),
                (r"\r\n", "\n"),
                (r"(?mi)^(signed-off-by|co-authored-by|change-id|reviewed-by):.*$", ""),
                (r"(?m)[ \t]+$", ""),
                (r"\n{3,}", "\n\n"),
            ] {
                expected = Regex::new(gone).unwrap().replace_all(&expected, new).into_owned();
            }
            prop_assert_eq!(clean, expected.trim());
        }
    }

    #[test]
    fn a_wiki_loses_its_lists_of_sources_and_its_diagrams() {
        let page = "<details>\n<summary>Relevant source files</summary>\n\n- [a.rs](a.rs)\n\n</details>\n\nText [b](b.rs).\n\n\
                    **Title: Flow**\n\n```mermaid\ngraph TD\n```\n\nSources: [a.rs:1-20](), [b.rs:3](b.rs)\n\n\
                    Sources: what a source is.\n";
        assert_eq!(clean_document(page, false), "Text b.\n\nSources: what a source is.");
        assert!(clean_document(page, true).contains("**Title: Flow**\n\n```mermaid\ngraph TD\n```"));
    }

    #[test]
    fn shortcodes_and_attributes_of_fences_go() {
        let page = "{{< note >}}\n\nMind this.\n\n{{< /note >}}\n\n```sh {class=disable-copy}\nls {a}\n```";
        assert_eq!(clean_document(page, false), "Mind this.\n\n```sh\nls {a}\n```");
    }

    #[test]
    fn metadata_goes_only_at_the_head() {
        assert_eq!(without_metadata("---\ntitle: \"A b\"\nweight: 1\n---\n\n# C\n"), (Some("A b".into()), "\n\n# C\n"));
        assert_eq!(without_metadata("+++\ntitle = 'A'\n+++\ntext"), (Some("A".into()), "\ntext"));
        let rules = "text\n\n---\na\n\n---\n";
        assert_eq!(without_metadata(rules), (None, rules));
    }

    #[test]
    fn sections_that_nobody_filled_in_go() {
        let body = "## Bug\n\n### What?\n\nIt fails.\n\n### Anything else?\n\n_No response_\n\n### Logs\n";
        assert_eq!(without_empty_sections(body), "## Bug\n\n### What?\n\nIt fails.");
    }
}
