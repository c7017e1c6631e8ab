//! What an answer is made of: its own words, code, quotations, links.

use std::sync::LazyLock;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use regex::Regex;

use crate::node::filter::text::{characters, pattern, sentences};

static URL: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?:https?://|www\.)\S+"));

/// The parts of a Markdown text.
#[derive(Debug, Default)]
pub(super) struct Anatomy {
    /// Text outside code blocks, quotations and links, a line a block or hard break.
    pub(super) prose: String,
    /// Whether there is a code block.
    pub(super) has_code: bool,
    /// Whether there is a quotation.
    pub(super) has_quote: bool,
    /// Whether there is a link or a bare URL.
    pub(super) has_link: bool,
}

impl Anatomy {
    /// Takes a text apart.
    pub(super) fn of(markdown: &str) -> Self {
        let mut parts = Self::default();
        let (mut code, mut quotes, mut links) = (0_u32, 0_u32, 0_u32);
        let mut prose = String::new();
        // The frame of a table is no prose, its cells are.
        for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::CodeBlock(_)) => code += 1,
                Event::End(TagEnd::CodeBlock) => code = code.saturating_sub(1),
                Event::Start(Tag::BlockQuote(_)) => quotes += 1,
                Event::End(TagEnd::BlockQuote(_)) => quotes = quotes.saturating_sub(1),
                Event::Start(Tag::Link { .. }) => links += 1,
                // The words before and after a link are not one word.
                Event::End(TagEnd::Link) => {
                    links = links.saturating_sub(1);
                    prose.push(' ');
                }
                Event::Text(text) | Event::Code(text) if code + quotes + links == 0 => prose.push_str(&text),
                Event::SoftBreak => prose.push(' '),
                Event::End(TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Image) => {}
                Event::HardBreak | Event::End(_) => prose.push('\n'),
                _ => {}
            }
            parts.has_code |= code > 0;
            parts.has_quote |= quotes > 0;
            parts.has_link |= links > 0;
        }
        parts.has_link |= URL.is_match(&prose);
        parts.prose = URL.replace_all(&prose, "").into_owned();
        parts
    }

    /// Returns how many words the prose has.
    pub(super) fn words(&self) -> usize {
        self.prose.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count()
    }

    /// Returns the sentences of the prose.
    pub(super) fn sentences(&self) -> impl Iterator<Item = &str> {
        self.prose.lines().flat_map(sentences).map(str::trim).filter(|sentence| !sentence.is_empty())
    }

    /// Returns which share of the prose's visible characters are letters; 1 where there is too little to say.
    pub(super) fn letters(&self) -> f64 {
        let visible = self.prose.chars().filter(|character| !character.is_whitespace()).count();
        let letters = self.prose.chars().filter(|character| character.is_alphabetic()).count();
        if visible < LITTLE { 1.0 } else { letters as f64 / visible as f64 }
    }

    /// Returns which share of the prose's lines repeat an earlier one, by characters.
    pub(super) fn repeated_lines(&self) -> f64 {
        let lines: Vec<&str> = self.prose.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let mut seen = std::collections::BTreeSet::new();
        let repeated: usize = lines.iter().filter(|line| !seen.insert(**line)).map(|line| characters(line)).sum();
        let all: usize = lines.iter().map(|line| characters(line)).sum();
        if all < LITTLE { 0.0 } else { repeated as f64 / all as f64 }
    }
}

/// Characters in which a share says nothing.
const LITTLE: usize = 40;

/// Returns which share of the runs of five words repeat an earlier one.
pub(super) fn repeated_runs(words: &[u64]) -> f64 {
    let runs = words.len().saturating_sub(4);
    let distinct: std::collections::BTreeSet<&[u64]> = words.windows(5).collect();
    if runs < 10 { 0.0 } else { (runs - distinct.len()) as f64 / runs as f64 }
}
