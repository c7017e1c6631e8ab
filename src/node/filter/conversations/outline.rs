//! The shape of Markdown: headings, and where a long text may be cut.

use std::ops::Range;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::length::{Limit, Measure};
use super::text::options;
use crate::node::filter::text::characters;

/// A heading outside code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    /// 1 to 6.
    pub(super) level: u8,
    /// Its plain text.
    pub(super) text: String,
    /// Where it stands in the Markdown.
    pub(super) range: Range<usize>,
}

/// Returns the headings of Markdown; nothing in a fence, a list or a quotation is one.
pub(super) fn headings(markdown: &str) -> Vec<Heading> {
    let mut headings = Vec::new();
    let mut depth = 0_u32;
    let mut open: Option<Heading> = None;
    for (event, range) in Parser::new_ext(markdown, options()).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                depth += 1;
                if let Tag::Heading { level, .. } = tag
                    && depth == 1
                {
                    open = Some(Heading { level: level as u8, text: String::new(), range });
                }
            }
            Event::End(tag) => {
                depth = depth.saturating_sub(1);
                if let (TagEnd::Heading(_), Some(mut heading)) = (tag, open.take_if(|_| depth == 0)) {
                    heading.text.truncate(heading.text.trim_end().len());
                    headings.push(heading);
                }
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut open {
                    heading.text.push_str(&text);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(heading) = &mut open {
                    heading.text.push(' ');
                }
            }
            _ => {}
        }
    }
    headings
}

/// A block of Markdown that stands for itself: a paragraph, a list, a fence, a table.
struct Block {
    start: usize,
    sort: Sort,
    /// For a list: where its items start.
    items: Vec<usize>,
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Heading,
    Paragraph,
    Other,
}

/// A paragraph of one line that is longer is no heading that somebody wrote without its marks, in characters.
const HEADING: usize = 40;

impl Block {
    /// Returns whether a block says nothing without what comes after it: a heading, an introduction.
    fn introduces(&self, text: &str) -> bool {
        let text = text.trim();
        let is_line = || {
            let ends = text.ends_with(['.', '!', '?', '…', ')', '"', '\'', '`', '>']);
            !ends && !text.contains('\n') && characters(text) <= HEADING
        };
        match self.sort {
            Sort::Heading => true,
            Sort::Paragraph => text.ends_with(':') || is_line(),
            Sort::Other => false,
        }
    }
}

/// Returns the beginning of a longer text without what, at its end, only introduces what was cut off.
pub(super) fn without_introduction(mut beginning: &str) -> &str {
    while let Some(last) = blocks(beginning).pop()
        && last.introduces(&beginning[last.start..])
    {
        beginning = beginning[..last.start].trim_end();
    }
    beginning
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut depth = 0_u32;
    for (event, range) in Parser::new_ext(markdown, options()).into_offset_iter() {
        let start = line_start(markdown, range.start);
        match (&event, depth) {
            (Event::End(_), _) => {}
            (event, 0) => {
                let sort = match event {
                    Event::Start(Tag::Heading { .. }) => Sort::Heading,
                    Event::Start(Tag::Paragraph) => Sort::Paragraph,
                    _ => Sort::Other,
                };
                blocks.push(Block { start, sort, items: Vec::new() });
            }
            (Event::Start(Tag::Item), 1) => {
                if let Some(list) = blocks.last_mut() {
                    list.items.push(start);
                }
            }
            _ => {}
        }
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    blocks
}

/// Cuts Markdown into parts within `limit`: between blocks, and between the items of a list that is too long. What
/// introduces a block ("run this:") stays with it, and a rest of fewer than `least` characters with the part before. A
/// block that is longer than the limit, such as a fence, is a part of its own.
pub(super) fn parts(markdown: &str, limit: Limit, measure: &Measure, least: usize) -> Vec<String> {
    if !measure.exceeds(markdown, limit) {
        return vec![markdown.trim().to_owned()];
    }
    let starts = cuts(markdown, limit, measure);
    let piece = |n: usize| &markdown[starts[n]..starts.get(n + 1).copied().unwrap_or(markdown.len())];
    let lengths: Vec<usize> = (0..starts.len()).map(|n| measure.length(piece(n), limit)).collect();
    let mut firsts = Vec::new();
    let (mut first, mut length) = (0, 0_usize);
    for n in 0..starts.len() {
        if n > first && length.saturating_add(lengths[n]) > limit.most() {
            let introduces = n > first + 1 && piece(n - 1).trim_end().ends_with(':');
            firsts.push(first);
            first = if introduces { n - 1 } else { n };
            length = lengths[first..n].iter().sum();
        }
        length = length.saturating_add(lengths[n]);
    }
    let rest = starts.get(first).map_or("", |start| &markdown[*start..]);
    if firsts.is_empty() || characters(rest.trim()) >= least {
        firsts.push(first);
    }
    let bounds = firsts.iter().map(|first| starts.get(*first).copied().unwrap_or(0));
    let bounds: Vec<usize> = std::iter::once(0).chain(bounds.skip(1)).chain([markdown.len()]).collect();
    let parts = bounds.windows(2).map(|pair| markdown[pair[0]..pair[1]].trim().to_owned());
    parts.filter(|part| !part.is_empty()).collect()
}

/// Returns where a text may be cut.
fn cuts(markdown: &str, limit: Limit, measure: &Measure) -> Vec<usize> {
    let blocks = blocks(markdown);
    let mut starts = Vec::new();
    for (n, block) in blocks.iter().enumerate() {
        let end = blocks.get(n + 1).map_or(markdown.len(), |next| next.start);
        if block.items.len() > 1 && measure.exceeds(&markdown[block.start..end], limit) {
            starts.extend(&block.items);
        } else {
            starts.push(block.start);
        }
    }
    starts.dedup();
    starts
}

/// Returns where the line of a byte starts.
fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(markdown: &str, limit: usize, expected: &[&str]) {
        let found = parts(markdown, Limit::Characters(limit), &Measure::default(), 5);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_long_list_is_cut_between_its_items() {
        check("- one one\n- two two\n  more\n- three", 20, &["- one one", "- two two\n  more", "- three"]);
        check("1. one one\n2. two two\n3. three", 22, &["1. one one\n2. two two", "3. three"]);
    }

    #[test]
    fn what_introduces_a_fence_stays_with_it() {
        check(
            "First of all.\n\nRun this:\n\n```\na\n\nb\n```",
            28,
            &["First of all.", "Run this:\n\n```\na\n\nb\n```"],
        );
    }

    #[test]
    fn a_beginning_does_not_end_on_what_introduces_the_rest() {
        for (beginning, expected) in [
            ("It fails.\n\n## Problem and Symptoms", "It fails."),
            ("It fails.\n\nProblem", "It fails."),
            ("It fails.\n\n# Proof\n\nThis is how\nit works:", "It fails."),
            ("Fixes #4454", ""),
            ("It fails.\n\n- one", "It fails.\n\n- one"),
            ("It fails.\n\n```\na:\n```", "It fails.\n\n```\na:\n```"),
            ("It fails\nnow and then", "It fails\nnow and then"),
        ] {
            assert_eq!(without_introduction(beginning), expected);
        }
    }

    #[test]
    fn a_rest_that_is_too_short_stays_with_the_part_before() {
        check("a paragraph\n\nend", 11, &["a paragraph\n\nend"]);
        check("a paragraph\n\nthe end", 11, &["a paragraph", "the end"]);
    }

    #[test]
    fn a_fence_is_never_cut_and_nothing_in_it_is_a_heading() {
        check("```\n# aaaaaaaa\n\n# b\n```\n\nafterwards", 8, &["```\n# aaaaaaaa\n\n# b\n```", "afterwards"]);
        assert_eq!(headings("```\n# a\n```\n\n> # b\n\n# c `d`\ne\n")[0].text, "c d");
    }

    #[test]
    fn parts_together_have_every_word_of_the_text() {
        let text = "# A\n\ntext\n\n- x\n  - y\n- z\n\n| a | b |\n| - | - |\n| c | d |\n\n    code\n\nend";
        for limit in 1..text.len() {
            let parts = parts(text, Limit::Characters(limit), &Measure::default(), 1).join("\n");
            assert_eq!(parts.split_whitespace().collect::<Vec<_>>(), text.split_whitespace().collect::<Vec<_>>());
        }
    }
}
