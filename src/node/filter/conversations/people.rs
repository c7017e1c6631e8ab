//! Who speaks in a thread.
//!
//! The answer to a question is never the asker's. Where an upstream leaves authors out, it is told like this:
//!
//! - Both known: by the login.
//! - One known, one not: they are taken for two people, unless the comment's words are an asker's ("that worked", "in my
//!   cluster", "I still see", "more findings"), which a maintainer's are not taken for.
//! - Both unknown: it cannot be told, and the comment is no answer.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::settings::Settings;
use super::text::pattern;
use super::{Author, Comment, Thread};
use crate::node::filter::text::sentences;

/// Programs that write comments, beside those whose login ends with `[bot]` or `-bot`; `known-bots` turns both off.
const BOTS: [&str; 10] = [
    "dependabot",
    "dependabot-preview",
    "github-actions",
    "codecov",
    "codecov-io",
    "netlify",
    "stale",
    "renovate",
    "k8s-ci-robot",
    "welcome",
];

/// Whose comment it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    /// Who opened the thread.
    Asker,
    /// Somebody else who can answer.
    Other,
    /// Somebody else who reports the same trouble.
    FellowAsker,
    /// A program.
    Bot,
    /// It cannot be told.
    Unknown,
}

static ASKING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi)\b(?:
        (?:in|on|for|from|with)\ (?:my|our)\ (?:\w+\ )?(?:cluster|setup|environment|env|app|application|deployment|case|machine|laptop|logs?|services?)
        |(?:i|we)(?:'m|\ am|'re|\ are)\ (?:still\ |also\ |now\ |just\ )*(?:seeing|getting|facing|hitting|experiencing|having|running|runnings|going\ to\ (?:downgrade|upgrade|try))
        |(?:i|we)\ (?:still|also)\ (?:see|get|face|hit|have)
        |(?:i|we)(?:'ve|\ have)?\ (?:just\ |also\ |now\ )*(?:tried|upgraded|downgraded|rolled\ back|figured\ out)\ (?:it|the|a|in|with|on|from|to\ (?:\w*\d))
        |(?:i|we)(?:'ve|\ have)?\ (?:just\ |also\ |now\ )*tried\ (?:that|this|all|both|setting|\d+)
        |have(?:n't|\ not)\ been\ able\ to
        |would\ it\ be\ possible\ to|is\ there\ any\ (?:way|sort|kind|workaround|update)|am\ i\ (?:understanding|missing|doing)
        |(?:same|similar)\ (?:issue|problem|error|behaviou?r)\ (?:here|with|on|in)
        )\b",
    )
});

/// A sentence that says no more than that it works now: in a longer one helpers say how something works.
static THANKING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi)^(?:(?:yes|yep|yeah|ok(?:ay)?|ah|oh|wow|so|and|great|cool|perfect|nice|awesome|thanks?|thank\ you|thx|indeed)[\s,!.]+){0,4}
        (?:i\ can\ confirm\ (?:that\ )?)?(?:that|this|it)\ (?:has\ |did\ |really\ |indeed\ |totally\ |just\ |actually\ |all\ |now\ )*
        (?:worked|works|fixed\ (?:it|this|that|my|the)|solved\ (?:it|this|that|my|the)|did\ the\ trick|do\ the\ trick|helped)\b
        .{0,40}$",
    )
});

/// Words that tell the asker only where one of the two is unknown: helpers say them, too.
static REPORTING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi)(?:^|[.!\n]\s*)(?:
        (?:some\ )?more\ (?:findings|context|info(?:rmation)?|details|logs)\b
        |(?:thanks|thank\ you)\ for\ (?:responding|(?:the|your)\ (?:quick\ |fast\ |prompt\ )?(?:response|reply|answer|help|suggestion))\b
        |(?:so\ |and\ )?(?:i|we)\ (?:did\ |have\ |just\ |also\ )*(?:observed?|noticed?|ran)\b
        |.{0,80}\bso\ i\ ran\b|.{0,160}\b(?:i|we)\ did\ observe\b
        )",
    )
});

/// Sentences in which an asker says that an answer was right.
static CONFIRMING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi)\b(?:
        (?:that|this|it|which|your\ (?:suggestion|fix|answer|solution|workaround|advice))\ (?:has\ |did\ |really\ |indeed\ |totally\ |just\ |actually\ )*
            (?:worked|works|fixed|fixes|solved|solves|resolved|resolves|helped|the\ trick)
        |(?:works|working|solved|fixed|resolved)\ (?:now|for\ me|for\ us|perfectly|as\ expected|like\ a\ charm|great|fine)
        |(?:problem|issue)\ (?:is\ )?(?:now\ )?(?:solved|fixed|resolved|gone)
        )\b",
    )
});
static DOUBTING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(?:not|never|unfortunately|until|but|except|partially|before|still|again|if|would|doubt)\b|n't\b|n’t\b|\?",
    )
});

/// Sentences that say what fixed it.
static FIXING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi)\b(?:
        (?:fixed|resolved|addressed|solved)\ (?:by|in|with|via|as\ of|since)\ (?:\#\d|https?:|[\w./-]+\#\d|v?\d|`?(?:stable|edge)-|the\ (?:latest|next|newest))
        |fix(?:es)?\ (?:for\ (?:this|it)\ )?(?:is|was|were|are|has\ been|have\ been)\ (?:now\ )?(?:released|shipped|available|included|merged)
        |(?:includes?|contains?|ships?|released?|have)\ (?:with\ )?(?:a|the|this|that)\ fix\b
        )",
    )
});

/// Sentences in which an asker tells the own solution.
static SOLVING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?xi)\b(?:
        (?:i|we)(?:'ve|\ have)?\ (?:finally\ |just\ )?(?:fixed|solved|resolved|figured\ (?:it|this|that)\ out|found\ (?:the|a)\ (?:fix|solution|cause|problem|root\ cause|workaround))
        |(?:the\ )?(?:solution|fix|root\ cause|cause|culprit|workaround|answer)\ (?:is|was|turned\ out)
        |(?:it\ )?turn(?:s|ed)\ out
        |solved\ (?:it\ )?by|fixed\ (?:it\ )?by
        )\b",
    )
});

/// Returns whether an asker says that the answer before was right, without a doubt in the sentence.
pub(super) fn confirms(comment: &str) -> bool {
    own_sentences(comment).any(|sentence| CONFIRMING.is_match(sentence) && !DOUBTING.is_match(sentence))
}

/// Returns what a comment says itself, sentence by sentence, without what it quotes.
fn own_sentences(comment: &str) -> impl Iterator<Item = &str> {
    comment.lines().filter(|line| !line.starts_with('>')).flat_map(sentences)
}

/// Returns whether a comment says what fixed it.
pub(super) fn names_a_fix(comment: &str) -> bool {
    FIXING.is_match(comment)
}

/// Returns whether an asker tells the own solution.
pub(super) fn tells_a_solution(comment: &str) -> bool {
    SOLVING.is_match(comment)
}

/// Returns whether a login is a program's.
pub(super) fn is_bot(author: &Author<'_>, settings: &Settings) -> bool {
    let login = author.login.as_deref().unwrap_or_default();
    author.bot || settings.known_bots && is_known_bot(login) || settings.bots.iter().any(|bot| bot == login)
}

fn is_known_bot(login: &str) -> bool {
    login.ends_with("[bot]") || login.ends_with("-bot") || BOTS.contains(&login)
}

/// Returns whether somebody of the project speaks.
pub(super) fn is_maintainer(author: &Author<'_>) -> bool {
    matches!(author.association.as_deref(), Some("OWNER" | "MEMBER" | "COLLABORATOR"))
}

/// Returns whose each comment of a thread is. Where it is not known who opened the thread, whoever once speaks as its asker is
/// the asker in every comment.
pub(super) fn speakers(thread: &Thread<'_>, settings: &Settings) -> Vec<Speaker> {
    let mut speakers: Vec<Speaker> = thread.comments.iter().map(|comment| speaker(thread, comment, settings)).collect();
    if thread.author.login.is_none() {
        let spoke = thread.comments.iter().zip(&speakers).filter(|(_, speaker)| **speaker == Speaker::Asker);
        let askers: BTreeSet<&str> = spoke.filter_map(|(comment, _)| comment.author.login.as_deref()).collect();
        for (comment, speaker) in thread.comments.iter().zip(&mut speakers) {
            let is_asker = comment.author.login.as_deref().is_some_and(|login| askers.contains(login));
            if *speaker == Speaker::Other && is_asker && !is_maintainer(&comment.author) {
                *speaker = Speaker::Asker;
            }
        }
    }
    speakers
}

/// Returns whether a comment says that something works now.
fn thanks(comment: &str) -> bool {
    own_sentences(comment).any(|sentence| THANKING.is_match(sentence.trim()))
}

/// Returns whether a comment is said to somebody who did not open the thread: it begins with their name.
pub(super) fn is_to_another(thread: &Thread<'_>, comment: &Comment<'_>) -> bool {
    let Some(asker) = thread.author.login.as_deref() else { return false };
    let mut named = comment.body.split([' ', ',', ':', '\n', '\r', '\t']).filter(|word| !word.is_empty());
    let mut named =
        std::iter::from_fn(|| named.next()?.strip_prefix('@')).filter(|name| !name.contains('/')).peekable();
    named.peek().is_some() && named.all(|name| !name.trim_end_matches(['.', '!', '?', '-']).eq_ignore_ascii_case(asker))
}

/// Returns whose comment it is, by its author and its words.
fn speaker(thread: &Thread<'_>, comment: &Comment<'_>, settings: &Settings) -> Speaker {
    if is_bot(&comment.author, settings) {
        return Speaker::Bot;
    }
    let is_maintainer = is_maintainer(&comment.author);
    let sounds_asking = !is_maintainer && (ASKING.is_match(&comment.body) || thanks(&comment.body));
    let sounds_reporting = sounds_asking || !is_maintainer && REPORTING.is_match(&comment.body);
    match (&thread.author.login, &comment.author.login) {
        (Some(asker), Some(author)) if asker == author => Speaker::Asker,
        (Some(_), Some(_)) if !settings.fellow_askers && sounds_asking && !tells_a_solution(&comment.body) => {
            Speaker::FellowAsker
        }
        (Some(_), Some(_)) => Speaker::Other,
        (None, None) => Speaker::Unknown,
        _ if sounds_reporting => Speaker::Asker,
        _ => Speaker::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_asker_tells_what_was_tried() {
        assert!(ASKING.is_match("yes, I have tried that value too"));
        assert!(ASKING.is_match("We still see it in our cluster"));
        assert!(!ASKING.is_match("After some debugging, we figured out that all requests were failing."));
    }

    #[test]
    fn who_says_how_something_works_is_no_asker() {
        for asker in ["Thanks! That worked for me.", "Yes, this fixed it", "> try 2.9\n\nok great, it works now!"] {
            assert!(thanks(asker), "{asker}");
        }
        for helper in [
            "Set the flag; this works in every release since 2.9.",
            "Upgrade to 2.9. Let me know if this works for you.",
            "The way this works is currently in flux.",
            "> that worked",
        ] {
            assert!(!thanks(helper), "{helper}");
        }
    }

    #[test]
    fn a_comment_that_begins_with_another_name_is_to_another() {
        let check = |asker: Option<&str>, body: &str| {
            let author = Author { login: asker.map(Into::into), ..Author::default() };
            let thread = Thread { author, ..Thread::default() };
            is_to_another(&thread, &Comment { body: body.into(), ..Comment::default() })
        };
        assert!(check(Some("ann"), "@bob no, that would be different"));
        assert!(check(Some("ann"), "@bob, @carol: no"));
        for to_ann in ["@Ann yes", "@bob @ann yes", "yes, as @bob says", "@types/node is the package", ""] {
            assert!(!check(Some("ann"), to_ann), "{to_ann}");
        }
        assert!(!check(None, "@bob no"));
    }

    #[test]
    fn a_doubt_is_no_confirmation() {
        for yes in
            ["Thanks, that worked!", "Yep.\nSetting the port fixed it. Works now.", "The issue is resolved in 2.9."]
        {
            assert!(confirms(yes), "{yes}");
        }
        for no in ["That worked for an hour, but then failed", "It doesn't work; this fixed nothing?", "> that worked"]
        {
            assert!(!confirms(no), "{no}");
        }
    }

    #[test]
    fn a_fix_is_told_by_what_it_names() {
        assert!(names_a_fix("This was fixed by #734, please upgrade."));
        assert!(names_a_fix("We believe it is fixed by https://github.com/o/r/pull/1"));
        assert!(names_a_fix("The fix is released."));
        assert!(!names_a_fix("It would be nice to have this fixed."));
        assert!(tells_a_solution("It turned out that the port was wrong"));
        assert!(!tells_a_solution("I still look for a solution"));
    }
}
