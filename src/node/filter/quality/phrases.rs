//! Sentences that teach nothing, each fitted as a whole: a sentence that merely has such words in it is none.

use std::sync::LazyLock;

use regex::Regex;

use crate::node::filter::text::pattern;

/// What a model says that will not or cannot answer.
static REFUSAL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi)^(?:
        (?:i['’]?m\ sorry|i\ am\ sorry|sorry|i\ apologi[sz]e|unfortunately|apologies)[,.]?\ (?:but\ )?(?:i|as\ an\ ai).{0,20}(?:can(?:no|['’])t|\ can\ not|unable|(?:not|n['’]t)\ (?:able|have)).{0,200}
        |as\ an?\ (?:ai|artificial\ intelligence|(?:large\ )?language\ model)\b.{0,300}
        |i['’]?\ ?a?m\ (?:just\ |only\ )?an?\ (?:ai|artificial\ intelligence|(?:large\ )?language\ model)\b.{0,300}
        |i\ (?:can(?:no|['’])t|can\ not|am\ (?:unable|not\ able)\ to|won['’]t)\ (?:help|assist|answer|comply|provide|fulfil+|do\ that|discuss)\b.{0,200}
        |(?:my|the)\ (?:training\ data|knowledge\ cut-?off)\b.{0,200}
        )$",
    )
});

/// What pages and bots put round their content.
static BOILERPLATE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi)^(?:
        (?:skip\ to|back\ to|jump\ to)\ (?:main\ |the\ )?(?:content|top|navigation).{0,20}
        |(?:table\ of\ contents|on\ this\ page|in\ this\ (?:article|section|page)|contents|navigation|menu|search|share\ this|see\ also|read\ more|learn\ more|previous|next):?
        |(?:edit|view|improve|report|view\ source\ of|suggest)\ (?:an?\ |this\ )?(?:page|issue|edits?|file|source).{0,30}
        |was\ this\ (?:page|article|answer|document)\ (?:helpful|useful).{0,20}
        |last\ (?:updated|modified|edited).{0,60}
        |(?:copyright\b|©|\(c\)).{0,150}|all\ rights\ reserved.{0,60}
        |(?:we|this\ (?:site|website|page))\ uses?\ cookies.{0,150}|(?:accept|reject|manage)\ (?:all\ )?cookies.{0,30}
        |(?:sign|log)\ (?:in|up|out)(?:\ to\ .{0,60})?|subscribe\ to.{0,80}
        |this\ (?:issue|pr|pull\ request|thread|page)\ (?:has\ been|was|is)\ (?:automatically|being|now)\b.{0,160}
        |.{0,40}\bmarked\ as\ (?:stale|duplicate|resolved|off-topic|spam)\b.{0,60}
        |(?:i\ am|this\ is|beep\ boop).{0,10}\b(?:a\ bot|an?\ automated)\b.{0,150}
        |(?:sent\ from|get\ outlook\ for)\b.{0,60}|on\ .{6,60}\ wrote:
        |\[?\.{3}\ ?truncated\]?|todo:?|tbd\.?|coming\ soon.{0,20}|no\ response|_?no\ response_?|n/a|work\ in\ progress
        )[.!…»→\s]*$",
    )
});

/// Returns whether a sentence refuses to answer.
pub(super) fn is_refusal(sentence: &str) -> bool {
    REFUSAL.is_match(sentence)
}

/// Returns whether a sentence is the frame of a page or a bot's.
pub(super) fn is_boilerplate(sentence: &str) -> bool {
    BOILERPLATE.is_match(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_and_boilerplate_are_whole_sentences() {
        for sentence in [
            "I'm sorry, but I can't help with that.",
            "As an AI language model, I do not have access to clusters.",
            "I cannot assist with this request.",
        ] {
            assert!(is_refusal(sentence), "{sentence}");
        }
        for sentence in [
            "I'm sorry that the proxy does not start.",
            "The proxy cannot provide metrics here.",
            "I can't reproduce it on 2.14.",
            "Sorry, I missed that the pod is meshed.",
        ] {
            assert!(!is_refusal(sentence), "{sentence}");
        }
        for sentence in
            ["Was this page helpful?", "Edit this page on GitHub", "© 2024 The Authors. All rights reserved."]
        {
            assert!(is_boilerplate(sentence), "{sentence}");
        }
        for sentence in ["Search for the pod first.", "The menu shows the dashboard.", "Edit the file and apply it."] {
            assert!(!is_boilerplate(sentence), "{sentence}");
        }
    }
}
