//! Who speaks in a thread.
//!
//! The answer to a question is never the asker's. Where an upstream leaves authors out, it is told like this:
//!
//! - Both known: by the login.
//! - One known, one not: they are taken for two people, unless the comment's words are an asker's ("that worked", "in my
//!   cluster", "I still see"), which a maintainer's are not taken for.
//! - Both unknown: it cannot be told, and the comment is no answer.

use std::sync::LazyLock;

use regex::Regex;

use super::text::pattern;
use crate::record::{Author, Comment, Thread};

/// Programs that write comments, beside those whose login ends with `[bot]` or `-bot`.
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
        (?:that|this|it)\ (?:worked|works|fixed\ it|solved\ it|did\ the\ trick|helped)
        |(?:in|on|for|from|with)\ (?:my|our)\ (?:\w+\ )?(?:cluster|setup|environment|env|app|application|deployment|case|machine|laptop|logs?|services?)
        |(?:i|we)(?:'m|\ am|'re|\ are)\ (?:still\ |also\ |now\ |just\ )*(?:seeing|getting|facing|hitting|experiencing|having|running|runnings|going\ to\ (?:downgrade|upgrade|try))
        |(?:i|we)\ (?:still|also)\ (?:see|get|face|hit|have)
        |(?:i|we)(?:'ve|\ have)?\ (?:just\ |also\ |now\ )*(?:tried|upgraded|downgraded|rolled\ back|figured\ out)\ (?:it|the|a|in|with|on|from|to\ (?:\w*\d))
        |have(?:n't|\ not)\ been\ able\ to
        |would\ it\ be\ possible\ to|is\ there\ any\ (?:way|sort|kind|workaround|update)|am\ i\ (?:understanding|missing|doing)
        |(?:same|similar)\ (?:issue|problem|error|behaviou?r)\ (?:here|with|on|in)
        )\b",
    )
});

/// Returns whether a login is a program's.
pub(super) fn is_bot(author: &Author, more: &[String]) -> bool {
    let login = author.login.as_deref().unwrap_or_default();
    author.bot
        || login.ends_with("[bot]")
        || login.ends_with("-bot")
        || BOTS.contains(&login)
        || more.iter().any(|bot| bot == login)
}

/// Returns whether somebody of the project speaks.
pub(super) fn is_maintainer(author: &Author) -> bool {
    matches!(author.association.as_deref(), Some("OWNER" | "MEMBER" | "COLLABORATOR"))
}

/// Returns whose comment it is.
pub(super) fn speaker(thread: &Thread, comment: &Comment, bots: &[String]) -> Speaker {
    if is_bot(&comment.author, bots) {
        return Speaker::Bot;
    }
    let sounds_asking = !is_maintainer(&comment.author) && ASKING.is_match(&comment.body);
    match (&thread.author.login, &comment.author.login) {
        (Some(asker), Some(author)) if asker == author => Speaker::Asker,
        (Some(_), Some(_)) if sounds_asking => Speaker::FellowAsker,
        (Some(_), Some(_)) => Speaker::Other,
        (None, None) => Speaker::Unknown,
        _ if sounds_asking => Speaker::Asker,
        _ => Speaker::Other,
    }
}
