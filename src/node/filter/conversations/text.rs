//! Markdown as people write it in threads and manuals, made fit for a conversation.

use std::ops::Range;
use std::sync::LazyLock;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use regex::Regex;

/// Compiles a pattern of this program's own.
pub(super) fn pattern(text: &str) -> Regex {
    #[expect(clippy::expect_used, reason = "the patterns are constants, and a test compiles each")]
    Regex::new(text).expect("a valid pattern")
}

static COMMENT: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)<!--.*?-->"));
static TRAILER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?mi)^(signed-off-by|co-authored-by|change-id|reviewed-by):.*$"));
static SPACE_AT_END: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?m)[ \t]+$"));
static EMPTY_LINES: LazyLock<Regex> = LazyLock::new(|| pattern(r"\n{3,}"));
static SHORTCODE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?s)\{\{[<%].*?[>%]\}\}"));
static TAG: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^</?(a|b|br|center|details|div|em|h[1-6]|hr|i|img|kbd|p|picture|source|span|strong|sub|summary|sup)\b[^>]*>$",
    )
});

/// Takes out what is no prose: HTML comments, sign-off lines, carriage returns, runs of empty lines.
pub(super) fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let text = COMMENT.replace_all(&text, "");
    let text = TRAILER.replace_all(&text, "");
    let text = SPACE_AT_END.replace_all(&text, "");
    EMPTY_LINES.replace_all(&text, "\n\n").trim().to_owned()
}

/// Takes out what has a meaning only on the page: Hugo's shortcodes, images, HTML tags that only lay out, and links whose
/// target is relative. A link that is defined elsewhere on the page gets its target; the definitions go.
pub(super) fn clean_document(markdown: &str) -> String {
    let text = clean(&SHORTCODE.replace_all(markdown, ""));
    let parser = Parser::new_ext(&text, options());
    let definitions: Vec<Range<usize>> =
        parser.reference_definitions().iter().map(|(_, definition)| definition.span.clone()).collect();
    let mut edits: Vec<(Range<usize>, String)> = definitions.into_iter().map(|span| (span, String::new())).collect();
    let mut link: Option<(Range<usize>, String, Range<usize>)> = None;
    let mut image: Option<Range<usize>> = None;
    for (event, range) in parser.into_offset_iter() {
        match event {
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
fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
}

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

/// Returns the headings of Markdown, and the ranges of its blocks: nothing in a fence is a heading, and no fence, list or
/// table is more than one block.
pub(super) fn outline(markdown: &str) -> (Vec<Heading>, Vec<Range<usize>>) {
    let (mut headings, mut blocks) = (Vec::new(), Vec::new());
    let mut depth = 0_u32;
    let mut open: Option<Heading> = None;
    for (event, range) in Parser::new_ext(markdown, options()).into_offset_iter() {
        if depth == 0 && !matches!(event, Event::End(_)) {
            blocks.push(range.clone());
        }
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
    (headings, blocks)
}

/// Cuts Markdown into parts of at most `limit` characters between blocks. A block that is longer is a part of its own.
pub(super) fn parts(markdown: &str, limit: usize) -> Vec<String> {
    if characters(markdown) <= limit {
        return vec![markdown.trim().to_owned()];
    }
    let (_, blocks) = outline(markdown);
    let starts: Vec<usize> = blocks.iter().map(|block| line_start(markdown, block.start)).collect();
    let mut parts = Vec::new();
    let mut from = 0;
    let mut end = 0;
    for (n, _) in starts.iter().enumerate() {
        let next = starts.get(n + 1).copied().unwrap_or(markdown.len());
        if end > from && characters(markdown[from..next].trim()) > limit {
            parts.push(markdown[from..end].trim().to_owned());
            from = end;
        }
        end = next;
    }
    parts.push(markdown[from..].trim().to_owned());
    parts.retain(|part| !part.is_empty());
    parts
}

/// Returns where the line of a byte starts.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Returns the length in characters, by which all limits count; four make about one token of English.
pub(super) fn characters(text: &str) -> usize {
    text.chars().count()
}

/// What chat templates know as control text. All `<|…|>` are: Llama 3's `<|eot_id|>`, `ChatML`'s `<|im_end|>`, Phi's
/// `<|end|>`. The others are of Llama 2, Mistral, Gemma, `DeepSeek`.
static MARKER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"<\|[A-Za-z0-9_ -]{1,40}\|>|</?s>|\[/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT)\]|<</?SYS>>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>|<｜[^｜\n]{1,40}｜>",
    )
});

/// Takes the power from template markers by a zero-width joiner after their first character, and counts them. The text
/// looks the same, and no renderer that parses special tokens takes it for one.
pub(in crate::node::filter) fn neutralised(text: &str) -> (String, u64) {
    let mut count = 0;
    let result = MARKER.replace_all(text, |found: &regex::Captures<'_>| {
        count += 1;
        let (first, rest) = found[0].split_at(1);
        format!("{first}\u{200d}{rest}")
    });
    (result.into_owned(), count)
}

/// Sentences that say nothing to a reader of the answer: workflow, thanks, impatience. Each pattern fits the whole
/// sentence, so an answer that merely ends with `please reopen if it comes back` keeps the rest.
static NOISE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi)^(?:
        (?:(?:i'?m|i\ am|i'?ll|i\ will|we'?ll|we\ will|let'?s|going\ to|gonna|so|ok(?:ay)?|and|but|for\ now|in\ the\ meantime|with\ that|as\ such|will\ be)[,\s]+){0,4}
            (?:go\ ahead\ and\ )?(?:close|closing|closed)\b.{0,200}
        |(?:this\ |it\ )?(?:is\ |looks\ like\ |seems\ |appears\ |to\ be\ |it'?s\ |i\ think\ ){0,4}(?:a\ |the\ )?(?:dup|duplicate)\b.{0,80}
        |duplicates?\s+(?:of\s+)?\#\d+
        |(?:please|feel\ free\ to|(?:please\ )?do\ not\ hesitate\ to).{0,20}\b(?:re-?open|comment|file\ a\ new|open\ a\ new|let\ us\ know|reach\ out)\b.{0,120}
        |(?:please\ )?let\ (?:me|us)\ know\b.{0,100}
        |this\ (?:issue|pr|pull\ request|thread)\ (?:has\ been|was|is)\ (?:automatically|being|now).{0,160}
        |it\ will\ be\ closed\b.{0,120}
        |marked\ this\ as\b.{0,60}
        |/[a-z][a-z-]*(?:\s.{0,60})?
        |\+1.{0,40}|me\ too.{0,40}|same\ (?:here|issue|problem).{0,60}|bump.{0,10}|ping.{0,20}|lgtm.{0,20}
        |any\ (?:update|news|progress|eta)s?\b.{0,60}
        |(?:hi|hey|hello)[\s,]*(?:@[\w-]+|all|there|folks|everyone)?[!.,]?
        |(?:please\ )?(?:be\ sure\ to\ )?join\ (?:the|us|our)\b.{0,200}
        |(?:(?:many|big|great|awesome|nice|cool|perfect|ok|yes|ah|oh)[,!.]?\ )?(?:thanks|thank\ you|thx|ty|cheers)\b.{0,100}
        )[.!?:)\s]*$",
    )
});
static GREETING: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(?i:hi|hey|hello|thanks|thank you|ok|yes|no)[\s,]+@[\w-]+[,:!.]?\s+"));

/// Words that begin a sentence to somebody; after others, as in `@ann reported`, a name is the subject.
const OPENERS: &[&str] = &[
    "a", "and", "are", "as", "can", "could", "did", "do", "for", "have", "hi", "how", "i", "if", "in", "it", "just",
    "no", "ok", "so", "sorry", "thank", "thanks", "that", "the", "there", "this", "to", "we", "what", "which", "yes",
    "you",
];

/// Takes off whom a comment speaks to: `@ann`, `Hi @ann,`.
fn without_address(comment: &str) -> &str {
    let mut text = comment;
    if let Some(greeting) = GREETING.find(text) {
        text = &text[greeting.end()..];
    }
    while let Some(rest) = text.strip_prefix('@') {
        let after = rest.trim_start_matches(|character: char| character.is_alphanumeric() || character == '-');
        let next = after.trim_start_matches([',', ':', '!', '.']).trim_start();
        let word: String = next.chars().take_while(|character| character.is_alphabetic()).collect();
        let is_address = after.starts_with([',', ':', '!', '\n', '\r'])
            || next.starts_with('@')
            || word.starts_with(char::is_uppercase)
            || OPENERS.contains(&word.as_str());
        if !is_address {
            break;
        }
        text = next;
    }
    text
}

/// Takes noise sentences out of a comment's prose; code, quotes, lists and tables stay.
pub(super) fn without_noise(comment: &str) -> String {
    // A quotation at the head repeats what stands in the thread; one further down is answered piece by piece.
    let quoted: usize = comment
        .split_inclusive('\n')
        .take_while(|line| line.starts_with('>') || line.trim().is_empty())
        .map(str::len)
        .sum();
    let mut lines = Vec::new();
    let mut fence: Option<&str> = None;
    for line in without_address(&comment[quoted..]).lines() {
        let start = line.trim_start();
        match fence {
            Some(mark) if start.starts_with(mark) => fence = None,
            Some(_) => {}
            None if start.starts_with("```") => fence = Some("```"),
            None if start.starts_with("~~~") => fence = Some("~~~"),
            None => {
                lines.push(prose_without_noise(line));
                continue;
            }
        }
        lines.push(line.to_owned());
    }
    without_address(&clean(&lines.join("\n"))).to_owned()
}

fn prose_without_noise(line: &str) -> String {
    if line.starts_with("    ") || line.trim_start().starts_with(['>', '|', '#']) {
        return line.to_owned();
    }
    sentences(line)
        .into_iter()
        .filter(|sentence| !NOISE.is_match(sentence.trim()))
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// Cuts a line after `.`, `!` and `?` that white space follows; the pieces together are the line.
pub(super) fn sentences(line: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut from = 0;
    let mut characters = line.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let ends =
            matches!(character, '.' | '!' | '?') && characters.peek().is_some_and(|(_, next)| next.is_whitespace());
        if ends {
            let mut end = at + character.len_utf8();
            while let Some((space, character)) = characters.next_if(|(_, next)| next.is_whitespace()) {
                end = space + character.len_utf8();
            }
            pieces.push(&line[from..end]);
            from = end;
        }
    }
    if from < line.len() {
        pieces.push(&line[from..]);
    }
    pieces
}
