//! Pull requests: why a change was made, and what was said in its reviews.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use regex::Regex;

use super::dialogue::turns;
use super::people::is_bot;
use super::questions::filled;
use super::row::Rows;
use super::rules::Rules;
use super::text::{clean, pattern};
use super::{Comment, Thread};
use crate::node::filter::text::is_shorter;
use crate::record::Role;

/// Titles of updates of dependencies, whoever made them.
static UPDATE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^(?:(?:build|chore|ci|deps|fix)(?:\([^)]*\))?!?:\s*)?(?:bump|update|upgrade)s?\s.*\b(?:from\s+\S+\s+)?to\s+v?\d|^(?:build|chore|fix)\(deps[^)]*\)|dependabot|renovate",
    )
});
/// A title that [`UPDATE`] fits has one of these.
static UPDATES: LazyLock<[Finder<'_>; 6]> =
    LazyLock::new(|| ["bump", "update", "upgrade", "(deps", "dependabot", "renovate"].map(Finder::new));

/// Makes rows of a pull request: `ID:motivation`, and `ID:review-COMMENT` for each review thread in which a remark was
/// answered.
pub(super) fn rows(thread: &Thread<'_>, rules: &Rules<'_>, rows: &mut Rows<'_>) {
    let settings = rules.settings;
    if is_bot(&thread.author, settings) {
        return rows.count("dropped pull request: by a bot", 1);
    }
    if settings.merged_only && thread.merged_at.is_none() {
        return rows.count("dropped pull request: not merged", 1);
    }
    let title = thread.title.trim();
    let title = without_number(title);
    if !settings.dependency_updates && is_update(title) {
        return rows.count("dropped pull request: updates a dependency", 1);
    }
    if settings.reviews {
        for (n, comments) in thread.reviews.iter().enumerate() {
            if let Err(reason) = review(title, n, comments, rules, rows) {
                rows.count(format!("dropped review thread: {reason}"), 1);
            }
        }
    }
    if is_shorter(title, settings.min_title_characters) {
        return rows.count("dropped pull request: title too short", 1);
    }
    let body = clean(&thread.body);
    if is_shorter(&body, settings.min_body_characters) {
        return rows.count("dropped pull request: body too short", 1);
    }
    let answer = rules.shortened(body, settings.max_answer(), "answer", rows);
    if is_shorter(&answer, settings.min_body_characters) {
        return rows.count("dropped pull request: body too short once it is cut", 1);
    }
    let template = settings.questions.pull.pick(title);
    let question = filled(template, "{title}", title);
    if rules.measure.exceeds(&question, settings.max_question()) {
        rules.count_long_title(rows);
    }
    rows.pair(":motivation", question, answer);
}

/// Takes off the number that a squash commit's title ends with, such as ` (#12)`.
fn without_number(title: &str) -> &str {
    let without = |at: usize| {
        let digits = title[at..].strip_prefix("(#")?.strip_suffix(')')?;
        (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| title[..at].trim_end())
    };
    title.rfind('(').and_then(without).unwrap_or(title)
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
    comments: &[Comment<'_>],
    rules: &Rules<'_>,
    rows: &mut Rows<'_>,
) -> Result<(), &'static str> {
    let settings = rules.settings;
    let first = comments.first().ok_or("empty")?;
    if is_bot(&first.author, settings) {
        return Err("opened by a bot");
    }
    let remark = rules.without_noise(&first.body);
    if is_shorter(&remark, settings.min_review_characters) {
        return Err("its remark is too short");
    }
    let people = comments[1..].iter().filter(|comment| !is_bot(&comment.author, settings));
    let people: Vec<&Comment<'_>> = people.collect();
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
    let suffix = format!(":review-{}", first.id.unwrap_or(n as u64 + 1));
    let template = settings.questions.review.pick(&remark);
    let frame = filled(template, "{title}", title);
    let remark = rules.asked(remark, frame.split("{remark}"), rows);
    if is_shorter(&remark, settings.min_review_characters) {
        return Err("its remark is too short once it is cut");
    }
    // The remark goes in last: it may hold the other placeholder.
    let question = filled(&frame, "{remark}", &remark);
    let mut dialogue = turns(question, said, rules).ok_or("no answer explains something")?;
    dialogue.comments.extend(first.id);
    dialogue.comments.sort_unstable();
    rows.cite(dialogue.comments);
    rows.conversation(&suffix, dialogue.turns);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_squash_commit_is_no_part_of_its_title() {
        for (title, without) in [
            ("a (#12)", "a"),
            ("(#1) a  (#2)", "(#1) a"),
            ("a(#3)", "a"),
            ("a (#)", "a (#)"),
            ("a (12)", "a (12)"),
            ("(#1) a", "(#1) a"),
        ] {
            assert_eq!(without_number(title), without);
        }
    }

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
