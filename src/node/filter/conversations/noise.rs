//! What people write in a thread beside what they say: workflow, thanks, addresses, requests for logs.
//!
//! It goes by the sentence: a pattern fits a whole one, so that an answer that merely ends with `please reopen if it comes
//! back` keeps the rest. Code, quotes, lists and tables are not looked into.

use std::sync::LazyLock;

use regex::{Regex, RegexSet};

use super::text::{clean, pattern};
use crate::node::filter::text::{characters, sentences};

/// Sentences that say nothing to a reader of the answer: workflow, thanks, impatience, promises. `known-noise` turns them off.
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
        |(?:more|updates?)\ (?:soon|to\ (?:come|follow)|later|shortly).{0,60}
        |(?:so\ )?stay\ tuned.{0,60}
        |(?:i\ |we\ )?(?:really\ )?hope\ (?:this|that|it)\ (?:helps?|is|was|will|answers?|clarifies|makes).{0,120}
        |(?:(?:the\ )?(?:linkerd\ )?maintainers\ are|we(?:'re|\ are)|i(?:'m|\ am))\ (?:currently\ |actively\ |still\ |now\ )*(?:investigating|looking\ (?:in)?to|working\ on)\ (?:this|it|multiple|several|that)\b.{0,120}
        |(?:we(?:'re|\ are)|i(?:'m|\ am))\ using\ (?:this|these|it|them)\ to\ (?:investigate|debug|track|understand)\b.{0,120}
        |(?:i|we)(?:'ll|\ will)\ (?:take\ a\ look|look\ into|get\ back|keep\ (?:you|this)|post|report|update|follow\ up)\b.{0,120}
        |@[\w-]+\ (?:will|can)\ (?:be\ )?(?:follow|following|take|look|get)\b.{0,160}
        |for\ (?:your|you|anyone).{0,40}\bconvenience\b.{0,20}quoted\b.{0,80}
        |(?:signed-off-by|co-authored-by|cc):?\s.{0,120}
        |(?:please\ )?(?:be\ sure\ to\ )?join\ (?:the|us|our)\b.{0,200}
        |(?:(?:hi|hey|hello)[\s,]*(?:@[\w-]+|all|there|folks|everyone)?[\s,–—-]*)?(?:(?:many|big|great|awesome|nice|cool|perfect|ok|yes|ah|oh)[,!.]?\ )?(?:thanks|thank\ you|thx|ty|cheers)\b.{0,100}
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

/// Which sentences are noise.
#[derive(Clone, Copy)]
pub(super) struct Noise<'a> {
    /// Whether the known ones are.
    pub(super) known: bool,
    /// Those of the settings.
    pub(super) more: &'a RegexSet,
}

impl Noise<'_> {
    fn is(self, sentence: &str) -> bool {
        self.known && NOISE.is_match(sentence) || self.more.is_match(sentence)
    }
}

/// Takes noise sentences out of a comment's prose.
pub(super) fn without_noise(comment: &str, noise: Noise<'_>) -> String {
    // A quotation at the head repeats what stands in the thread; one further down is answered piece by piece.
    let quoted: usize = comment
        .split_inclusive('\n')
        .take_while(|line| line.starts_with('>') || line.trim().is_empty())
        .map(str::len)
        .sum();
    let lines = places(without_address(&comment[quoted..])).map(|(line, place)| match place {
        Place::Prose => prose_without_noise(line, noise),
        Place::Code | Place::Fence | Place::Quote => line.to_owned(),
    });
    let lines: Vec<String> = lines.collect();
    without_address(&clean(&lines.join("\n"))).to_owned()
}

fn prose_without_noise(line: &str, noise: Noise<'_>) -> String {
    if line.starts_with("    ") || line.trim_start().starts_with(['>', '|', '#']) {
        return line.to_owned();
    }
    sentences(line).into_iter().filter(|sentence| !noise.is(sentence.trim())).collect::<String>().trim_end().to_owned()
}

/// Sentences that ask without a question mark.
static REQUEST: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi)^(?:(?:and|so|or|also|but|hi|hey|ok|otherwise)[\s,]+)*(?:
        (?:do|did|are|can|could|would|will|have|were)\ you\b
        |(?:is|are|was|were)\ (?:this|that|these|those|there|it|they)\b
        |(?:can|could|would)\ (?:someone|anyone|somebody)\b
        |(?:please|pls|can\ you\ please)\ (?:also\ )?(?:provide|share|post|attach|give|paste|send|include|add|upload|describe|run)\b
        )",
    )
});

/// Returns whether at least half of a comment's sentences are questions, such as for logs; code and quotes do not count.
pub(super) fn only_asks(text: &str) -> bool {
    let (mut asked, mut all) = (0, 0);
    for (line, place) in places(text) {
        if place == Place::Prose {
            for sentence in sentences(line).into_iter().map(str::trim).filter(|sentence| !sentence.is_empty()) {
                all += 1;
                let is_question = sentence.trim_end_matches([')', '*', '_']).ends_with('?');
                asked += usize::from(is_question || REQUEST.is_match(sentence));
            }
        }
    }
    asked * 2 >= all
}

/// A line of output: it starts with a time, a level, or fields such as `level=error`.
static LOG: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?x)^\s*(?:\[\s*\d|\d{4}-\d\d-\d\d|\d\d:\d\d|(?:time|level|ts|msg)=|\{"(?:time|level|ts|msg)
        |\[?(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR|ERR!|FATAL)\b|[IWEF]\d{4}\s)"#,
    )
});

/// Returns how many characters of a comment explain something: quotations and lines of logs do not.
pub(super) fn substance(text: &str) -> usize {
    let explains = |(line, place): &(&str, Place)| match place {
        Place::Prose => true,
        Place::Code => !LOG.is_match(line),
        Place::Fence | Place::Quote => false,
    };
    places(text).filter(explains).map(|(line, _)| characters(line.trim()) + 1).sum::<usize>().saturating_sub(1)
}

/// Where a line of a comment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Prose,
    /// Between two fences.
    Code,
    /// A fence's own line.
    Fence,
    Quote,
}

/// Returns the lines of a comment, each with its place.
fn places(text: &str) -> impl Iterator<Item = (&str, Place)> {
    let mut fence: Option<&str> = None;
    text.lines().map(move |line| {
        let start = line.trim_start();
        let place = match fence {
            Some(mark) if start.starts_with(mark) => {
                fence = None;
                Place::Fence
            }
            Some(_) => Place::Code,
            None => match ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark)) {
                Some(mark) => {
                    fence = Some(mark);
                    Place::Fence
                }
                None if start.starts_with('>') => Place::Quote,
                None => Place::Prose,
            },
        };
        (line, place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_without_a_question_mark_ask_too() {
        assert!(only_asks("I try to see what happens. Is that hook on the proxy or on the app. And do you see 502s"));
        assert!(only_asks("Please provide the output of `linkerd check`."));
        assert!(!only_asks("What you need is the CNI plugin. Is that so?\nInstall it first."));
        assert!(!only_asks("```\nwhat?\n```\nIt is the port."));
    }

    #[test]
    fn quotes_and_logs_explain_nothing() {
        assert_eq!(substance("abc\n> quoted\n```\nlevel=error msg=x\n2020-01-01T00 x\n[  1.2s] x\nls\n```"), 6);
    }

    #[test]
    fn sentences_of_the_settings_are_noise_with_the_known_ones_and_without() {
        let more = RegexSet::new(["^(?:cla signed)[.]*$"]).unwrap();
        let comment = "cla signed. It is the port. Stay tuned! Hope this helps.";
        let left = |known| without_noise(comment, Noise { known, more: &more });
        assert_eq!(
            (left(true).as_str(), left(false).as_str()),
            ("It is the port.", "It is the port. Stay tuned! Hope this helps.")
        );
    }
}
