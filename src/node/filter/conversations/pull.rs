//! Pull requests: why a change was made, and what was said in its reviews.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use regex::Regex;

use super::dialogue::turns;
use super::people::is_bot;
use super::row::Rows;
use super::rules::Rules;
use super::text::{clean, pattern};
use crate::node::filter::text::characters;
use crate::record::{Comment, Role, Thread};

/// Titles of updates of dependencies, whoever made them.
static UPDATE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^(?:(?:build|chore|ci|deps|fix)(?:\([^)]*\))?!?:\s*)?(?:bump|update|upgrade)s?\s.*\b(?:from\s+\S+\s+)?to\s+v?\d|^(?:build|chore|fix)\(deps[^)]*\)|dependabot|renovate",
    )
});
/// A title that [`UPDATE`] fits has one of these.
static UPDATES: LazyLock<[Finder<'_>; 6]> =
    LazyLock::new(|| ["bump", "update", "upgrade", "(deps", "dependabot", "renovate"].map(Finder::new));
/// The number that a squash commit's title ends with.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\s*\(#\d+\)\s*$"));
/// A remark of a review that is shorter asks nothing.
const REMARK: usize = 30;

/// Makes rows of a pull request: `ID:motivation`, and `ID:review-COMMENT` for each review thread in which a remark was
/// answered.
pub(super) fn rows(thread: &Thread, rules: &Rules<'_>, rows: &mut Rows<'_>) {
    let settings = rules.settings;
    if is_bot(&thread.author, &settings.bots) {
        return rows.dropped("pull request: by a bot");
    }
    if settings.merged_only && thread.merged_at.is_none() {
        return rows.dropped("pull request: not merged");
    }
    let title = thread.title.trim();
    let title = if title.ends_with(')') { NUMBER.replace(title, "") } else { Cow::Borrowed(title) };
    if is_update(&title) {
        return rows.dropped("pull request: updates a dependency");
    }
    if settings.reviews {
        for (n, comments) in thread.reviews.iter().enumerate() {
            if let Err(reason) = review(&title, n, comments, rules, rows) {
                rows.dropped(&format!("review thread: {reason}"));
            }
        }
    }
    if characters(&title) < 10 {
        return rows.dropped("pull request: title too short");
    }
    let body = clean(&thread.body);
    if characters(&body) < settings.min_body_characters {
        return rows.dropped("pull request: body too short");
    }
    let template = settings.questions.pull.pick(&title);
    let question = template.replace("{title}", &title);
    let answer = rules.shortened(&body, settings.max_answer(), "answer", rows);
    rows.pair("motivation", question, answer);
}

/// Returns whether a title says that a dependency was updated. Most titles are told without the pattern.
fn is_update(title: &str) -> bool {
    let has_word = || {
        let title = title.to_ascii_lowercase();
        UPDATES.iter().any(|word| word.find(title.as_bytes()).is_some())
    };
    // Letters of other alphabets may be small forms of ASCII's.
    (!title.is_ascii() || has_word()) && UPDATE.is_match(title)
}

/// Makes the row of a review thread: who opened it asks, all others answer. Returns why there is none.
fn review(
    title: &str,
    n: usize,
    comments: &[Comment],
    rules: &Rules<'_>,
    rows: &mut Rows<'_>,
) -> Result<(), &'static str> {
    let settings = rules.settings;
    let first = comments.first().ok_or("empty")?;
    if is_bot(&first.author, &settings.bots) {
        return Err("opened by a bot");
    }
    let remark = rules.without_noise(&first.body);
    if characters(&remark) < REMARK {
        return Err("its remark is too short");
    }
    let people = comments[1..].iter().filter(|comment| !is_bot(&comment.author, &settings.bots));
    let people: Vec<&Comment> = people.collect();
    if people.is_empty() {
        return Err("nobody answered");
    }
    if first.author.login.is_none() || people.iter().any(|comment| comment.author.login.is_none()) {
        return Err("who speaks is not known");
    }
    let said = people.into_iter().map(|comment| {
        let role = if comment.author.login == first.author.login { Role::User } else { Role::Assistant };
        (role, comment)
    });
    let name = format!("review-{}", first.id.unwrap_or(n as u64 + 1));
    let template = settings.questions.review.pick(&remark);
    let remark = rules.shortened(&remark, settings.max_question(), "question", rows);
    // The remark goes in last: it may hold the other placeholder.
    let question = template.replace("{title}", title).replace("{remark}", &remark);
    let mut dialogue = turns(question, said, rules).ok_or("no answer explains something")?;
    dialogue.comments.extend(first.id);
    dialogue.comments.sort_unstable();
    rows.cite(dialogue.comments);
    rows.conversation(&name, dialogue.turns);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_told_by_their_titles() {
        for title in [
            "build(deps): bump github.com/a/b from 0.0.27 to 0.0.28",
            "Bump prost from 0.12 to 0.13",
            "chore!: Update rustls to v0.23",
            "Fix(deps-dev): anything",
            "Configure Renovate",
            "depſ: update a to 1",
        ] {
            assert!(UPDATE.is_match(title) == is_update(title), "{title}");
        }
        assert!(is_update("Upgrades proxy to 2.1"));
        assert!(!is_update("Update the docs") && !is_update("Keep the proxy's identity"));
    }
}
